/** What the operator is told at the start, beyond where it listens. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { service, unary } from "../src/contract/index.ts";
import { readArgs, type Spec } from "./args.ts";
import { makeOwn } from "./own.ts";
import { BROKER_OPTIONS, jobsText } from "./parts/amqp.ts";
import { Place, takeLines } from "./testing.ts";

const place = new Place();
afterAll(() => place.remove());

const any = z.object({});
const jobs = service("jobs", {
  count: unary({ input: any, output: any, queue: true }, () => ({})),
  plain: unary({ input: any, output: any }, () => ({})),
});
const spec = {
  name: "serve",
  summary: "",
  positionals: [{ name: "FILE", what: "" }],
  options: BROKER_OPTIONS,
  examples: [],
} satisfies Spec;

describe("methods with a queue", () => {
  const text = (...argv: string[]) => jobsText([jobs], readArgs(spec, argv));

  test("run in the server without a broker, which is told", () => {
    expect(text("jobs.ts")).toBe("jobs.count runs in this server: without --amqp there is no queue");
  });

  test("wait for workers with one, which are started how?", () => {
    const worker = "worker jobs.ts --amqp ...";
    expect(text("jobs.ts", "--amqp", "amqp://u:secret@h")).toBe(`jobs.count waits for workers: backtalk ${worker}`);
    const more = text("jobs.ts", "--amqp", "amqp://h", "--amqp-jobs", "jobs.plain");
    expect(more).toBe(`jobs.count, jobs.plain wait for workers: backtalk ${worker}`);
  });

  test("are not spoken of where there are none", () => {
    const none = service("none", { plain: unary({ input: any, output: any }, () => ({})) });
    expect(jobsText([none], readArgs(spec, ["x.ts"]))).toBeUndefined();
  });
});

test("the pid, and that nobody has to prove anything", async () => {
  const file = await place.file(
    "one.ts",
    `import { service, unary } from ${JSON.stringify(join(import.meta.dir, "../src/index.ts"))};
import { z } from ${JSON.stringify(join(import.meta.dir, "../node_modules/zod/index.js"))};
const a = z.object({});
export default service("one", { run: unary({ input: a, output: a, queue: true }, () => ({})) });`,
  );
  const quiet = ["--no-tls", "--no-grpc", "--no-tcp", "--no-udp", "--store", "memory:"];
  const child = place.start(["serve", file, "--port", "0", ...quiet]);
  const lines = await takeLines(child.stdout.getReader(), 6);
  child.kill("SIGKILL");
  await child.exited;
  expect(lines).toContain("callers       no authentication (serve has --api-keys FILE and --jwks URL)");
  expect(lines).toContain("jobs          one.run runs in this server: without --amqp there is no queue");
  expect(lines).toContain(`process       pid ${child.pid}`);
}, 60_000);

describe("the folder that a server makes for itself", () => {
  const directory = join(place.directory, "project/.backtalk");
  const ignore = join(directory, ".gitignore");

  test("stays out of git", () => {
    makeOwn(directory);
    expect(readFileSync(ignore, "utf8")).toBe("*\n");
  });

  test("is left as it is when it is there, and so is another one", () => {
    rmSync(ignore);
    makeOwn(directory);
    const other = join(place.directory, "data");
    mkdirSync(other);
    makeOwn(other);
    expect([existsSync(ignore), existsSync(join(other, ".gitignore"))]).toEqual([false, false]);
  });

  test("that cannot be made is told of by what is written there", () => {
    expect(() => makeOwn("/proc/none/.backtalk")).not.toThrow();
  });
});
