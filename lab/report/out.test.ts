import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nagle } from "../experiments/nagle/experiment.ts";
import { hasNetwork, tryOut } from "../testing.ts";
import { readRun } from "./compare.ts";
import { againText } from "./html.ts";
import { captureNames, prepareOut, writeOut } from "./out.ts";
import { madeCapture, madeLine, madeRun } from "./testing.ts";

const root = mkdtempSync(join(tmpdir(), "backtalk-out-"));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const fresh = () => join(root, String(count++));

const hasTshark = Bun.which("tshark") !== null;
if (!hasTshark) {
  if (process.env["CI"]) throw new Error("tshark is not installed");
  console.log("skipped: tshark is not installed");
}

test("captures have names that any system takes, each once", () => {
  const names = (...given: string[]) => captureNames(given.map((name) => ({ name })));
  expect(names("Whatever / it is")).toEqual(["capture.pcapng"]);
  expect(names("TLS 1.3, again", "tls 1.3 again", "../../etc", "…", "Größe".repeat(40))).toEqual([
    "capture-tls-1-3-again.pcapng",
    "capture-tls-1-3-again-2.pcapng",
    "capture-etc.pcapng",
    "capture-4.pcapng",
    `capture-${"gro-e".repeat(40).slice(0, 60)}.pcapng`,
  ]);
});

test("a later run replaces what an earlier one has left, and nothing else", async () => {
  const directory = fresh();
  mkdirSync(directory);
  writeFileSync(join(directory, "capture-mine.pcapng"), "mine");
  writeFileSync(join(directory, "notes.txt"), "mine");
  await writeOut(directory, madeRun({ captures: [madeCapture(2, "a"), madeCapture(2, "b")], har: [{}] }));
  expect(readdirSync(directory).sort()).toEqual([
    "capture-a.pcapng",
    "capture-b.pcapng",
    "capture-mine.pcapng",
    "notes.txt",
    "report.html",
    "requests.har",
    "run.json",
  ]);
  const written = await writeOut(directory, madeRun({ captures: [madeCapture(2)] }));
  expect(written).toEqual(["report.html", "run.json", "capture.pcapng"]);
  expect(readdirSync(directory).sort()).toEqual([
    "capture-mine.pcapng",
    "capture.pcapng",
    "notes.txt",
    "report.html",
    "run.json",
  ]);
  expect(readRun(directory).captures.map(({ file }) => file)).toEqual(["capture.pcapng"]);
  // Names in a file of somebody else are not believed.
  writeFileSync(
    join(directory, "run.json"),
    JSON.stringify({ captures: [{ file: "../out.test.ts" }, { file: "notes.txt" }, null] }),
  );
  await writeOut(directory, madeRun());
  expect(readdirSync(directory)).toContain("notes.txt");
});

test("a folder that cannot be written to is refused before the run", () => {
  writeFileSync(join(root, "file"), "");
  expect(() => prepareOut(join(root, "file"))).toThrow("a file is in the way");
  expect(() => prepareOut(join(root, "file/below"))).toThrow("a file is in the way");
});

test("the command that does it again has all conditions", () => {
  const { conditions } = madeRun();
  const drops = [{ host: "server", of: "data" as const, first: 3, last: 5 }];
  const run = madeRun(
    {},
    { variant: "other", conditions: { ...conditions, loss: { toBad: 0.01, toGood: 0.25 }, rateBps: 1e6, drops } },
  );
  expect(againText(run)).toBe(
    "backtalk lab made --variant other --rtt 100ms --runs 5 --seed 1 --congestion cubic --loss burst:0.01:0.25 --rate 1000000bit --drop 'server data 3-5'",
  );
});

describe("the page", () => {
  const hostile = `</script><script>alert(1)</script><img src=x onerror=alert(1)> & "quoted' \u2028`;

  test("takes text of others as text", async () => {
    const directory = fresh();
    const line = madeLine({ name: hostile, why: hostile, expected: hostile, source: hostile, explain: hostile });
    const plot = {
      title: hostile,
      kind: "bars",
      x: { title: hostile },
      y: { title: hostile },
      series: [{ name: hostile, points: [[0, 1]] }],
    } as const;
    const capture = madeCapture(1, hostile);
    await writeOut(
      directory,
      madeRun(
        { findings: [line], notes: [hostile], plots: [plot], captures: [capture] },
        { title: hostile, question: hostile },
      ),
    );
    const page = readFileSync(join(directory, "report.html"), "utf8");
    expect(page).not.toContain("<script>alert");
    expect(page).not.toContain("<img");
    expect(page.match(/<script/g)).toHaveLength(2);
  });

  test("links a clause to its section", async () => {
    const directory = fresh();
    await writeOut(directory, madeRun({ findings: [madeLine({ source: "RFC 9293 §3.7.4, and RFC 768" })] }));
    const page = readFileSync(join(directory, "report.html"), "utf8");
    expect(page).toContain('<a href="https://www.rfc-editor.org/rfc/rfc9293.html#section-3.7.4">RFC 9293 §3.7.4</a>');
    expect(page).toContain('<a href="https://www.rfc-editor.org/rfc/rfc768.html">RFC 768</a>');
  });
});

test.skipIf(!hasTshark || !hasNetwork("the files of a real run"))(
  "the packets of a real run are opened by tshark, whole, with what was dropped marked",
  async () => {
    const drops = [{ host: "server", of: "data", first: 2, last: 2 }] as const;
    const { run } = await tryOut(nagle, { runs: 4, rttMs: 10, drops });
    const directory = fresh();
    const files = (await writeOut(directory, run)).filter((file) => file.endsWith(".pcapng"));
    expect(files).toHaveLength(3);
    const rows = (file: string) => {
      const fields = ["frame.number", "frame.comment", "_ws.malformed"].flatMap((field) => ["-e", field]);
      const { stdout, exitCode } = Bun.spawnSync(["tshark", "-r", join(directory, file), "-T", "fields", ...fields], {
        stderr: "ignore",
      });
      expect(exitCode).toBe(0);
      return stdout
        .toString()
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split("\t"));
    };
    const { captures } = readRun(directory);
    for (const { file, packets, dropped } of captures) {
      const read = rows(file!);
      expect(read).toHaveLength(packets);
      expect(read.filter(([, comment]) => comment !== "")).toHaveLength(dropped);
      expect(read.filter(([, , malformed]) => malformed !== "")).toEqual([]);
    }
    expect(captures.map(({ dropped }) => dropped)).toEqual([1, 0, 0]);
  },
  60_000,
);
