import { describe, expect, test } from "bun:test";
import { widthOf } from "../../cli/table.ts";
import { layout } from "./layout.ts";
import { logScale, scale, tickText } from "./scale.ts";
import { madeLine, madeRun } from "./testing.ts";
import { conditionsText, explained, headline, spreadText, textTable, valueText } from "./text.ts";

const style = (width: number) => ({ width, bold: (text: string) => text, dim: (text: string) => text });

const long = madeRun({
  columns: [
    { key: "first", title: "first", unit: "rt" },
    { key: "again", title: "again", unit: "rt" },
    { key: "bytes", title: "bytes", unit: "bytes" },
  ],
  findings: [
    madeLine({
      name: "TCP + TLS 1.2",
      values: { first: 4.02, again: 3.01, bytes: 5_210 },
      expected: "4 / 3",
      why: "one handshake for TCP, two round trips for TLS",
    }),
    madeLine({
      name: "TCP Fast Open + TLS 1.3",
      values: { first: [3.01, 3.03], again: 2.01, bytes: 4_100 },
      expected: "3 / 2",
      why: "cookie in SYN-ACK, request in the SYN's second flight",
    }),
  ],
});

describe("the table of a run", () => {
  test("in a wide window is a line for each way, numbers at their right", () => {
    expect(layout(textTable(long), style(120))).toEqual([
      "way                      first  again  bytes  expected  verdict  why",
      "TCP + TLS 1.2             4.02   3.01  5,210  4 / 3     ok       one handshake for TCP, two round trips for TLS",
      "TCP Fast Open + TLS 1.3   3.02   2.01  4,100  3 / 2     ok       cookie in SYN-ACK, request in the SYN's second flight",
    ]);
  });

  test("in 80 columns has the why below its line", () => {
    expect(layout(textTable(long), style(80)).slice(0, 3)).toEqual([
      "way                      first  again  bytes  expected  verdict",
      "TCP + TLS 1.2             4.02   3.01  5,210  4 / 3     ok",
      "    one handshake for TCP, two round trips for TLS",
    ]);
  });

  test("in narrower ones has what was expected below, too, and then the name above", () => {
    expect(layout(textTable(long), style(56)).slice(0, 4)).toEqual([
      "way                      first  again  bytes  verdict",
      "TCP + TLS 1.2             4.02   3.01  5,210  ok",
      "    expected: 4 / 3",
      "    one handshake for TCP, two round trips for TLS",
    ]);
    expect(layout(textTable(long), style(42)).slice(0, 3)).toEqual([
      "  first  again  bytes  expected  verdict",
      "TCP + TLS 1.2",
      "   4.02   3.01  5,210  4 / 3     ok",
    ]);
  });

  test("in the narrowest is a card for each, and no line is wider than any window", () => {
    const words = { key: "said", title: "what the program said", unit: "text" as const };
    const wordy = madeRun({
      columns: [words],
      findings: [madeLine({ values: { said: "nothing at all, for a while, and then a word" } })],
    });
    expect(layout(textTable(wordy), style(50)).slice(0, 4)).toEqual([
      "one",
      "what the program said  nothing at all, for a",
      "                       while, and then a word",
      "verdict                ok",
    ]);
    for (let width = 20; width <= 200; width++) {
      for (const line of layout(textTable(long), style(width)))
        expect([width, widthOf(line) <= width]).toEqual([width, true]);
    }
  });

  test("of many numbers breaks their titles at words, then shows as many columns at a time as fit, then cards", () => {
    const columns = Array.from({ length: 7 }, (_, n) => ({ key: `${n}`, title: `layer ${n}`, unit: "count" as const }));
    const values = { ...Object.fromEntries(columns.map(({ key }) => [key, 40])), 3: Number.NaN };
    const table = textTable(madeRun({ columns, findings: ["one", "two"].map((name) => madeLine({ name, values })) }));
    expect(layout(table, style(64)).slice(0, 4)).toEqual([
      "     layer  layer  layer  layer  layer  layer  layer",
      "way      0      1      2      3      4      5      6  verdict",
      "one     40     40     40      -     40     40     40  ok",
      "    the capture says so",
    ]);
    expect(layout(table, style(40))).toEqual([
      "     layer  layer  layer  layer  layer",
      "way      0      1      2      3      4",
      "one     40     40     40      -     40",
      "two     40     40     40      -     40",
      "",
      "     layer  layer",
      "way      5      6  verdict",
      "one     40     40  ok",
      "two     40     40  ok",
      "",
      "one",
      "    the capture says so",
      "two",
      "    the capture says so",
    ]);
    const long = textTable(madeRun({ columns, findings: [madeLine({ name: "a long name", values })] }));
    expect(layout(long, style(16)).slice(0, 3)).toEqual(["a long name", "layer 0: 40", "layer 1: 40"]);
    for (let width = 16; width <= 200; width++)
      for (const line of layout(table, style(width))) expect([width, widthOf(line) <= width]).toEqual([width, true]);
  });

  test("without lines is its header", () => {
    expect(layout(textTable(madeRun({ findings: [] })), style(80))).toEqual(["way  time, ms  verdict  why"]);
  });
});

test("numbers by their unit, and the spread where it shows", () => {
  expect([
    valueText(3.014, "rt"),
    valueText(0.0712, "ms"),
    valueText(480.13, "ms"),
    valueText(0.015, "percent"),
  ]).toEqual(["3.01", "0.07", "480.1", "1.5%"]);
  expect([valueText(5210.4, "bytes"), valueText(2.5, "count"), valueText(Number.NaN, "ms")]).toEqual([
    "5,210",
    "2.5",
    "-",
  ]);
  const column = { key: "ms", title: "time", unit: "ms" } as const;
  expect(spreadText(madeLine({ values: { ms: [1, 2, 3] } }), column)).toBe("1.00 to 3.00");
  expect(spreadText(madeLine({ values: { ms: [1, 1.001] } }), column)).toBeUndefined();
  expect(spreadText(madeLine({ values: { ms: 1 } }), column)).toBeUndefined();
});

test("all conditions are said; over loopback nothing of the link", () => {
  const conditions = {
    ...madeRun().conditions,
    loss: { toBad: 0.01, toGood: 0.25 },
    rateBps: 5e5,
    drops: [{ host: "server", of: "data" as const, first: 3, last: 5 }],
  };
  const said = Object.fromEntries(conditionsText(madeRun({}, { conditions })));
  expect(said).toMatchObject({
    loss: "in bursts (1.0% to begin, 25.0% to end) each way",
    rate: "500.0 kbit/s",
    dropped: "server data 3-5",
  });
  expect(headline(madeRun({}, { conditions, over: "loopback" }))).toBe(
    "a run that was never made · over loopback: nothing is said about delay · 5 runs each · seed 1",
  );
});

test("an axis has round ticks that enclose all values", () => {
  expect(scale([0, 44.1], [0, 100], 5).ticks).toEqual([0, 10, 20, 30, 40, 50]);
  expect(scale([0.1, 0.3], [0, 100], 2).ticks).toEqual([0.1, 0.2, 0.3]);
  expect(scale([], [0, 1], 5).ticks).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(scale([5, 5], [0, 1], 5).ticks.at(-1)).toBeGreaterThanOrEqual(5);
  expect(scale([-3, 7, Number.NaN], [0, 100], 5).at(7)).toBeLessThanOrEqual(100);
  expect(logScale([70, 3_500], [0, 100]).ticks).toEqual([50, 100, 200, 500, 1_000, 2_000, 5_000]);
  expect(logScale([0.2, 50, 0, -1], [0, 100]).at(10)).toBeCloseTo(100 * (Math.log10(50) / Math.log10(250)), 6);
  expect(logScale([1e-3, 1e3], [0, 1]).ticks).toEqual([1e-3, 1e-2, 0.1, 1, 10, 100, 1_000]);
  for (const values of [[], [5], [10], [0.03, 0.03]]) {
    const { ticks, at } = logScale(values, [0, 100]);
    expect(ticks.length).toBeGreaterThan(1);
    for (const value of values) expect(at(value)).toBeWithin(-1e-9, 100 + 1e-9);
  }
  expect([tickText(0.25), tickText(1_500), tickText(25_000), tickText(2.5e6)]).toEqual([
    "0.25",
    "1,500",
    "25k",
    "2.5M",
  ]);
});

test("what is said of several lines is said once", () => {
  const [a, b, c] = ["a", "b", "c"].map((name) =>
    madeLine({ name, source: "RFC 1", explain: name === "b" ? "B" : "A" }),
  );
  expect(explained([a!, b!, c!, madeLine()])).toEqual([
    { names: ["a", "c"], source: "RFC 1", explain: "A" },
    { names: ["b"], source: "RFC 1", explain: "B" },
  ]);
});
