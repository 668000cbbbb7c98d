import { expect, test } from "bun:test";
import { BACKOFF, backoffMs } from "./backoff.ts";
import { seeded } from "./testing/tools.ts";

test("the range doubles from the base to the cap, and the whole of it is used", () => {
  const largest = (failures: number) => backoffMs(failures, () => 1);
  expect([1, 2, 3, 6, 7, 50].map(largest)).toEqual([500, 1000, 2000, 16_000, 30_000, 30_000]);
  expect(backoffMs(9, () => 0)).toBe(0);
});

test("what the server asked for comes first, with the jitter on top", () => {
  expect(backoffMs(1, () => 0, 7000)).toBe(7000);
  expect(backoffMs(1, () => 0.5, 7000)).toBe(7250);
  expect(backoffMs(1, () => 0, -5)).toBe(0);
});

test("by seed: repeatable, spread over the range, never outside it", () => {
  const draw = (seed: number) => {
    const random = seeded(seed);
    return Array.from({ length: 1000 }, () => backoffMs(3, random));
  };
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
  const most = BACKOFF.baseMs * 4;
  for (let quarter = 0; quarter < 4; quarter++) {
    const inside = draw(7).filter((ms) => ms >= (quarter * most) / 4 && ms < ((quarter + 1) * most) / 4);
    expect(inside.length).toBeGreaterThan(200);
  }
});
