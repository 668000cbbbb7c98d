/** A call or topic in use over the client's connection: to be made, being made, or known by its id. */
import type { AppendedItems, AppendItems, Call, CallState, Exchange, TopicState, Wait } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import type { Cursor, Page, ReadAt } from "../log/index.ts";
import type { FramesPeerOptions } from "./client.ts";
import type { Line } from "./client-line.ts";
import { type Handler, listen, type Message, type Opening } from "./client-message.ts";
import { readPages } from "./client-reading.ts";

/** Most events of one page, as in the log's own interface; not imported, for it would bring the cursors along. */
const PAGE_EVENTS = 300;

export class FramesExchange implements Exchange {
  id: string | undefined;
  replayed = false;
  /** Whether the call has still to be made, or is being made. */
  isNew: boolean;
  readonly #line: () => Line;
  readonly #options: FramesPeerOptions;
  readonly #call: Call;
  readonly #isTopic: boolean;
  /** While the call is being made: whoever else needs its id waits. */
  #made: Promise<unknown> | undefined;
  /** Ends the wait for the result of a call that has no id. */
  #stop: (() => void) | undefined;

  constructor(line: () => Line, options: FramesPeerOptions, call: Call) {
    this.#line = line;
    this.#options = options;
    this.#call = call;
    const { to } = call;
    const slash = to.indexOf("/") + 1;
    const kind = to.slice(0, slash);
    this.#isTopic = kind === "topics/";
    this.isNew = !this.#isTopic && kind !== "calls/";
    this.id = this.isNew ? undefined : to.slice(slash);
  }

  /** Makes the call for its id. With a credit of nothing it is recorded, and no result comes that nobody has asked for yet. */
  async open(signal?: AbortSignal): Promise<this> {
    if (this.isNew) await (this.#made ?? this.#ask({ ...this.#opening(), credit: 0 }, signal, true));
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    this.#onlyCalls("has no result");
    const message = this.isNew && !this.#made ? this.#opening() : (await this.open(signal)).#own("attach");
    return (await this.#ask(message, signal)).data;
  }

  async *read({ from, follow, signal, pageEvents = PAGE_EVENTS }: ReadAt): AsyncGenerator<Page, undefined> {
    if (signal?.aborted) return;
    const isMaking = this.isNew && !this.#made && from === "start" && follow;
    if (!isMaking) await this.open(signal);
    const message = isMaking ? this.#opening() : { ...this.#own(this.#isTopic ? "subscribe" : "attach"), after: from };
    const line = this.#line();
    return yield* readPages(
      line,
      (opening, handler) => this.#begin(line, opening, handler),
      message,
      follow,
      follow ? (this.#options.window ?? 128) : pageEvents,
      signal,
      this.#call.signal,
    );
  }

  async state({ after, waitMs, signal }: Wait = {}): Promise<CallState | TopicState> {
    await this.open(signal);
    return (await this.#ask({ ...this.#own("state"), after, waitMs }, signal)).data as CallState;
  }

  async append({ items, seq, end, key }: AppendItems): Promise<AppendedItems> {
    await this.open();
    if (!this.#isTopic) {
      const { next, cursor } = await this.#ask({ ...this.#own("items"), items, seq, end });
      return { next, cursor, duplicate: false };
    }
    if (items.length !== 1) throw new Fault("invalid_argument", "here events are published one by one");
    const { data } = await this.#ask({ ...this.#own("publish"), event: items[0], key });
    return { next: 0, ...(data as { cursor: Cursor; duplicate: boolean }) };
  }

  async cancel(): Promise<void> {
    this.#onlyCalls("cannot be cancelled");
    if (this.id !== undefined) await this.#ask(this.#own("cancel"));
    else this.#stop?.();
  }

  #onlyCalls(what: string): void {
    if (this.#isTopic) throw new Fault("failed_precondition", `a topic ${what}`);
  }

  /** The message that makes the call. */
  #opening(): Opening {
    const { to, input, key, keep, deadline, trace } = this.#call;
    const timeoutMs = deadline === undefined ? undefined : Math.max(1, deadline - (this.#options.now ?? Date.now)());
    return { type: "call", method: to, input, key, keep, timeoutMs, ...trace };
  }

  /** A message about the call or topic that this is. */
  #own(type: string): Opening {
    if (this.id === undefined) {
      throw new Fault("failed_precondition", "this call is not recorded: there is nothing to come back to");
    }
    return { type, [this.#isTopic ? "topic" : "call"]: this.id };
  }

  #begin(line: Line, message: Opening, handler: Handler): number {
    let made: (() => void) | undefined;
    let failed: ((fault: Fault | undefined) => void) | undefined;
    if (this.isNew) {
      this.#made = new Promise<void>((resolve, reject) => {
        made = resolve;
        failed = reject;
      });
      this.#made.catch(() => {});
    }
    return line.begin(message, (answer, fault) => {
      if (answer) {
        this.isNew = false;
        if (answer.type === "opened") {
          this.id = answer.call;
          this.replayed = answer.replayed === true;
        }
      } else if (this.isNew) this.#made = undefined;
      handler(answer, fault);
      if (answer) made?.();
      else failed?.(fault);
    });
  }

  /** One message and its answer; with `onlyOpen` the id of the call is answer enough. */
  #ask(message: Opening, signal?: AbortSignal, onlyOpen = false): Promise<Message> {
    return new Promise((resolve, reject) => {
      const line = this.#line();
      const stop = (aborted?: AbortSignal): void => {
        release();
        const { key, keep } = this.#call;
        // A call that nobody can come back to is of no use any more.
        const isLost = this.id === undefined && key === undefined && !keep;
        line.leave(id, isLost ? "cancel" : "leave");
        const { reason } = aborted ?? {};
        reject(
          reason instanceof Fault ? reason : new Fault("cancelled", "the caller stopped waiting", { cause: reason }),
        );
      };
      const id = this.#begin(line, message, (answer, fault) => {
        if (answer?.type === "opened") {
          if (!onlyOpen) return;
          line.leave(id);
        }
        release();
        if (answer) resolve(answer);
        else reject(fault);
      });
      const release = listen(stop, signal, this.#call.signal);
      this.#stop = stop;
    });
  }
}
