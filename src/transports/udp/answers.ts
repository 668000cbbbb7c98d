/**
 * What was asked and answered (PROTOCOL.md §6.2), so that a copy of a question is answered and never run again.
 * Bounded: when it is full, new questions are refused; an answer is not forgotten before its time.
 */
import type { Limits } from "../../contract/index.ts";
import { senderOf } from "../../contract/sender.ts";
import { Fault } from "../../log/index.ts";

/**
 * How long an answer is kept: MAX_TRANSMIT_SPAN + MAX_LATENCY of RFC 7252 §4.8.2, for the client of 6.2 sends its
 * last copy at most 60 s after the first, and 90 s are for the way. In milliseconds.
 */
export const ANSWER_MS = 150_000;
/** A caller that has not asked for so long has gone: it asks at least every 22.5 s, even if some is lost. */
const GONE_MS = 90_000;

export interface Entry {
  readonly key: string;
  readonly fingerprint: bigint;
  readonly sender: string;
  /** Ends the call when its caller has gone; there while it runs. */
  gone: AbortController | undefined;
  /** Where its client was heard of last. */
  address: string;
  port: number;
  heardAt: number;
  /** Undefined while the call runs; empty when there was no room for it. */
  answer: Uint8Array<ArrayBuffer> | undefined;
  expiresAt: number;
}

export class Answers {
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #running = new Map<string, Entry>();
  /** In the order in which they expire. */
  readonly #answered = new Map<string, Entry>();
  readonly #bySender = new Map<string, number>();
  #bytes = 0;

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get size(): number {
    return this.#running.size + this.#answered.size;
  }

  /** Bytes of answers that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  find(key: string): Entry | undefined {
    const running = this.#running.get(key);
    if (running) return running;
    const entry = this.#answered.get(key);
    return entry && entry.expiresAt > this.#now() ? entry : undefined;
  }

  /** A question that is about to run. @throws Fault `resource_exhausted` */
  open(key: string, fingerprint: bigint, address: string, port: number): Entry {
    this.#expire();
    const { datagramRecords, datagramRecordsPerAddress } = this.#limits;
    if (this.size >= datagramRecords) throw full("datagramRecords", datagramRecords, "in all", this.#soonestMs());
    const sender = senderOf(address);
    const count = this.#bySender.get(sender) ?? 0;
    if (count >= datagramRecordsPerAddress) {
      throw full("datagramRecordsPerAddress", datagramRecordsPerAddress, "for one address", this.#soonestMs());
    }
    this.#bySender.set(sender, count + 1);
    const gone = new AbortController();
    const heardAt = this.#now();
    const entry: Entry = { key, fingerprint, sender, gone, address, port, heardAt, answer: undefined, expiresAt: 0 };
    this.#running.set(key, entry);
    return entry;
  }

  answered(entry: Entry, answer: Uint8Array<ArrayBuffer>): void {
    this.#running.delete(entry.key);
    entry.gone = undefined;
    const isKept = this.#bytes + answer.length <= this.#limits.datagramRecordBytes;
    entry.answer = isKept ? answer : NOTHING;
    this.#bytes += entry.answer.length;
    entry.expiresAt = this.#now() + ANSWER_MS;
    this.#answered.set(entry.key, entry);
  }

  /** Now and then: what has expired is removed, and callers that are silent have gone. */
  sweep(): void {
    this.#expire();
    const silentAt = this.#now() - GONE_MS;
    for (const { heardAt, gone } of this.#running.values()) if (heardAt < silentAt) gone?.abort();
  }

  #expire(): void {
    const now = this.#now();
    for (const entry of this.#answered.values()) {
      if (entry.expiresAt > now) return;
      this.#answered.delete(entry.key);
      this.#bytes -= entry.answer!.length;
      const left = this.#bySender.get(entry.sender)! - 1;
      if (left === 0) this.#bySender.delete(entry.sender);
      else this.#bySender.set(entry.sender, left);
    }
  }

  #soonestMs(): number {
    const [first] = this.#answered.values();
    return first ? Math.max(1000, first.expiresAt - this.#now()) : 1000;
  }
}

const NOTHING = new Uint8Array(0);

function full(limit: string, most: number, where: string, retryAfterMs: number): Fault {
  return new Fault("resource_exhausted", `${most} questions are remembered already ${where}`, {
    limit,
    retryAfterMs: Math.ceil(retryAfterMs),
    hint: `use another transport, wait, or raise the limit ${limit} of the server`,
  });
}
