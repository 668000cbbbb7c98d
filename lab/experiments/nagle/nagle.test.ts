import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { median } from "../../units.ts";
import { countedOf, nagle } from "./experiment.ts";

test.skipIf(!hasNetwork("nagle"))(
  "two writes wait for the delayed acknowledgement, and nothing else does",
  async () => {
    const { run, finding, isTooBusy } = await tryOut(nagle, { runs: 15 });
    if (isTooBusy) return;
    expect(run.findings.findings.map(({ verdict }) => verdict)).toEqual(["ok", "ok", "ok"]);
    const ms = (name: string) => median(finding(name).values["ms"] as number[]);
    expect(ms("two writes")).toBeWithin(35, 60);
    expect(ms("two writes, TCP_NODELAY")).toBeLessThan(1);
    expect(ms("one write")).toBeLessThan(1);
    expect(finding("two writes").why).toContain("when the delayed ACK had come");
    expect(finding("two writes, TCP_NODELAY").why).toContain("without waiting");
    // One, and now and then one that a busy machine has not acknowledged in time.
    expect(finding("one write").values["segments"]).toBeWithin(1, 1.5);
    expect(run.findings.captures?.map(({ seen }) => seen.length > 20)).toEqual([true, true, true]);
  },
  60_000,
);

test("what the kernel held back is what is said of it", () => {
  const [times, segments] = [[1, 1, 1, 1], 8];
  const verdict = (held: number, waits: boolean) => countedOf({ times, segments, held }, waits).verdict;
  expect([verdict(4, true), verdict(0, false)]).toEqual(["ok", "ok"]);
  expect([verdict(0, true), verdict(1, false)]).toEqual(["failed", "failed"]);
});
