/**
 * The body of a request as the protocol handlers get it. They take every chunk as it comes, and look at all of
 * those that they hold once for each new one, and they make room for a message as soon as its length was
 * announced. So a body of one-byte frames would cost the square of its length, and a length that lies as much
 * memory as it says. Here messages are put together first, in room that grows with what has arrived.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { PREFIX_BYTES } from "../shared.ts";
import type { Room } from "./room.ts";

export interface BodyOptions {
  /** Whether messages have a prefix: all but the unary ones of Connect. */
  readonly isEnveloped: boolean;
  /** Most bytes of a message. One that is longer is passed on as it comes: the handler refuses it by its prefix. */
  readonly maxBytes: number;
  /** Whether the body is one message: then all of it must arrive in time, else each message once it has begun. */
  readonly isOne: boolean;
  /** Within how many milliseconds. */
  readonly withinMs: number;
  /** Shared with the other streams of its connection. */
  readonly room?: Room | undefined;
}

export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #options: BodyOptions;
  #held = new Uint8Array(0);
  #length = 0;
  /** Runs while a message is awaited. */
  #late:
    | {
        readonly promise: Promise<never>;
        readonly timer: ReturnType<typeof setTimeout>;
        readonly startedAt: number;
      }
    | undefined;
  #leftMs: number;
  #isOver = false;
  #isLate = false;

  constructor(source: AsyncIterable<Uint8Array>, options: BodyOptions) {
    this.#source = source[Symbol.asyncIterator]();
    this.#options = options;
    this.#leftMs = options.withinMs;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Whether it did not arrive in time. */
  get isLate(): boolean {
    return this.#isLate;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    while (!this.#isOver) {
      const { done, value } = await this.#read().catch((thrown) => {
        this.close();
        throw thrown;
      });
      if (done) {
        this.close();
        // What is left is no whole message: the handler says so.
        if (this.#length > 0) return { done: false, value: this.#taken() };
        break;
      }
      const whole = this.#options.isEnveloped ? this.#put(value) : value;
      if (whole) return { done: false, value: whole };
    }
    return { done: true, value: undefined };
  }

  /** Nothing more is read, and nothing is held. */
  close(): void {
    this.#isOver = true;
    this.#stopClock();
    this.#options.room?.hold(this, 0);
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.close();
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  async throw(reason: unknown): Promise<IteratorResult<Uint8Array>> {
    this.close();
    await this.#source.throw?.(reason);
    return { done: true, value: undefined };
  }

  #read(): Promise<IteratorResult<Uint8Array>> {
    const turn = this.#length > 0 ? this.#options.room?.turn(this) : undefined;
    if (!turn) return this.#timed(this.#source.next());
    // It is not late by waiting for other streams.
    this.#stopClock();
    return turn.then(() => (this.#isOver ? { done: true, value: undefined } : this.#timed(this.#source.next())));
  }

  #timed(read: Promise<IteratorResult<Uint8Array>>): Promise<IteratorResult<Uint8Array>> {
    if (!this.#options.isOne && this.#length === 0) return read;
    if (!this.#late) {
      const startedAt = performance.now();
      const { promise, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => {
        this.#isLate = true;
        reject(tooSlow(this.#options.withinMs));
      }, this.#leftMs);
      this.#late = { promise, timer, startedAt };
    }
    return Promise.race([read, this.#late.promise]);
  }

  #stopClock(): void {
    if (!this.#late) return;
    clearTimeout(this.#late.timer);
    this.#leftMs -= performance.now() - this.#late.startedAt;
    this.#late = undefined;
  }

  /** Gives the whole messages among the bytes that have arrived, and holds what is left. */
  #put(chunk: Uint8Array): Uint8Array | undefined {
    if (this.#length === 0) return this.#split(chunk);
    this.#hold(chunk);
    if (this.#length < PREFIX_BYTES) return undefined;
    const length = lengthAt(this.#held, 0);
    if (length <= this.#options.maxBytes && this.#length < PREFIX_BYTES + length) return undefined;
    return this.#split(this.#taken());
  }

  #split(bytes: Uint8Array): Uint8Array | undefined {
    let end = 0;
    while (bytes.length - end >= PREFIX_BYTES) {
      const length = lengthAt(bytes, end);
      if (length > this.#options.maxBytes) return bytes;
      if (bytes.length - end < PREFIX_BYTES + length) break;
      end += PREFIX_BYTES + length;
    }
    if (end === bytes.length) return bytes;
    this.#hold(bytes.subarray(end));
    return end > 0 ? bytes.subarray(0, end) : undefined;
  }

  #hold(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#held.length) {
      const held = new Uint8Array(Math.max(length, 2 * this.#held.length));
      held.set(this.#held.subarray(0, this.#length));
      this.#held = held;
    }
    this.#held.set(chunk, this.#length);
    this.#length = length;
    this.#options.room?.hold(this, this.#held.length);
  }

  #taken(): Uint8Array {
    const bytes = this.#held.subarray(0, this.#length);
    this.#held = new Uint8Array(0);
    this.#length = 0;
    this.#options.room?.hold(this, 0);
    if (!this.#options.isOne) {
      this.#stopClock();
      this.#leftMs = this.#options.withinMs;
    }
    return bytes;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0;
}

function tooSlow(withinMs: number): ConnectError {
  return new ConnectError(`the message did not arrive within ${withinMs} ms (limit bodyMs)`, Code.DeadlineExceeded);
}
