/** What people type for times, rates and parts. All throw RangeError that says how it is written. */
import type { GilbertElliott } from "./wire/link.ts";

/** `100ms`, `1.5s`, `250us`, or milliseconds alone. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(us|µs|ms|s)?$/.exec(text.trim());
  if (!match) throw new RangeError(`not a time: ${JSON.stringify(text)}; write it as 100ms, 1.5s or 250us`);
  return Number(match[1]) * { us: 0.001, µs: 0.001, ms: 1, s: 1_000 }[match[2] ?? "ms"]!;
}

/** A full packet takes twelve seconds at it: slower, no experiment ends. */
const SLOWEST_BPS = 1_000;

/** `10mbit`, `500kbit`, `1gbit`, `2MB/s`; bits per second. */
export function parseRate(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(k|m|g)?(bit|bit\/s|bps|b\/s|B\/s)?$/i.exec(text.trim());
  const value = match && Number(match[1]) * { "": 1, k: 1e3, m: 1e6, g: 1e9 }[(match[2] ?? "").toLowerCase()]!;
  if (!match || !value)
    throw new RangeError(`not a rate: ${JSON.stringify(text)}; write it as 10mbit, 500kbit or 2MB/s`);
  const bps = match[3] === "B/s" ? value * 8 : value;
  if (bps < SLOWEST_BPS)
    throw new RangeError(`slower than 1kbit: ${JSON.stringify(text)}; write it as 10mbit or 500kbit`);
  return bps;
}

/** `1%` or `0.01`. */
export function parsePart(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(%)?$/.exec(text.trim());
  const value = match ? Number(match[1]) / (match[2] ? 100 : 1) : Number.NaN;
  if (!(value >= 0 && value <= 1)) throw new RangeError(`not a part: ${JSON.stringify(text)}; write it as 1% or 0.01`);
  return value;
}

/** `1%`, or `burst:1%:25%`: how likely the link goes bad with a packet, and how likely it recovers. */
export function parseLoss(text: string): number | GilbertElliott {
  const [kind, toBad, toGood, more] = text.split(":");
  if (kind !== "burst") return parsePart(text);
  if (toBad === undefined || toGood === undefined || more !== undefined) {
    throw new RangeError(`not a loss: ${JSON.stringify(text)}; write it as 1%, or burst:1%:25%`);
  }
  return { toBad: parsePart(toBad), toGood: parsePart(toGood) };
}

/** `64k`, `1M`, or bytes alone; powers of ten. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(k|M|G)?B?$/.exec(text.trim());
  if (!match) throw new RangeError(`not a size: ${JSON.stringify(text)}; write it as 64k or 1M`);
  return Math.round(Number(match[1]) * { "": 1, k: 1e3, M: 1e6, G: 1e9 }[match[2] ?? ""]!);
}

/** The median of samples. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function quantile(samples: readonly number[], part: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
