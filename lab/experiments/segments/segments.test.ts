import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { segments } from "./experiment.ts";

test.skipIf(!hasNetwork("segments") || Bun.which("curl") === null)(
  "pieces follow the MSS, the buffer, the pauses or the records",
  async () => {
    const { run, finding, isTooBusy } = await tryOut(segments);
    if (!isTooBusy) expect(run.findings.findings.filter(({ verdict }) => verdict !== "ok")).toEqual([]);
    // 1,500 bytes less 20 of IP, 20 of TCP and 12 of timestamps.
    expect(finding("one write, late reader").values["largest"]).toBe(1_448);
    expect(finding("one write, late reader").values["reads"]).toBe(1);
    expect(finding("MTU 576").values["largest"]).toBe(524);
    expect(finding("TLS, one write").values["curl"]).not.toBe("-");
    expect(run.findings.captures?.find(({ name }) => name === "TLS, one write")?.keyLog).toContain("TRAFFIC_SECRET");
  },
  60_000,
);
