/** What can be read and written by Durable Streams: a topic of the contract, or a stream that a client has made. */
import type { Mode } from "./content.ts";
import type { Expiry } from "./request.ts";
import type { Producer } from "./writers.ts";

/** Some of a stream: the events' own JSON, in order. */
export interface Chunk {
  readonly items: readonly string[];
  /** After them. */
  readonly next: string;
  /** There is no more now. */
  readonly upToDate: boolean;
  /** There is no more, and never will be. */
  readonly closed: boolean;
}

/** What a request wants to append. */
export interface Append {
  /** Undefined for a request that only closes. */
  readonly body: Uint8Array | undefined;
  readonly producer: Producer | undefined;
  readonly seq: string | undefined;
  readonly close: boolean;
}

export interface Appended {
  readonly next: string;
  readonly closed: boolean;
  /** The producer's number had been there: nothing was appended. */
  readonly duplicate: boolean;
  /** The greatest number of the producer. */
  readonly producerSeq?: number;
}

export interface Head {
  readonly next: string;
  readonly closed: boolean;
  readonly expiry: Expiry;
}

export interface Source {
  /** As it was given when the stream was made. */
  readonly contentType: string;
  readonly mode: Mode;
  /** Events are `[m, m]`, so many messages each, instead of one message each. */
  readonly isBatched: boolean;
  /** What the answers' ETags begin with. */
  readonly tag: string;
  head(): Promise<Head>;
  /**
   * From an offset, `-1` or `now`: at once what there is, in chunks of at most `bytes` (one event is always
   * given); with `follow` more as it comes. The first chunk comes at once, also an empty one.
   * @throws Refusal 410 for what is no longer kept, 400 for an offset of no stream
   */
  read(offset: string, options: Reading): AsyncIterable<Chunk>;
  append(append: Append): Promise<Appended>;
}

export interface Reading {
  readonly follow: boolean;
  readonly signal: AbortSignal | undefined;
  readonly bytes: number;
}

/** One after the other: what is checked must still hold when it is written. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  get isIdle(): boolean {
    return this.#waiting === 0;
  }

  take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const done = () => {
      this.#waiting--;
    };
    const mine = this.#last.then(work);
    this.#last = mine.then(done, done);
    return mine;
  }
}
