import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { median } from "../../units.ts";
import { nagle } from "./experiment.ts";

test.skipIf(!hasNetwork("nagle"))(
  "two writes wait for the delayed acknowledgement, and nothing else does",
  async () => {
    const { run, finding } = await tryOut(nagle, { runs: 15 });
    const ms = (name: string) => median(finding(name).values["ms"] as number[]);
    expect(ms("two writes")).toBeWithin(35, 60);
    expect(ms("two writes, TCP_NODELAY")).toBeLessThan(10);
    expect(ms("one write")).toBeLessThan(10);
    expect(finding("two writes").why).toContain("when the delayed ACK had come");
    expect(finding("two writes, TCP_NODELAY").why).toContain("without waiting");
    expect(finding("one write").values["segments"]).toBe(1);
    expect(run.findings.captures?.map(({ seen }) => seen.length > 20)).toEqual([true, true, true]);
  },
  60_000,
);
