/** An upload as the process that serves it knows it, and whose turn it is. */
import type { Fault } from "../log/index.ts";
import { takenOver } from "./faults.ts";
import type { UploadRecord } from "./record.ts";

export class Entry {
  record: UploadRecord;
  /** Bytes that are kept: what a client is told. */
  offset = 0;
  /** What the quota counts for it. */
  reserved = 0;
  /** Of all bytes up to `offset`; undefined when that is not known, and they have to be read again. */
  hash: Bun.CryptoHasher | undefined = new Bun.CryptoHasher("sha256");
  /** Handlers that read it. */
  readers = 0;
  /** Its call has ended: it goes when nobody reads it. */
  isOver = false;
  isRemoved = false;
  /** Requests that are making its call. */
  finishing = 0;
  #turn: Promise<void> = Promise.resolve();
  readonly #claims = new Set<AbortController>();
  #saved: Promise<unknown> = Promise.resolve();

  constructor(record: UploadRecord) {
    this.record = record;
  }

  get isComplete(): boolean {
    return this.record.completedAt !== undefined;
  }

  /** Of tus: all bytes are there, and it is no part of a whole. */
  get isFull(): boolean {
    const { isTus, concat, length } = this.record;
    return isTus === true && concat !== "partial" && this.offset === length;
  }

  get size(): number {
    return this.record.spent ?? this.offset;
  }

  /**
   * Ends what is under way with this upload, and holds it alone. Whoever comes later ends this one in turn: a
   * client that asks again has given up what it sent before, though its connection may look alive from here.
   * @param why is told to those whose request ends
   */
  async claim(why: Fault = takenOver()): Promise<Claim> {
    const abort = new AbortController();
    this.interrupt(why);
    this.#claims.add(abort);
    const before = this.#turn;
    let free = () => {};
    this.#turn = new Promise((resolve) => {
      free = resolve;
    });
    await before;
    return {
      signal: abort.signal,
      release: () => {
        this.#claims.delete(abort);
        free();
      },
    };
  }

  /** Whether a request has it. */
  get isClaimed(): boolean {
    return this.#claims.size > 0;
  }

  /** Ends what is under way, without waiting. */
  interrupt(why: Fault = takenOver()): void {
    for (const claim of this.#claims) claim.abort(why);
  }

  /** One write of its record after the other. */
  inOrder<T>(write: () => Promise<T>): Promise<T> {
    const written = this.#saved.then(write, write);
    this.#saved = written.catch(() => {});
    return written;
  }
}

export interface Claim {
  /** Aborts when another request comes, with the fault that says so. */
  readonly signal: AbortSignal;
  release(): void;
}
