/** Runs that were never made, for the tests of what shows them. */
import { CONDITIONS } from "../conditions.ts";
import type { Capture, Finding, Findings } from "../experiment.ts";
import type { Run } from "../run.ts";
import type { Seen } from "../wire/index.ts";

export const HOSTS = [
  { name: "client", address: "10.0.0.1" },
  { name: "server", address: "10.0.0.2" },
] as const;

export function madeRun(findings: Partial<Findings> = {}, more: Partial<Run> = {}): Run {
  return {
    experiment: "made",
    title: "a run that was never made",
    question: "Does what shows a run show all of it?",
    variant: undefined,
    conditions: CONDITIONS,
    over: "network",
    startedAt: "2026-01-02T03:04:05.006Z",
    tookMs: 1234.5,
    versions: { backtalk: "0.0.0" },
    findings: { columns: [{ key: "ms", title: "time", unit: "ms" }], findings: [madeLine()], ...findings },
    ...more,
  };
}

export function madeLine(more: Partial<Finding> = {}): Finding {
  return { name: "one", values: { ms: [1, 2, 3] }, verdict: "ok", why: "the capture says so", ...more };
}

/** A connection on which `count` segments are sent and acknowledged, every tenth lost and sent again. */
export function madeCapture(count: number, name = "made"): Capture {
  const seen: Seen[] = [];
  let at = 5_000_000_000_000;
  const send = (from: 0 | 1, flags: number, sequence: number, acknowledged: number, data: string, isLost = false) => {
    const bytes = tcpFrame(from, flags, sequence, acknowledged, data);
    seen.push({
      at,
      from,
      to: 1 - from,
      size: bytes.length,
      bytes,
      ...(isLost ? { drop: "rule" as const } : { leftAt: at + 50_000_000 }),
    });
    at += 100_000;
  };
  send(0, 2, 1000, 0, "");
  at += 50_000_000;
  send(1, 0x12, 5000, 1001, "");
  at += 50_000_000;
  send(0, 0x10, 1001, 5001, "");
  for (let n = 0; n < count; n++) {
    const sequence = 1001 + n * 500;
    if (n % 10 === 9) {
      send(0, 0x18, sequence, 5001, "x".repeat(500), true);
      at += 200_000_000;
    }
    send(0, 0x18, sequence, 5001, n === 0 ? `GET /${"a".repeat(480)} HTTP/1.1\r\n\r\n`.slice(0, 500) : "x".repeat(500));
    send(1, 0x10, 5001, sequence + 500, "");
  }
  return {
    name,
    hosts: HOSTS,
    seen,
    marks: [{ at: seen[2]!.at, host: "client", text: "request sent" }],
  };
}

/** Ethernet, IPv4 and TCP; checksums are zero. */
function tcpFrame(from: 0 | 1, flags: number, sequence: number, acknowledged: number, data: string): Uint8Array {
  const frame = new Uint8Array(54 + data.length);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame.set([0x45, 0], 14);
  view.setUint16(16, 40 + data.length);
  frame.set([64, 6], 22);
  frame.set([10, 0, 0, from + 1, 10, 0, 0, 2 - from], 26);
  view.setUint16(34, from === 0 ? 40_000 : 80);
  view.setUint16(36, from === 0 ? 80 : 40_000);
  view.setUint32(38, sequence);
  view.setUint32(42, acknowledged);
  frame.set([0x50, flags], 46);
  view.setUint16(48, 64_000);
  frame.set(new TextEncoder().encode(data), 54);
  return frame;
}
