/** @durable-streams/server-conformance-tests, against whole servers on both stores. */
import { afterAll, describe, expect } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStore } from "../../src/stores/memory/store.ts";
import { sqliteStore } from "../../src/stores/sqlite/store.ts";
import { FOLDER, testInstalled } from "./installed.ts";
import { serveStreams } from "./serving.ts";

/** Cases of the suite that the server does not pass, by name, with the reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {};
/** Of the suite, only run when asked for: subscriptions (§6 and §7 of the protocol) are not offered. */
const OPTIONAL = 6;
/** How many there are: fewer would mean that something was not run. */
const CASES = 332;

const directory = mkdtempSync(join(tmpdir(), "backtalk-durable-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { fullName: string; status: string; failureMessages: readonly string[] }[];
  }[];
}

describe("the conformance suite of Durable Streams", () => {
  const stores = {
    memory: async () => memoryStore(),
    sqlite: () => sqliteStore({ path: join(directory, "store.sqlite") }),
  };
  for (const [name, openStore] of Object.entries(stores)) {
    testInstalled(
      `passes on ${name}`,
      async () => {
        const { running, url } = await serveStreams({
          path: "/v1/stream",
          create: true,
          longPollMs: 1500,
          store: await openStore(),
        });
        const report = join(directory, `${name}.json`);
        try {
          const vitest = join(FOLDER, "node_modules/vitest/vitest.mjs");
          const args = [
            "run",
            "conformance.test.mjs",
            "--reporter=json",
            `--outputFile=${report}`,
            "--testTimeout=40000",
          ];
          const child = Bun.spawn(["node", vitest, ...args], {
            cwd: FOLDER,
            stdout: "ignore",
            stderr: "pipe",
            env: { ...process.env, CONFORMANCE_TEST_URL: url, CI: "true" },
          });
          const [, error] = await Promise.all([child.exited, new Response(child.stderr).text()]);
          const { testResults } = readReport(report, error);
          const cases = testResults.flatMap(({ assertionResults }) => assertionResults);
          const failed = cases.filter(({ status }) => status === "failed");
          const unexpected = failed.filter(({ fullName }) => !(fullName in EXCEPTIONS));
          expect(unexpected.map((each) => `${each.fullName}: ${each.failureMessages[0]?.slice(0, 300)}`)).toEqual([]);
          // An exception that passes is none.
          expect(Object.keys(EXCEPTIONS).filter((each) => !failed.some(({ fullName }) => fullName === each))).toEqual(
            [],
          );
          expect(cases.filter(({ status }) => status === "passed")).toHaveLength(CASES - failed.length);
          expect(cases.length - CASES).toBe(OPTIONAL);
        } finally {
          await running.stop();
        }
      },
      240_000,
    );
  }
});

function readReport(path: string, error: string): Report {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Report;
  } catch {
    throw new Error(`the suite did not run: ${error.slice(0, 2000)}`);
  }
}
