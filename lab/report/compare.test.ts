import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { comparisonLines } from "../../cli/comparison.ts";
import { compare, readRun } from "./compare.ts";
import { documentOf } from "./document.ts";
import { junitOf, junitOfError } from "./junit.ts";
import { madeLine, madeRun } from "./testing.ts";

const directory = mkdtempSync(join(tmpdir(), "backtalk-compare-"));
afterAll(() => rmSync(directory, { recursive: true }));

const runOf = (ms: readonly number[], verdict: "ok" | "failed" | "refused" = "ok", more = {}) =>
  documentOf(madeRun({ findings: [madeLine({ values: { ms }, verdict })] }, more));

describe("two runs", () => {
  test("differ where the median of one is outside the samples of the other", () => {
    expect(compare(runOf([9, 10, 11]), runOf([9.5, 10.5, 12])).changes).toEqual([]);
    expect(compare(runOf([9, 10, 11]), runOf([18, 20, 22])).changes).toEqual([
      { line: "one", column: "time", unit: "ms", a: "10.0 (9.00 to 11.0)", b: "20.0 (18.0 to 22.0)", part: 1 },
    ]);
    // Single samples have no spread: a hundredth is none either.
    expect(compare(runOf([100]), runOf([100.4])).changes).toEqual([]);
    expect(compare(runOf([100]), runOf([103])).changes).toHaveLength(1);
  });

  test("are worse only when something fails that did not", () => {
    expect(compare(runOf([1]), runOf([1], "failed"))).toMatchObject({
      isWorse: true,
      verdicts: [{ a: "ok", b: "failed", isWorse: true }],
    });
    expect(compare(runOf([1], "failed"), runOf([1])).isWorse).toBe(false);
    expect(compare(runOf([1], "failed"), runOf([1], "failed"))).toMatchObject({ isWorse: false, verdicts: [] });
    expect(compare(runOf([1]), runOf([1], "refused"))).toMatchObject({ isWorse: false, verdicts: [{ b: "refused" }] });
    const other = documentOf(madeRun({ findings: [madeLine({ name: "two", verdict: "failed" })] }));
    expect(compare(runOf([1]), other)).toMatchObject({
      isWorse: true,
      verdicts: [
        { line: "one", b: "absent" },
        { line: "two", a: "absent", b: "failed" },
      ],
    });
  });

  test("say which conditions and versions were not the same", () => {
    const b = runOf([1], "ok", {
      conditions: { ...madeRun().conditions, rttMs: 50, rateBps: 1e6 },
      versions: { backtalk: "0.0.1" },
    });
    expect(compare(runOf([1]), b).differences).toEqual([
      { what: "rttMs", a: "100", b: "50" },
      { what: "rateBps", a: "-", b: "1000000" },
      { what: "backtalk", a: "0.0.0", b: "0.0.1" },
    ]);
  });

  test("of two experiments cannot be compared", () => {
    expect(() => compare(runOf([1]), { ...runOf([1]), experiment: "other" })).toThrow("nothing in common");
  });

  test("as lines", () => {
    const style = { width: 100, bold: (text: string) => text, dim: (text: string) => text };
    expect(comparisonLines(compare(runOf([10]), runOf([15], "failed")), "a", "b", style)).toEqual([
      "made: a → b",
      "",
      "VERDICT OF  A   B               WHY",
      "one         ok  failed (worse)  the capture says so",
      "",
      "LINE  COLUMN    A     B     CHANGE",
      "one   time, ms  10.0  15.0  +50%",
      "",
      "0 values are the same, or within the spread of the samples.",
    ]);
  });
});

test("conditions that are not the same are named as a reader calls them", () => {
  const drops = [{ host: "server", of: "data" as const, first: 3, last: 5 }];
  const other = {
    ...runOf([1]),
    over: "loopback" as const,
    conditions: { ...runOf([1]).conditions, rttMs: 20, drops },
  };
  const style = { width: 80, bold: (text: string) => text, dim: (text: string) => text };
  expect(comparisonLines(compare(runOf([1]), other), "a", "b", style).slice(2, 8)).toEqual([
    "NOT THE SAME    A        B",
    "run over        network  loopback",
    "round trip, ms  100      20",
    "dropped         -        server data 3-5",
    "",
    "One of them was over loopback: its times are not those of a link.",
  ]);
});

describe("a file of a run", () => {
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };

  test("is read by its path and by its folder", () => {
    mkdirSync(join(directory, "run"));
    writeFileSync(join(directory, "run/run.json"), JSON.stringify(runOf([1])));
    expect(readRun(join(directory, "run"))).toEqual(readRun(join(directory, "run/run.json")));
  });

  test.each([
    ["nothing", () => join(directory, "none"), "there is no run at"],
    ["no JSON", () => write("a.json", "{"), "is not JSON"],
    ["null", () => write("b.json", "null"), "is no run"],
    ["another JSON", () => write("c.json", '{"schemaVersion":1}'), "is no run"],
    ["lines that are none", () => write("d.json", JSON.stringify({ ...runOf([1]), findings: [null] })), "is no run"],
    [
      "no conditions",
      () => write("f.json", JSON.stringify({ ...runOf([1]), conditions: null })),
      "it has no conditions",
    ],
    ["columns that are none", () => write("g.json", JSON.stringify({ ...runOf([1]), columns: [null] })), "its columns"],
    [
      "a value that is none",
      () => write("h.json", JSON.stringify(runOf([1])).replace('"median":1', '"median":"x"')),
      "findings[0].values.ms is neither numbers nor text",
    ],
    [
      "a verdict that is none",
      () => write("i.json", JSON.stringify(runOf([1])).replaceAll('"ok"', '"great"')),
      "great",
    ],
    ["a folder without one", () => directory, "has no run.json"],
    [
      "a later version",
      () => write("e.json", JSON.stringify({ ...runOf([1]), schemaVersion: 2 })),
      "has schemaVersion 2, and this reads 1",
    ],
  ])("%s is refused with the reason", (_, path, message) => {
    expect(() => readRun(path())).toThrow(message);
  });
});

describe("JUnit", () => {
  test("has a case for each line that was judged, with what went wrong", () => {
    const lines = [
      madeLine(),
      madeLine({ name: 'two <"&>', verdict: "failed", why: "1 < 2 & \u0000\u001b3", expected: "more" }),
      madeLine({ name: "three", verdict: "refused", why: "too busy" }),
      madeLine({ name: "four", verdict: "none" }),
    ];
    const xml = junitOf(documentOf(madeRun({ findings: lines }, { variant: "other" })));
    expect(xml).toContain('<testsuite name="backtalk.lab.made.other" tests="3" failures="1" errors="0" skipped="1"');
    expect(xml).toContain('name="two &lt;&quot;&amp;&gt;"');
    expect(xml).toContain('<failure message="1 &lt; 2 &amp; 3" type="verdict">expected: more</failure>');
    expect(xml).toContain('<skipped message="too busy"/>');
    expect(xml).not.toContain("four");
  });

  test("of a run that broke is an error", () => {
    const xml = junitOfError("made", undefined, new Error("no <network>"));
    expect(xml).toContain('errors="1"');
    expect(xml).toContain('<error message="no &lt;network&gt;"');
  });
});
