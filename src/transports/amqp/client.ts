/**
 * The client half of AMQP (PROTOCOL.md §8.3): a peer over a broker. Requests go to the queues of calls, and any
 * server that takes from them answers to this client's own queue. It connects when it is used. When the
 * connection breaks, everything that waits fails with `unavailable`: the one who reads comes back from the cursor.
 */
import type {
  AppendedItems,
  AppendItems,
  Call,
  CallState,
  Exchange,
  Peer,
  TopicState,
  Wait,
} from "../../contract/peer.ts";
import { type Cursor, Fault, type Page, type ReadAt } from "../../log/index.ts";
import { type AmqpPeerOptions, type Answer, ClientLine, type Opening, toPage } from "./client-line.ts";

export type { AmqpPeerOptions } from "./client-line.ts";

export interface AmqpPeer extends Peer {
  close(): Promise<void>;
}

export function amqpPeer(options: AmqpPeerOptions): AmqpPeer {
  const line = new ClientLine(options);
  const peer: Peer = (call) => {
    const exchange = new AmqpExchange(line, options, call);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
  return Object.assign(peer, { close: () => line.close() });
}

/** Most events of one page, as in the log's own interface. */
const PAGE_EVENTS = 300;
/** Items in one message: what every server takes. */
const ITEMS = 64;

class AmqpExchange implements Exchange {
  id: string | undefined;
  replayed = false;
  /** Whether the call has still to be made. */
  isNew: boolean;
  readonly #line: ClientLine;
  readonly #options: AmqpPeerOptions;
  readonly #call: Call;
  readonly #isTopic: boolean;
  /** While the call is being made: whoever else needs its id waits. */
  #made: Promise<unknown> | undefined;
  /** Ends the wait for the result of a call that has no id. */
  #stop: (() => void) | undefined;

  constructor(line: ClientLine, options: AmqpPeerOptions, call: Call) {
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

  /** Makes the call without waiting for more than its id. */
  async open(signal?: AbortSignal): Promise<this> {
    if (this.isNew) {
      this.#made ??= this.#ask({ ...this.#opening(), keep: true }, signal).finally(() => {
        this.#made = undefined;
      });
      await this.#made;
    }
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    this.#onlyCalls("has no result");
    const isMaking = this.isNew && !this.#made && !this.#call.keep;
    const message = isMaking ? this.#opening() : (await this.open(signal)).#own("attach");
    return (await this.#ask(message, signal)).data;
  }

  async *read({ from, follow, signal, pageEvents = PAGE_EVENTS }: ReadAt): AsyncGenerator<Page, undefined> {
    await this.open(signal);
    const { window = 256 } = this.#options;
    const stop = AbortSignal.any([signal, this.#call.signal].filter((each) => each !== undefined));
    const type = this.#isTopic ? "subscribe" : "attach";
    let after: string = from;
    let isJudged = false;
    while (!stop.aborted) {
      const message = { ...this.#own(type), after, credit: follow ? window : pageEvents, ...(!follow && { follow }) };
      const reading = new Reading(this.#line, message, stop);
      let done: Answer | undefined;
      try {
        for await (const answer of reading) {
          if (answer.type === "done") done = answer;
          else if (answer.type === "events") {
            const page = toPage(answer, after);
            if (page.verdict?.verdict === "recovered" && isJudged) delete (page as { verdict?: unknown }).verdict;
            const isTold = page.verdict !== undefined;
            isJudged ||= isTold;
            after = page.cursor;
            if (!follow) {
              // Of one page all is known only when it is over.
              const { ended = false, more = false } = await reading.rest();
              yield { ...page, ended, more };
              return;
            }
            if (page.events.length > 0 || isTold) yield page;
            if (page.ended) return;
          }
        }
      } finally {
        reading.leave();
      }
      if (done?.cursor !== undefined) after = done.cursor;
      if (done?.ended) {
        // The log had ended before its place.
        yield { events: [], cursor: after as Cursor, more: false, ended: true };
        return;
      }
    }
  }

  async state({ after, waitMs, signal }: Wait = {}): Promise<CallState | TopicState> {
    await this.open(signal);
    return (await this.#ask({ ...this.#own("state"), after, waitMs }, signal)).data as CallState;
  }

  async append({ items, seq, end, key }: AppendItems): Promise<AppendedItems> {
    await this.open();
    if (this.#isTopic) {
      if (items.length !== 1) throw new Fault("invalid_argument", "over AMQP events are published one by one");
      const { data } = await this.#ask({ ...this.#own("publish"), event: items[0], key });
      return { next: 0, ...(data as { cursor: Cursor; duplicate: boolean }) };
    }
    let first = 0;
    for (;;) {
      const part = items.slice(first, first + ITEMS);
      const isLast = first + part.length >= items.length;
      const { next, cursor } = await this.#ask({
        ...this.#own("items"),
        items: part,
        ...(seq !== undefined && { seq: seq + first }),
        ...(isLast && end !== undefined && { end }),
      });
      if (isLast) return { next, cursor, duplicate: false };
      first += part.length;
    }
  }

  async cancel(): Promise<void> {
    this.#onlyCalls("cannot be cancelled");
    if (this.id !== undefined) await this.#ask(this.#own("cancel"));
    else this.#stop?.();
  }

  #onlyCalls(what: string): void {
    if (this.#isTopic) throw new Fault("failed_precondition", `a topic ${what}`);
  }

  #opening(): Opening {
    const { to, input, key, keep, deadline, trace } = this.#call;
    const timeoutMs = deadline === undefined ? undefined : Math.max(1, deadline - Date.now());
    return { type: "call", method: to, input, key, keep, timeoutMs, ...trace };
  }

  /** A message about the call or topic that this is. */
  #own(type: string): Opening {
    if (this.id === undefined) {
      throw new Fault("failed_precondition", "this call is not recorded: there is nothing to come back to");
    }
    return { type, [this.#isTopic ? "topic" : "call"]: this.id };
  }

  /** One message and its last answer. */
  #ask(message: Opening, signal?: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const isMaking = message.type === "call";
      const stop = (why?: AbortSignal): void => {
        release();
        asked.leave();
        const reason = why?.reason as unknown;
        reject(
          reason instanceof Fault ? reason : new Fault("cancelled", "the caller stopped waiting", { cause: reason }),
        );
      };
      const asked = this.#line.ask(message, (answer, fault) => {
        if (answer?.type === "opened") {
          this.isNew = false;
          this.id = answer.call;
          this.replayed = answer.replayed === true;
          // What is kept is answered by its id alone.
          if (!message["keep"]) return;
          asked.over();
        }
        release();
        if (answer) {
          if (isMaking) this.isNew = false;
          resolve(answer);
        } else reject(fault);
      });
      const release = listen(stop, signal, this.#call.signal);
      this.#stop = stop;
    });
  }
}

/** The answers to one request for events, as they come. */
class Reading implements AsyncIterable<Answer> {
  readonly #asked: ReturnType<ClientLine["ask"]>;
  readonly #answers: Answer[] = [];
  readonly #release: () => void;
  #fault: Fault | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;

  constructor(line: ClientLine, message: Opening, stop: AbortSignal) {
    this.#asked = line.ask(message, (answer, fault) => {
      if (answer) this.#answers.push(answer);
      if (!answer || answer.type === "done") this.#isOver = true;
      this.#fault = fault;
      this.#wake?.();
    });
    this.#release = listen(() => this.leave(), stop);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Answer> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer) yield answer;
      else if (this.#fault) throw this.#fault;
      else if (this.#isOver) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** What `done` says. */
  async rest(): Promise<Partial<Answer>> {
    for await (const answer of this) if (answer.type === "done") return answer;
    return {};
  }

  leave(): void {
    this.#release();
    if (!this.#isOver) this.#asked.leave();
    this.#isOver = true;
    this.#answers.length = 0;
    this.#wake?.();
  }
}

/** Calls when a signal aborts, or has; returns what takes the listeners away. */
function listen(stop: (signal: AbortSignal) => void, ...signals: readonly (AbortSignal | undefined)[]): () => void {
  const onAbort = ({ target }: Event): void => stop(target as AbortSignal);
  for (const signal of signals) signal?.addEventListener("abort", onAbort);
  const aborted = signals.find((signal) => signal?.aborted);
  if (aborted) queueMicrotask(() => stop(aborted));
  return () => {
    for (const signal of signals) signal?.removeEventListener("abort", onAbort);
  };
}
