import { describe, expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { hasTshark, tshark } from "../../testing-tshark.ts";
import { hol } from "./experiment.ts";
import { stalls } from "./stalls.ts";
import { visit } from "./visit.ts";

const canDecrypt = hasTshark("whether captures of hol open decrypted");

describe("streams that stand still", () => {
  const ms = 1e6;
  /** Every 20 ms for two seconds, with a hole of so many milliseconds after this time. */
  const stream = (holeAt = -1, hole = 0) =>
    Array.from({ length: 100 }, (_, n) => n * 20).map((at) => (at > holeAt ? Math.max(at, holeAt + hole) : at) * ms);
  const options = { everyMs: 20, rttMs: 50 };

  test("are those with a hole where the packet was to come", () => {
    // Lost at 975, due at 1,000.
    const arrivals = [stream(1_000, 60), stream(1_000, 70), stream()];
    expect(stalls([975 * ms], arrivals, options)).toEqual([2]);
  });

  test("are none for a hole at another time, or one that the rhythm explains", () => {
    expect(stalls([975 * ms], [stream(1_200, 80), stream(1_000, 30)], options)).toEqual([0]);
  });

  test("are not counted for losses that are close to each other or to the ends", () => {
    expect(
      stalls(
        [900 * ms, 950 * ms, 10 * ms, 1_970 * ms].sort((a, b) => a - b),
        [stream()],
        options,
      ),
    ).toEqual([]);
  });
});

test.skipIf(!hasNetwork("hol"))(
  "for seeds 1 to 5 one loss stops one stream of HTTP/1.1, all of HTTP/2, at most two of HTTP/3",
  async () => {
    const { run, finding, isTooBusy } = await tryOut(hol, { runs: 5 }, "streams");
    if (canDecrypt) {
      for (const [name, filter] of [
        ["HTTP/2", 'http2.headers.path contains "/stream"'],
        ["HTTP/3", "http3"],
      ] as const) {
        const capture = run.findings.captures!.find((each) => each.name === name)!;
        expect((await tshark(capture, filter)).length, name).toBeGreaterThanOrEqual(10);
      }
    }
    if (isTooBusy) return;
    expect(run.findings.findings.map(({ name, verdict }) => [name, verdict])).toEqual([
      ["HTTP/1.1, six connections", "ok"],
      ["HTTP/2", "ok"],
      ["HTTP/3", "ok"],
    ]);
    expect(finding("HTTP/2").why).toStartWith("1 connection;");
  },
  120_000,
);

test.skipIf(!hasNetwork("hol"))(
  "without loss nothing is judged",
  async () => {
    const { run } = await tryOut(hol, { runs: 1, loss: 0 }, "streams");
    expect(run.findings.findings.map(({ verdict }) => verdict)).toEqual(["refused", "refused", "refused"]);
  },
  60_000,
);

test("the control of congestion is told to QUIC", async () => {
  const target = { protocol: "http3", address: "127.0.0.1", port: 1, congestion: "vegas" as "reno" } as const;
  await expect(visit(target)).rejects.toThrow("options.cc");
});
