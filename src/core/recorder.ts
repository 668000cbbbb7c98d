/**
 * Writes what a handler says into its log, in order. While one append is on its way to the disk the next
 * events gather, so that a fast handler is written in batches; a handler that is faster than the disk waits.
 */
import { type Draft, type EventKind, Fault, type Store, toFault } from "../log/index.ts";
import type { Unwritten } from "./unwritten.ts";
import { utf8Bytes } from "./util.ts";

export interface RecorderOptions {
  readonly store: Store;
  readonly log: string;
  /** Bytes that the log has already, and the most that it may have. */
  readonly bytes: number;
  readonly maxBytes: number;
  /** Room for what waits to be written: of all calls, and how much of it is this one's. */
  readonly unwritten: Unwritten;
  readonly unwrittenBytes: number;
  /** The log has its end from somebody else, or cannot be written: the handler is to stop. */
  readonly onClosed: (fault: Fault) => void;
  readonly onAppended: (events: number, bytes: number) => void;
}

/** Events that may wait to be written before the handler has to. */
const WINDOW = 256;
/** Made once: every call ends, and the stack of an error costs more than the rest of its end. */
const ENDED = new Fault("cancelled", "the call has ended");

export class Recorder {
  readonly #options: RecorderOptions;
  #queue: Draft[] = [];
  /** Bytes that wait: those of the queue, and with those on their way to the disk. */
  #queued = 0;
  #unwritten = 0;
  #flushing: Promise<void> | undefined;
  #bytes: number;
  #closed: Fault | undefined;
  #lost: Fault | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#bytes = options.bytes;
  }

  /** Adds an event. Returns nothing while there is room to wait, else a promise of room. @throws Fault when the log is closed or full */
  push(kind: EventKind, json: string): Promise<void> | undefined {
    if (this.#closed) throw this.#closed;
    const { maxBytes, unwritten } = this.#options;
    const last = this.#queue.at(-1);
    // Progress that nobody has had the time to write is overtaken by newer progress.
    const overtaken = kind === "progress" && last?.kind === "progress" && this.#isBehind() ? last : undefined;
    const bytes = utf8Bytes(json) - (overtaken ? utf8Bytes(overtaken.json) : 0);
    if (this.#bytes + bytes > maxBytes) {
      throw new Fault("resource_exhausted", `the log of the call has more than ${maxBytes} bytes`, {
        limit: "callBytes",
        retryable: false,
        hint: "say less in one call, or raise the limit callBytes of the server",
      });
    }
    this.#bytes += bytes;
    if (overtaken) this.#queue.pop();
    if (kind !== "progress") {
      const room = unwritten.take(bytes);
      if (room) return room.then(() => this.#add({ kind, json }, bytes));
    } else unwritten.add(bytes);
    return this.#add({ kind, json }, bytes);
  }

  /** Resolves when all that was pushed is stored, or with the fault for which some of it is not. */
  async settled(): Promise<Fault | undefined> {
    while (this.#flushing) await this.#flushing;
    return this.#lost;
  }

  /** Writes the end after all the rest. False when the log had one already. @throws Fault of the store; may be tried again */
  async end(draft: Draft): Promise<boolean> {
    while (this.#flushing) await this.#flushing;
    const { store, log, onAppended } = this.#options;
    this.#closed ??= ENDED;
    const { outcome } = await store.append(log, [draft]);
    if (outcome === "appended") onAppended(1, utf8Bytes(draft.json));
    return outcome === "appended";
  }

  #isBehind(): boolean {
    const { unwritten, unwrittenBytes } = this.#options;
    return this.#queue.length > WINDOW || this.#unwritten >= unwrittenBytes || unwritten.isFull;
  }

  /** Of an event for which there is room already. */
  #add(draft: Draft, bytes: number): Promise<void> | undefined {
    if (this.#closed) {
      this.#options.unwritten.give(bytes);
      throw this.#closed;
    }
    this.#queue.push(draft);
    this.#queued += bytes;
    this.#unwritten += bytes;
    this.#flushing ??= this.#flush();
    if (draft.kind === "progress") return undefined;
    const hasRoom = this.#queue.length < WINDOW && this.#unwritten < this.#options.unwrittenBytes;
    return hasRoom ? undefined : this.#flushing;
  }

  async #flush(): Promise<void> {
    // One turn later, so that what is said in this turn is one append.
    await Promise.resolve();
    const { store, log, onAppended, onClosed, unwritten } = this.#options;
    try {
      while (this.#queue.length > 0) {
        const drafts = this.#queue;
        const bytes = this.#queued;
        this.#queue = [];
        this.#queued = 0;
        const { outcome } = await store.append(log, drafts);
        if (outcome === "ended") throw new Fault("cancelled", "the call has ended");
        this.#unwritten -= bytes;
        unwritten.give(bytes);
        onAppended(drafts.length, bytes);
      }
    } catch (thrown) {
      this.#lost = toFault(thrown);
      this.#closed = this.#lost;
      this.#queue = [];
      unwritten.give(this.#unwritten);
      onClosed(this.#lost);
    } finally {
      this.#flushing = undefined;
    }
  }
}
