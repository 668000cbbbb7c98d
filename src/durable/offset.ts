/**
 * Offsets of created streams (§8): the number of the log, and the number of the event in it. Each log has a
 * number that is greater than those of all before it, so that the offsets of a fork sort after those of what it
 * was forked from, and the offset of a stream that was deleted and made anew is noticed.
 */
export interface Offset {
  readonly log: number;
  /** 0 is the place before the first event. */
  readonly seq: number;
}

const DIGITS = 16;
const FORM = /^(\d{16})_(\d{16})$/;

export function encodeOffset({ log, seq }: Offset): string {
  return `${String(log).padStart(DIGITS, "0")}_${String(seq).padStart(DIGITS, "0")}`;
}

/** Undefined for what is none of ours. */
export function decodeOffset(text: string): Offset | undefined {
  const match = FORM.exec(text);
  return match ? { log: Number(match[1]), seq: Number(match[2]) } : undefined;
}

/** A number for a new log: microseconds since 1970, at least one more than `after`. */
export function newLogNumber(now: number, after: number): number {
  return Math.max(Math.floor(now * 1000), after + 1);
}
