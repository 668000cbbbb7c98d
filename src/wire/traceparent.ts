/** `traceparent` (W3C Trace Context §3.2). */

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: string;
}

/** Undefined for what is malformed: §3.2.2.2 has the receiver go on as if there were none. */
export function parseTraceparent(header: string): TraceParent | undefined {
  const match = FORM.exec(header.trim());
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, more] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string?,
  ];
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, flags };
}

/** The same trace with a span of our own. `random` gives numbers from 0 to 1. */
export function childTraceparent(parent: TraceParent, random: () => number): string {
  const half = () =>
    Math.floor(random() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, "0");
  // A span id of zeros means none (§3.2.2.4).
  const span = half() + half();
  // Only the flag `sampled` is known to version 00 (§3.2.2.5).
  const flags = (Number.parseInt(parent.flags, 16) & 1).toString(16).padStart(2, "0");
  return `00-${parent.traceId}-${span === "0000000000000000" ? "0000000000000001" : span}-${flags}`;
}
