/**
 * Writes what a handler says into its log, in order. While one append is on its way to the disk the next
 * events gather, so that a fast handler is written in batches; a handler that is faster than the disk waits.
 */
import { type Draft, type EventKind, Fault, type Store, toFault } from "../log/index.ts";
import { utf8Bytes } from "./util.ts";

export interface RecorderOptions {
  readonly store: Store;
  readonly log: string;
  /** Bytes that the log has already, and the most that it may have. */
  readonly bytes: number;
  readonly maxBytes: number;
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
    const { maxBytes } = this.#options;
    const last = this.#queue.length - 1;
    // Progress that nobody has had the time to write is overtaken by newer progress.
    const overtaken = kind === "progress" && last >= WINDOW ? this.#queue[last] : undefined;
    const isOvertaken = overtaken?.kind === "progress";
    const bytes = this.#bytes + utf8Bytes(json) - (isOvertaken ? utf8Bytes(overtaken.json) : 0);
    if (bytes > maxBytes) {
      throw new Fault("resource_exhausted", `the log of the call has more than ${maxBytes} bytes`, {
        limit: "callBytes",
        retryable: false,
        hint: "say less in one call, or raise the limit callBytes of the server",
      });
    }
    this.#bytes = bytes;
    if (isOvertaken) this.#queue[last] = { kind, json };
    else this.#queue.push({ kind, json });
    this.#flushing ??= this.#flush();
    return this.#queue.length >= WINDOW && kind !== "progress" ? this.#flushing : undefined;
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
        for (const draft of drafts) bytes += utf8Bytes(draft.json);
        onAppended(drafts.length, bytes);
      }
    } catch (thrown) {
      this.#lost = toFault(thrown);
      this.#closed = this.#lost;
      this.#queue = [];
      onClosed(this.#lost);
    } finally {
      this.#flushing = undefined;
    }
  }
}
