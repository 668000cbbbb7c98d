import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { blocking } from "./experiment.ts";

test.skipIf(!hasNetwork("blocking"))(
  "who blocks the loop makes everybody wait; who yields or has a thread does not",
  async () => {
    const { finding, isTooBusy } = await tryOut(blocking);
    if (isTooBusy) return;
    const blocks = finding("blocks the event loop");
    expect(blocks.verdict).toBe("ok");
    // About fifty requests were due meanwhile, and the 99th percentile shows it; asking one by one hides it.
    expect(blocks.values["p99"]).toBeGreaterThan(350);
    expect(blocks.values["sent"] as number).toBeLessThan((blocks.values["p99"] as number) / 2);
    for (const name of ["yields every 5 ms", "in a thread"]) {
      expect([name, finding(name).verdict]).toEqual([name, "ok"]);
      expect(finding(name).values["max"] as number).toBeLessThan(blocks.values["max"] as number);
    }
  },
  60_000,
);
