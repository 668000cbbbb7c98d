/** A use of a server over RPC: every method of `Exchange` is one of backtalk.v1.Backtalk (PROTOCOL.md §4.4). */
import type { AppendedItems, AppendItems, Call, CallState, Exchange, TopicState, Wait } from "../../contract/peer.ts";
import { Fault } from "../../log/fault.ts";
import type { Cursor, LogEvent, Page, ReadAt, Verdict } from "../../log/index.ts";
import type { JsonMessage, PageMessage } from "./builtin.ts";
import type { Wire } from "./client-wire.ts";
import { fromJsonMessage } from "./json.ts";
import { META } from "./metadata-names.ts";
import { callOf, topicOf } from "./states.ts";

const OPEN_MS = 10_000;

export class RpcExchange implements Exchange {
  id: string | undefined;
  replayed = false;
  /** Whether the call has still to be made. */
  isNew: boolean;
  readonly #wire: Wire;
  readonly #call: Call;
  readonly #isTopic: boolean;
  /** While the call is being made: whoever else needs its id waits. */
  #made: Promise<void> | undefined;
  /** Ends the wait for the result of a call that has no id. */
  #stop: AbortController | undefined;

  constructor(wire: Wire, call: Call) {
    this.#wire = wire;
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
      this.#made ??= this.#open(signal).finally(() => {
        this.#made = undefined;
      });
      await this.#made;
    }
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    this.#onlyCalls("has no result");
    const signals = [signal, this.#call.signal];
    if (this.isNew && !this.#made) return this.#direct(signals);
    await this.open(signal);
    const { message } = await this.#wire.unary("Result", { call: this.#own(), text: true }, { signals });
    return fromJsonMessage(message.output, "output");
  }

  async *read({ from, follow, signal, pageEvents = 0 }: ReadAt): AsyncGenerator<Page, undefined> {
    if (signal?.aborted) return;
    await this.open(signal);
    const request = { log: this.#log(), after: from, follow, pageEvents, text: true };
    let isRead = false;
    try {
      for await (const message of this.#wire.read(request, [signal, this.#call.signal])) {
        // A sign of life.
        if (isRead && message.events.length === 0 && message.cursor === "") continue;
        isRead = true;
        const page = pageOf(message);
        yield page;
        if (page.ended || !follow) return;
      }
    } catch (thrown) {
      if (signal?.aborted || this.#call.signal?.aborted) return;
      throw thrown;
    }
    if (!signal?.aborted && !this.#call.signal?.aborted) {
      throw new Fault("unavailable", "the stream ended before its log");
    }
  }

  async state({ after, waitMs, signal }: Wait = {}): Promise<CallState | TopicState> {
    await this.open(signal);
    const request = {
      log: this.#log(),
      text: true,
      ...(after !== undefined && { after }),
      ...(waitMs !== undefined && { waitMs: BigInt(Math.ceil(waitMs)) }),
    };
    const { message } = await this.#wire.unary("State", request, { signals: [signal] });
    if (message.topic) return topicOf(message.topic);
    if (message.call) return callOf(message.call);
    throw new Fault("unknown", "the server sent a state that cannot be read");
  }

  async append({ items, seq, end, key }: AppendItems): Promise<AppendedItems> {
    await this.open();
    if (!this.#isTopic) {
      const request = {
        call: this.#own(),
        items: items.map(textOf),
        ...(seq !== undefined && { seq: seqOf(seq) }),
        ...(end && { end }),
      };
      const { message } = await this.#wire.unary("Append", request);
      return { next: Number(message.next), cursor: message.cursor as Cursor, duplicate: false };
    }
    if (items.length !== 1) throw new Fault("invalid_argument", "over RPC events are published one by one");
    const header = key === undefined ? {} : { [META.key]: quoted(key) };
    const { message } = await this.#wire.unary("Publish", { topic: this.#own(), event: textOf(items[0]) }, { header });
    return { next: 0, cursor: message.cursor as Cursor, duplicate: message.duplicate };
  }

  async cancel(): Promise<void> {
    this.#onlyCalls("cannot be cancelled");
    if (this.id !== undefined) await this.#wire.unary("Cancel", { call: this.id, text: true });
    else this.#stop?.abort();
  }

  async #open(signal: AbortSignal | undefined): Promise<void> {
    const { to, input, deadline } = this.#call;
    const request = {
      method: to,
      ...(input !== undefined && { input: textOf(input) }),
      ...(deadline !== undefined && { timeoutMs: BigInt(this.#timeoutMs(deadline)) }),
    };
    const { message } = await this.#wire.unary("Open", request, {
      header: this.#header(),
      signals: [signal, this.#call.signal],
      // It takes no longer than its storing: a call of any length has its id at once.
      silentMs: OPEN_MS,
    });
    this.id = message.call;
    this.replayed = message.replayed;
    this.isNew = false;
  }

  /** A unary call, and its answer. */
  async #direct(signals: readonly (AbortSignal | undefined)[]): Promise<unknown> {
    const { to, input, keep, deadline } = this.#call;
    this.#stop = new AbortController();
    const request = { method: to, text: true, ...(input !== undefined && { input: textOf(input) }) };
    const { message, header } = await this.#wire.unary("Call", request, {
      header: { ...this.#header(), ...(keep && { [META.keep]: "true" }) },
      signals: [...signals, this.#stop.signal],
      ...(deadline !== undefined && { timeoutMs: this.#timeoutMs(deadline) }),
    });
    this.#tell(header);
    return fromJsonMessage(message.output, "output");
  }

  #tell(header: Headers): void {
    const id = header.get(META.call);
    if (id === null) return;
    this.id = id;
    this.isNew = false;
    this.replayed = header.get(META.replayed) === "true";
  }

  #header(): Record<string, string> {
    const { key, trace } = this.#call;
    return {
      ...(key !== undefined && { [META.key]: quoted(key) }),
      ...(trace && { traceparent: trace.traceparent }),
      ...(trace?.tracestate !== undefined && { tracestate: trace.tracestate }),
    };
  }

  #timeoutMs(deadline: number): number {
    return Math.max(1, Math.ceil(deadline - this.#wire.now()));
  }

  #onlyCalls(what: string): void {
    if (this.#isTopic) throw new Fault("failed_precondition", `a topic ${what}`);
  }

  #own(): string {
    if (this.id !== undefined) return this.id;
    throw new Fault("failed_precondition", "this call is not recorded: there is nothing to come back to");
  }

  #log(): string {
    return `${this.#isTopic ? "topics" : "calls"}/${this.#own()}`;
  }
}

function textOf(value: unknown): JsonMessage {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new Fault("invalid_argument", "the input cannot be written as JSON", { cause });
  }
  return text === undefined ? {} : { text };
}

function seqOf(seq: number): bigint {
  if (Number.isSafeInteger(seq)) return BigInt(seq);
  throw new Fault("invalid_argument", "the number of an item is a whole number from 0");
}

/** As a string of structured fields (RFC 9651 §3.3.3), which takes what a bare key cannot have. */
function quoted(key: string): string {
  if (/^[ -~]*$/.test(key)) return `"${key.replace(/["\\]/g, "\\$&")}"`;
  throw new Fault("invalid_argument", "over RPC an idempotency key is visible ASCII");
}

function pageOf({ verdict, events, cursor, more, ended }: PageMessage): Page {
  return {
    ...(verdict && {
      verdict: {
        verdict: verdict.verdict as Verdict["verdict"],
        from: verdict.from as Verdict["from"],
        to: verdict.to as Cursor,
        ...(verdict.state && { state: jsonOf(verdict.state) }),
      },
    }),
    events: events.map((event) => ({
      cursor: event.cursor as Cursor,
      kind: event.kind as LogEvent["kind"],
      json: jsonOf(event.data),
      at: Number(event.at),
    })),
    cursor: cursor as Cursor,
    more,
    ended,
  };
}

function jsonOf(message: JsonMessage | undefined): string {
  return message?.text ?? JSON.stringify(fromJsonMessage(message, "data") ?? null);
}
