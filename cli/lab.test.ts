/** `backtalk lab` as a process: what it prints and writes, and its exit codes. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { documentOf } from "../lab/report/document.ts";
import { madeLine, madeRun } from "../lab/report/testing.ts";
import { hasNetwork } from "../lab/testing.ts";
import { Place } from "./testing.ts";

const place = new Place();
afterAll(() => place.remove());
const LONG = 60_000;
const run = (...args: string[]) => place.run(["lab", ...args]);

test("lists the experiments with their questions, in 80 columns and as JSON", async () => {
  const { code, out } = await run();
  expect(code).toBe(0);
  expect(out).toContain("nagle ");
  expect(Math.max(...out.split("\n").map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
  const { json } = await run("--json");
  expect(json[0]).toContainEqual(expect.objectContaining({ name: "nagle", question: expect.stringMatching(/\?$/) }));
});

test.each([
  ["nagl", /did you mean nagle\?/],
  ["nagle hol", /too many arguments: "hol"/],
  ["nagle --variant fast", /nagle has no variant "fast": it has none/],
  ["nagle --rtt soon", /--rtt: not a time: "soon"; write it as 100ms/],
  ["nagle --loss 200%", /--loss: not a part/],
  ["nagle --runs 0", /from 1 to 1000/],
  ["nagle --congestion vegas", /cannot be "vegas"/],
  ["nagle --drop server", /--drop: not a drop: "server"; write it as/],
  ["nagle --out FILE/x", /nothing can be written to .*: a file is in the way/],
  ["nagle --junit FILE/x", /nothing can be written to .*: a file is in the way/],
  ["compare", /compare needs two runs/],
  ["compare none none", /there is no run at none/],
  ["compare FILE FILE", /is not JSON/],
])(
  "%s is refused before anything runs",
  async (args, said) => {
    const file = await place.file("file.txt", "no run");
    const { code, err } = await run(...args.split(" ").map((word) => word.replace("FILE", file)));
    expect(err).toMatch(said);
    expect(code).toBe(2);
  },
  LONG,
);

test(
  "compare ends with 1 when something fails that did not",
  async () => {
    const write = (name: string, verdict: "ok" | "failed") =>
      place.file(name, JSON.stringify(documentOf(madeRun({ findings: [madeLine({ verdict })] }))));
    const [good, bad] = [await write("good.json", "ok"), await write("bad.json", "failed")];
    const worse = await run("compare", good, bad);
    expect([worse.code, worse.out]).toEqual([1, expect.stringContaining("failed (worse)")]);
    const better = await run("compare", bad, good, "--json");
    expect([better.code, better.json[0]]).toEqual([
      0,
      expect.objectContaining({ isWorse: false, verdicts: [expect.objectContaining({ a: "failed", b: "ok" })] }),
    ]);
  },
  LONG,
);

test(
  "a machine without what networks are made of says what is missing, and the remedy",
  async () => {
    // Where there is nothing but Bun.
    const bin = join(place.directory, "only");
    mkdirSync(bin, { recursive: true });
    symlinkSync(process.execPath, join(bin, "bun"));
    const alone = (...args: string[]) => place.run(["lab", ...args], "", { PATH: bin });
    const junit = await place.file("junit.xml", "");
    const refused = await alone("hol", "--junit", junit);
    expect(refused.code).toBe(19);
    expect(refused.err).toMatch(
      /hol needs an emulated network, as loopback loses nothing: (not installed: .*unshare|network namespaces are a part of Linux)/,
    );
    expect(refused.err).not.toContain("    at ");
    expect(readFileSync(junit, "utf8")).toContain('errors="1"');
    const listed = await alone();
    expect(listed.code).toBe(0);
    expect(listed.err).toMatch(/Remedy: .*\nOver loopback, as far as programs can count it: .*blocking, .*idempotency/);
    const counted = await alone("idempotency");
    expect([counted.code, counted.out]).toEqual([0, expect.stringContaining("over loopback: nothing")]);
    expect(counted.out).toMatch(/^POST without a key +2 +2 +2 +no +ok$/m);
  },
  LONG,
);

describe.skipIf(!hasNetwork("backtalk lab"))("a run", () => {
  test("prints a table, writes its files, and ends with 0 when all is as expected", async () => {
    const [out, junit] = [join(place.directory, "out"), join(place.directory, "j.xml")];
    const args = ["nagle", "--runs", "6", "--out", out, "--junit", junit];
    const told = await run(...args, "--explain", "--ladder");
    // A machine that is too busy refuses; it does not fail.
    expect([told.code, told.out]).toEqual([
      0,
      expect.stringMatching(/^two writes +\d+(\.\d+)? +2 +35 to 60 ms +(ok|refused)$/m),
    ]);
    expect(told.out).toContain("RFC 9293");
    expect(told.out).toMatch(/client ───▶ server/);
    expect(told.err).toContain("report.html is written; beside it run.json, 3 captures");
    expect(readdirSync(out).sort()).toEqual([
      "capture-one-write.pcapng",
      "capture-two-writes-tcp-nodelay.pcapng",
      "capture-two-writes.pcapng",
      "report.html",
      "run.json",
    ]);
    expect(readFileSync(junit, "utf8")).toContain('<testsuite name="backtalk.lab.nagle" tests="3"');
    const again = await run(...args, "--json");
    expect(again.json[0]).toMatchObject({
      schemaVersion: 1,
      experiment: "nagle",
      captures: [{ file: "capture-two-writes.pcapng" }, {}, {}],
    });
  }, 60_000);

  test(
    "ends with 1 when a verdict fails",
    async () => {
      // The second piece of the only message is lost: it comes by a retransmission, after 200 ms and more.
      const { code, out } = await run("nagle", "--runs", "1", "--drop", "client data 2");
      expect(out).toMatch(/failed|refused/);
      if (!out.includes("refused")) expect(code).toBe(1);
    },
    LONG,
  );
});
