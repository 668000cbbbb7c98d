import { describe, expect, test } from "bun:test";
import { ladderOf } from "../../capture/climb.ts";
import { madeCapture } from "../testing.ts";
import { pageLadder } from "./data.ts";
import { isLoss, LABEL_PX, labelled, lowerBound, MOST_PIXELS, positions, timeText } from "./positions.ts";

const page = pageLadder(ladderOf(madeCapture(40)), null, 10_000);

describe("the places of packets", () => {
  test.each(["order", "time"] as const)(
    "by %s go down with time, and no packet arrives above where it left",
    (mode) => {
      for (const zoom of [0.1, 1, 8]) {
        const { from, to, reach, height } = positions(page, page.rows, mode, zoom, 600);
        for (const index of page.rows.keys()) {
          expect(to[index]!).toBeGreaterThanOrEqual(from[index]!);
          expect(reach[index]!).toBeGreaterThanOrEqual(to[index]!);
          expect(height).toBeGreaterThan(to[index]!);
          if (index > 0) expect(from[index]!).toBeGreaterThanOrEqual(from[index - 1]!);
        }
      }
    },
  );

  test("by order, packets of one moment have a line each; by time they have one", () => {
    const [first] = page.rows;
    const burst = Array.from({ length: 5 }, () => first!);
    const distances = (mode: "order" | "time") => {
      const { from } = positions(page, burst, mode, 1, 600);
      return [...from].slice(1).map((y, index) => y - from[index]!);
    };
    expect(Math.min(...distances("order"))).toBeGreaterThan(14);
    expect(distances("time")).toEqual([0, 0, 0, 0]);
  });

  test("by order, a pause of seconds takes little more than one of milliseconds", () => {
    const at = (ns: number) => page.rows[0]!.with(0, ns).with(1, -1) as unknown as (typeof page.rows)[number];
    const { from } = positions({ ...page, marks: [] }, [at(0), at(5e6), at(5e9)], "order", 1, 600);
    expect(from[2]! - from[1]!).toBeGreaterThan(from[1]! - from[0]!);
    expect(from[2]! - from[1]!).toBeLessThan(100);
  });

  test("are never further down than a browser draws, and there are some for no packets", () => {
    const many = Array.from(
      { length: 200_000 },
      (_, index) => page.rows[0]!.with(0, index * 1e6) as unknown as (typeof page.rows)[number],
    );
    for (const mode of ["order", "time"] as const) {
      expect(positions({ ...page, spanNs: 2e11 }, many, mode, 100_000, 600).height).toBeLessThan(MOST_PIXELS * 1.2);
      expect(positions({ ...page, spanNs: 0, marks: [] }, [], mode, 1, 600).height).toBe(40);
    }
  });
});

test("a page has the first packets, and says how many there are", () => {
  const cut = pageLadder(ladderOf(madeCapture(40)), "a.pcapng", 10);
  expect([cut.rows.length, cut.total, cut.file]).toEqual([10, 87, "a.pcapng"]);
  // Names are there once.
  expect(new Set(cut.texts).size).toBe(cut.texts.length);
});

test("the first index that is not less", () => {
  expect([
    lowerBound([1, 3, 5], 0),
    lowerBound([1, 3, 5], 3),
    lowerBound([1, 3, 5], 4),
    lowerBound([1, 3, 5], 9),
    lowerBound([], 1),
  ]).toEqual([0, 1, 2, 3, 0]);
});

test("times are short", () => {
  expect([timeText(0), timeText(43.61e6), timeText(288.4e6), timeText(1.2041e9)]).toEqual([
    "0.00 ms",
    "43.61 ms",
    "288.4 ms",
    "1.204 s",
  ]);
});

test("labels do not cover each other, and what is selected, lost or sent again has one", () => {
  const all = [...page.rows.keys()];
  for (const zoom of [0.1, 0.3, 1]) {
    const { from } = positions(page, page.rows, "order", zoom, 600);
    for (const selected of [-1, 3, 17]) {
      const shown = labelled(from, page.rows, all, selected);
      if (selected >= 0) expect(shown.has(selected)).toBe(true);
      for (const host of [0, 1]) {
        const ys = all
          .filter((index) => shown.has(index) && page.rows[index]![2] === host)
          .map((index) => from[index]!);
        for (const [n, y] of ys.slice(1).entries()) expect(y - ys[n]!).toBeGreaterThanOrEqual(LABEL_PX);
      }
      // Without a label it has one of its own rank too near.
      for (const index of all.filter((each) => isLoss(page.rows[each]!) && !shown.has(each))) {
        const isNear = (other: number) =>
          page.rows[other]![2] === page.rows[index]![2] && Math.abs(from[other]! - from[index]!) < LABEL_PX;
        expect(
          all.some((other) => shown.has(other) && (other === selected || isLoss(page.rows[other]!)) && isNear(other)),
        ).toBe(true);
      }
    }
  }
});
