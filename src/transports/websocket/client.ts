/**
 * The client half of WebSocket (PROTOCOL.md §3): a peer over one socket, for browsers, Node, Deno and Bun. It
 * connects when it is used. When the socket breaks, everything that waits fails with `unavailable`, and the
 * next use connects anew: it repeats nothing by itself, the one who reads comes back from the cursor.
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
import { Fault, faultFromJson } from "../../log/fault.ts";
import type { Cursor, LogEvent, Page, ReadAt, Verdict } from "../../log/index.ts";

export interface WebSocketPeerOptions {
  /** Where the server is, as for HTTP: `https://example.com`; `/ws` is put after it. */
  readonly url: string;
  /** Sent as `auth`. A function is asked at each connect, and with `true` before the credential expires. */
  readonly token?: string | ((renew?: boolean) => string | Promise<string>);
  /** The constructor, where the platform has none. */
  readonly WebSocket?: typeof WebSocket;
  /** Events that may be on their way for one reading (default 128). */
  readonly window?: number;
  /** Silence after which the socket counts as broken, in milliseconds (default 45,000). */
  readonly silenceMs?: number;
  readonly now?: () => number;
  readonly onOpen?: () => void;
  /** It broke, was closed, or could not be opened. */
  readonly onClose?: (fault: Fault) => void;
  readonly trace?: (direction: "*" | ">" | "<", text: string) => void;
}

export interface WebSocketPeer extends Peer {
  readonly state: "idle" | "connecting" | "open";
  close(): void;
}

/** What the server says to an exchange, loosely: it is checked where it is used. */
interface Message {
  readonly type: string;
  readonly id?: number;
  readonly call: string;
  readonly replayed?: boolean;
  readonly data?: unknown;
  readonly fault?: unknown;
  readonly events: readonly { cursor: Cursor; kind: LogEvent["kind"]; at: number; data?: unknown }[];
  readonly cursor: Cursor;
  readonly ended?: boolean;
  readonly more?: boolean;
  readonly verdict?: Omit<Verdict, "state"> & { readonly state?: unknown };
  readonly next: number;
  readonly limits: { readonly bodyBytes: number };
  readonly expiresAt?: number;
  readonly retryAfterMs?: number;
  readonly reason?: string;
}

/** A message that begins an exchange, without its id. */
interface Opening {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** Most events of one page, as in the log's own interface; not imported, for it would bring the cursors along. */
const PAGE_EVENTS = 300;

/** Takes what comes for one exchange; `fault` ends it. */
type Handler = (message: Message | undefined, fault?: Fault) => void;

export function websocketPeer(options: WebSocketPeerOptions): WebSocketPeer {
  let line: Line | undefined;
  const lineNow = (): Line => {
    if (!line) {
      const made: Line = new Line(options, (fault) => {
        if (line === made) line = undefined;
        options.onClose?.(fault);
      });
      line = made;
    }
    return line;
  };
  const peer: Peer = (call) => {
    const exchange = new WebSocketExchange(lineNow, options, call);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
  const close = (): void => line?.drop(new Fault("cancelled", "the client was closed"), 1000);
  const state = { get: () => (line ? (line.isOpen ? "open" : "connecting") : "idle") };
  return Object.defineProperty(Object.assign(peer, { close, state: "idle" as const }), "state", state);
}

/** One socket, from dialling to its end. */
class Line {
  isOpen = false;
  readonly #options: WebSocketPeerOptions;
  readonly #ws: WebSocket;
  readonly #onDrop: (fault: Fault) => void;
  readonly #handlers = new Map<number, Handler>();
  /** What waits for the socket: the text, and the exchange that it begins. */
  readonly #queue: (readonly [text: string, id: number | undefined])[] = [];
  readonly #watch: ReturnType<typeof setInterval>;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #expiresAt = 0;
  #isKnown = false;
  #bodyBytes = Number.POSITIVE_INFINITY;
  #isOver = false;
  #silence = 0;
  #nextId = 0;
  /** Why the server said that it ends the socket. */
  #last: Fault | undefined;

  constructor(options: WebSocketPeerOptions, onDrop: (fault: Fault) => void) {
    this.#options = options;
    this.#onDrop = onDrop;
    const address = `${options.url.replace(/^http/, "ws").replace(/\/+$/, "")}/ws`;
    options.trace?.("*", `connect ${address}`);
    const ws = new (options.WebSocket ?? WebSocket)(address, "backtalk.v1");
    this.#ws = ws;
    ws.onmessage = ({ data }) => this.#received(data as string);
    ws.onclose = ({ code, reason }) => this.drop(this.#faultOf(code, reason));
    // A close event comes after it in any case, and says as much.
    ws.onerror = () => {};
    // Three turns without a message; the first is the time to connect.
    this.#watch = setInterval(
      () => {
        if (++this.#silence > 2 || !this.isOpen) this.drop(this.#broken("the server fell silent"));
      },
      (options.silenceMs ?? 45_000) / 3,
    );
  }

  /** Begins an exchange. */
  begin(message: Opening, handler: Handler): number {
    const id = this.#nextId++;
    this.#handlers.set(id, handler);
    const { type, ...rest } = message;
    // In this order: then a server can answer even what it cannot read.
    this.send({ type, id, ...rest }, id);
    return id;
  }

  /** With `begins` the exchange that fails when the message cannot be sent. */
  send(message: object, begins?: number): void {
    const text = JSON.stringify(message);
    if (this.isOpen) this.#write(text, begins);
    else this.#queue.push([text, begins]);
  }

  /** Nothing more is heard of it. */
  leave(id: number, type: "leave" | "cancel" = "leave"): void {
    if (this.#handlers.delete(id) && !this.#isOver) this.send({ type, id });
  }

  drop(fault: Fault, code = 4000): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isOpen = false;
    clearInterval(this.#watch);
    clearTimeout(this.#renewal);
    this.#options.trace?.("*", `closed: ${fault.message}`);
    this.#ws.close(code);
    // First, so that whoever tries again at once gets a new socket.
    this.#onDrop(fault);
    const handlers = [...this.#handlers.values()];
    this.#handlers.clear();
    for (const handler of handlers) handler(undefined, fault);
  }

  async #auth(token: NonNullable<WebSocketPeerOptions["token"]>, renew: boolean): Promise<void> {
    try {
      const text = JSON.stringify({ type: "auth", token: typeof token === "string" ? token : await token(renew) });
      if (this.#isOver) return;
      this.#options.trace?.(">", '{"type":"auth",...}');
      this.#ws.send(text);
      if (!renew) this.#opened();
    } catch (thrown) {
      if (!renew) this.drop(thrown instanceof Fault ? thrown : this.#broken("no token could be had", thrown));
    }
  }

  #opened(): void {
    this.isOpen = true;
    this.#options.onOpen?.();
    for (const [text, begins] of this.#queue.splice(0)) this.#write(text, begins);
  }

  #write(text: string, begins: number | undefined): void {
    // A character is one to three bytes of UTF-8.
    if (begins !== undefined && text.length * 3 > this.#bodyBytes && new Blob([text]).size > this.#bodyBytes) {
      const handler = this.#handlers.get(begins);
      this.#handlers.delete(begins);
      queueMicrotask(() => handler?.(undefined, tooLarge()));
      return;
    }
    this.#options.trace?.(">", text);
    this.#ws.send(text);
  }

  #received(text: string): void {
    this.#options.trace?.("<", text);
    this.#silence = 0;
    const message = JSON.parse(text) as Message;
    const { type, id, retryAfterMs, reason, expiresAt } = message;
    const handler = id !== undefined && this.#handlers.get(id);
    if (handler) {
      if (type === "result" || type === "fault" || type === "done") this.#handlers.delete(id);
      if (type === "fault") handler(undefined, faultFromJson(message.fault));
      else handler(message);
    } else if (type === "ping") this.send({ type: "pong" });
    else if (type === "welcome") {
      this.#bodyBytes = message.limits.bodyBytes;
      const { token } = this.#options;
      if (token === undefined) this.#opened();
      else this.#auth(token, false);
    } else if (type === "auth") {
      this.#isKnown = true;
      if (expiresAt !== undefined) this.#renewAt(expiresAt);
    } else if (type === "goaway") {
      this.#last = this.#broken(`the server goes: ${reason}`, undefined, { close: reason ?? "", retryAfterMs });
    } else if (type === "fault" && id === undefined) this.#last = faultFromJson(message.fault);
  }

  #renewAt(expiresAt: number): void {
    const { token, now = Date.now } = this.#options;
    const ms = expiresAt - now();
    // The same credential again would be the same answer again.
    if (typeof token !== "function" || expiresAt <= this.#expiresAt || ms >= 2 ** 31) return;
    this.#expiresAt = expiresAt;
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.#auth(token, true), Math.max(ms - 30_000, ms / 2));
  }

  #faultOf(code: number, reason: string): Fault {
    const last = this.#last;
    // With a credential that has expired meanwhile something may have been done: it is no refusal.
    if (code === 4401 && this.#isKnown) return this.#broken("the credential has expired", last, { close: "expired" });
    if (code === 1009) return tooLarge();
    if (last && (code === 4401 || code === 1008 || last.detail?.["close"] !== undefined)) return last;
    return this.#broken(`the socket was closed: ${code}${reason && ` ${reason}`}`, last);
  }

  #broken(
    message: string,
    cause?: unknown,
    { close, retryAfterMs }: { close?: string; retryAfterMs?: number | undefined } = {},
  ): Fault {
    return new Fault("unavailable", message, {
      cause,
      retryAfterMs,
      // Before it was open nothing of the exchanges was sent.
      ...(close !== undefined ? { detail: { close } } : this.isOpen ? {} : { detail: { sent: false } }),
    });
  }
}

class WebSocketExchange implements Exchange {
  id: string | undefined;
  replayed = false;
  /** Whether the call has still to be made, or is being made. */
  isNew: boolean;
  readonly #line: () => Line;
  readonly #options: WebSocketPeerOptions;
  readonly #call: Call;
  readonly #isTopic: boolean;
  /** While the call is being made: whoever else needs its id waits. */
  #made: Promise<unknown> | undefined;
  /** Ends the wait for the result of a call that has no id. */
  #stop: (() => void) | undefined;

  constructor(line: () => Line, options: WebSocketPeerOptions, call: Call) {
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
    if (this.isNew) await (this.#made ?? this.#ask({ ...this.#opening(), keep: true }, signal, true));
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    this.#onlyCalls("has no result");
    const message = this.isNew && !this.#made ? this.#opening() : (await this.open(signal)).#own("attach");
    return (await this.#ask(message, signal)).data;
  }

  async *read({ from, follow, signal, pageEvents = PAGE_EVENTS }: ReadAt): AsyncGenerator<Page, undefined> {
    if (signal?.aborted) return;
    const { window = 128 } = this.#options;
    const isMaking = this.isNew && !this.#made && from === "start" && follow;
    if (!isMaking) await this.open(signal);
    const message = isMaking ? this.#opening() : { ...this.#own(this.#isTopic ? "subscribe" : "attach"), after: from };
    const pages: Page[] = [];
    const line = this.#line();
    let wake: (() => void) | undefined;
    let end: Fault | true | undefined;
    let last: Page | undefined;
    const id = this.#begin(
      line,
      { ...message, ...(follow ? { credit: window } : { credit: pageEvents, follow }) },
      (answer, fault) => {
        if (!answer) end = fault!;
        else if (answer.type === "events") {
          last = toPage(answer);
          if (follow) pages.push(last);
        } else if (answer.type === "done") {
          end = true;
          const { cursor, ended = false, more = false } = answer;
          // Of one page all is known only now.
          if (!follow && last) pages.push({ ...last, more, ended });
          // The log had ended before its place.
          else if (ended && !last?.ended) pages.push({ events: [], cursor, more, ended });
        }
        wake?.();
      },
    );
    const stop = (): void => {
      end = true;
      pages.length = 0;
      release();
      line.leave(id);
      wake?.();
    };
    const release = listen(stop, signal, this.#call.signal);
    try {
      for (let used = 0; ; ) {
        const page = pages.shift();
        if (page) {
          yield page;
          used += page.events.length;
          if (used * 2 >= window && !end) {
            line.send({ type: "credit", id, n: used });
            used = 0;
          }
        } else if (end) {
          if (end !== true) throw end;
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      release();
      line.leave(id);
    }
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
    if (items.length !== 1) throw new Fault("invalid_argument", "over WebSocket events are published one by one");
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

function tooLarge(): Fault {
  return new Fault("resource_exhausted", "the message is larger than the server takes", {
    limit: "bodyBytes",
    retryable: false,
  });
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

function toPage({ verdict, events, cursor }: Message): Page {
  const kind = events.at(-1)?.kind;
  return {
    ...(verdict && { verdict: toVerdict(verdict) }),
    events: events.map(({ cursor, kind, at, data }) => ({ cursor, kind, json: JSON.stringify(data ?? null), at })),
    cursor,
    more: false,
    ended: kind === "end" || kind === "fail",
  };
}

function toVerdict({ state, ...rest }: NonNullable<Message["verdict"]>): Verdict {
  return { ...rest, ...(state !== undefined && { state: JSON.stringify(state) }) };
}
