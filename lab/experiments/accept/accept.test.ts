import { expect, test } from "bun:test";
import { CONDITIONS } from "../../conditions.ts";
import { hasNetwork, tryOut } from "../../testing.ts";
import { parseDrop } from "../../wire/drops.ts";
import { accept, refusalOf, retryTimes } from "./experiment.ts";

test("nothing is judged on a link that loses packets, or is too long", () => {
  const conditions = { ...CONDITIONS, rttMs: 10 };
  expect(refusalOf(conditions)).toBeUndefined();
  expect(refusalOf({ ...conditions, loss: 0.05 })).toContain("lost on the way");
  expect(refusalOf({ ...conditions, loss: { toBad: 0.01, toGood: 0.25 } })).toContain("lost on the way");
  expect(refusalOf({ ...conditions, drops: [parseDrop("server syn 1", ["client", "server"])] })).toContain("lost");
  expect(refusalOf({ ...conditions, rttMs: 200 })).toContain("at most 30 ms");
});

test("the retries of a SYN double, after as many linear ones as the kernel has", () => {
  expect(retryTimes(0).slice(0, 4)).toEqual([1_000, 3_000, 7_000, 15_000]);
  expect(retryTimes(4).slice(0, 7)).toEqual([1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 11_000]);
});

test.skipIf(!hasNetwork("accept"))(
  "a backlog of b admits b + 1, and the rest try again by the kernel's clock",
  async () => {
    const { run, finding } = await tryOut(accept);
    for (const backlog of [0, 4, 16]) {
      expect(finding(`listen(${backlog})`).values["admitted"]).toBe(backlog + 1);
      expect(finding(`listen(${backlog})`).values["overflows"]).toBeGreaterThanOrEqual(4);
    }
    expect(finding("SYN retries")).toMatchObject({ verdict: "ok" });
    expect(finding("listen(4), all at once")).toMatchObject({ verdict: "ok" });
    expect(finding("accepts one each 100 ms")).toMatchObject({ verdict: "ok" });
    const limit = run.findings.plots![0]!.series[1]!.points.map(([, value]) => value);
    expect(new Set(limit)).toEqual(new Set([4]));
  },
  60_000,
);
