/**
 * Writes what a handler says into its log, in order. While one append is on its way to the disk the next
 * events gather, so that a fast handler is written in batches; a handler that is faster than the disk waits.
 */
import { type Draft, type EventKind, Fault, type Store, toFault } from "../log/index.ts";

export interface RecorderOptions {
  readonly store: Store;
  readonly log: string;
  /** Most bytes of the log. */
  readonly maxBytes: number;
  /** The log has its end from somebody else, or cannot be written: the handler is to stop. */
  readonly onClosed: (fault: Fault) => void;
  readonly onAppended: (events: number, bytes: number) => void;
}

/** Events that may wait to be written before the handler has to. */
const WINDOW = 256;

export class Recorder {
  readonly #options: RecorderOptions;
  #queue: Draft[] = [];
  #flushing: Promise<void> | undefined;
  #bytes = 0;
  #closed: Fault | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Adds an event. Resolves at once while there is room to wait, else when there is again. @throws Fault when the log is closed */
  push(kind: EventKind, json: string): Promise<void> | undefined {
    if (this.#closed) throw this.#closed;
    this.#bytes += json.length;
    if (this.#bytes > this.#options.maxBytes) {
      throw new Fault("resource_exhausted", `the log of the call has more than ${this.#options.maxBytes} bytes`, {
        limit: "callBytes",
        retryable: false,
        hint: "say less in one call, or raise the limit callBytes of the server",
      });
    }
    const last = this.#queue.length - 1;
    // Progress that nobody has had the time to write is overtaken by newer progress.
    if (kind === "progress" && last >= WINDOW && this.#queue[last]!.kind === "progress")
      this.#queue[last] = { kind, json };
    else this.#queue.push({ kind, json });
    this.#flushing ??= this.#flush();
    return this.#queue.length >= WINDOW && kind !== "progress" ? this.#flushing : undefined;
  }

  /** Resolves when all that was pushed is stored. @throws Fault */
  async flushed(): Promise<void> {
    while (this.#flushing) await this.#flushing;
    if (this.#closed) throw this.#closed;
  }

  /** Writes the end after all the rest. False when the log had one already. @throws Fault of the store; may be tried again */
  async end(draft: Draft): Promise<boolean> {
    while (this.#flushing) await this.#flushing;
    const { store, log, onAppended } = this.#options;
    this.#closed ??= new Fault("cancelled", "the call has ended");
    const { outcome } = await store.append(log, [draft]);
    if (outcome === "appended") onAppended(1, draft.json.length);
    return outcome === "appended";
  }

  async #flush(): Promise<void> {
    // One turn later, so that what is said in this turn is one append.
    await Promise.resolve();
    const { store, log, onAppended, onClosed } = this.#options;
    try {
      while (this.#queue.length > 0) {
        const drafts = this.#queue;
        this.#queue = [];
        const { outcome } = await store.append(log, drafts);
        if (outcome === "ended") throw new Fault("cancelled", "the call has ended");
        let bytes = 0;
        for (const draft of drafts) bytes += draft.json.length;
        onAppended(drafts.length, bytes);
      }
    } catch (thrown) {
      this.#closed = toFault(thrown);
      this.#queue = [];
      onClosed(this.#closed);
    } finally {
      this.#flushing = undefined;
    }
  }
}
