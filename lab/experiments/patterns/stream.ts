/** The bytes of one direction of a connection, out of its segments: what they are, when each was sent and when it came. */
import type { Connection } from "../../capture/segments.ts";

/** From its first byte on; what was never captured is zero. */
export class Stream {
  readonly bytes: Uint8Array;
  /** The end of what had been sent, and when it was, in nanoseconds; both grow. */
  readonly #sent: [end: number, at: number][] = [];
  /** The same of what had come without a gap: only that can be read. */
  readonly #came: [end: number, at: number][] = [];

  constructor({ segments }: Connection, ofOpener: boolean) {
    const parts = segments.flatMap(({ isOpener, sequence, tcp, seen }) =>
      isOpener === ofOpener && tcp.payload.length > 0 ? [{ at: sequence - 1, bytes: tcp.payload, seen }] : [],
    );
    this.bytes = new Uint8Array(Math.max(0, ...parts.map(({ at, bytes }) => at + bytes.length)));
    let sent = 0;
    for (const { at, bytes, seen } of parts.toSorted((a, b) => a.seen.at - b.seen.at)) {
      this.bytes.set(bytes, at);
      const end = at + bytes.length;
      if (end <= sent) continue;
      sent = end;
      this.#sent.push([end, seen.at]);
    }
    let came = 0;
    const ahead: { at: number; end: number }[] = [];
    const arrivals = parts.filter(({ seen }) => seen.leftAt !== undefined);
    for (const { at, bytes, seen } of arrivals.toSorted((a, b) => a.seen.leftAt! - b.seen.leftAt!)) {
      ahead.push({ at, end: at + bytes.length });
      const before = came;
      for (const each of ahead.toSorted((a, b) => a.at - b.at)) if (each.at <= came) came = Math.max(came, each.end);
      if (came > before) this.#came.push([came, seen.leftAt!]);
    }
  }

  /** When the byte at this place was first sent. */
  sentAt(at: number): number {
    return timeOf(this.#sent, at);
  }

  /** When the byte at this place could be read by the other side; never is NaN. */
  cameAt(at: number): number {
    return timeOf(this.#came, at);
  }

  /** How many bytes were first sent then. */
  newBytes({ from, until }: Span): number {
    let last = 0;
    let bytes = 0;
    for (const [end, at] of this.#sent) {
      if (at >= from && at <= until) bytes += end - last;
      last = end;
    }
    return bytes;
  }

  /** Each byte one character, so that places are the same. */
  get text(): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length).toString("latin1");
  }
}

/** Nanoseconds on the clock of the capture. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

function timeOf(steps: readonly (readonly [end: number, at: number])[], place: number): number {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle]![0] > place) high = middle;
    else low = middle + 1;
  }
  return steps[low]?.[1] ?? Number.NaN;
}
