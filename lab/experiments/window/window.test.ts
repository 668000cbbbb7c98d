import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { countedOf, window } from "./experiment.ts";

test.skipIf(!hasNetwork("window"))(
  "a client that does not read closes the window, and is asked until it does",
  async () => {
    const { run, finding, isTooBusy } = await tryOut(window);
    if (isTooBusy) return;
    const [fast, slow] = [finding("reads at once"), finding("reads after 3 s")];
    expect([fast.verdict, slow.verdict]).toEqual(["ok", "ok"]);
    expect(fast.values["zero"]).toBe(0);
    expect(slow.values["stalled"]).toBeWithin(1_500, 3_200);
    // The kernel and the capture agree.
    expect(slow.values["limited"]).toBeGreaterThan(1_500);
    expect(fast.values["limited"]).toBeLessThan(1_000);
    // Never more than the client has allowed: the window's line is above what was sent.
    const [sent, , allowed] = run.findings.plots![1]!.series;
    const most = Math.max(...allowed!.points.map(([, bytes]) => bytes));
    expect(Math.max(...sent!.points.map(([, bytes]) => bytes))).toBeLessThanOrEqual(most);
  },
  60_000,
);

test("what the kernel knew of the window is what is said of it", () => {
  const samples = (...windows: (number | null)[]) => windows.map((window) => ({ window, limitedUs: 0 }));
  const [open, closed] = [samples(9_000, 4_000, 9_000), samples(9_000, 0, 0, 0)];
  const verdict = (...args: Parameters<typeof countedOf>) => countedOf(...args).verdict;
  expect([verdict(open, false), verdict(closed, true)]).toEqual(["ok", "ok"]);
  expect([verdict(closed, false), verdict(open, true)]).toEqual(["failed", "failed"]);
  // An older kernel.
  expect([verdict(samples(null), true), verdict([], false)]).toEqual(["refused", "refused"]);
});
