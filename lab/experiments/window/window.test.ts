import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { window } from "./experiment.ts";

test.skipIf(!hasNetwork("window"))(
  "a client that does not read closes the window, and is asked until it does",
  async () => {
    const { run, finding } = await tryOut(window);
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
