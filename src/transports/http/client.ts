/**
 * The client half of HTTP (PROTOCOL.md §2): a peer over the platform's `fetch`, for browsers, Node, Deno and
 * Bun. It tells of every break and repeats nothing by itself: the one who reads comes back from the cursor.
 *
 * Items of a client stream go in numbered batches, not as one streaming request body: only a batch tells how
 * far it got, and browsers stream a body over HTTP/2 at most.
 */
import {
  type AppendedItems,
  type AppendItems,
  CALLS,
  type Call,
  type CallState,
  type Exchange,
  type Peer,
  TOPICS,
  type Wait,
} from "../../contract/peer.ts";
import { Fault, faultFromJson } from "../../log/fault.ts";
import type { Cursor, Page, Place, ReadAt } from "../../log/index.ts";
import { type Close, NdjsonParser, pageOf, SseParser, toEvent, toVerdict, type WirePage } from "./client-events.ts";
import {
  type Answer,
  type Ask,
  abortFault,
  broken,
  jsonOf,
  Linked,
  Requester,
  type RequestOptions,
  retryAfter,
} from "./client-request.ts";

/** How events are read: as one unending response, by requests that the server holds, or by asking again and again. */
export type HttpMode = "sse" | "ndjson" | "long-poll" | "poll";

export interface HttpPeerOptions extends RequestOptions {
  readonly mode: HttpMode;
  /** How long the server is asked to hold a request, in milliseconds (default 25,000; the server's cap is 60,000). */
  readonly waitMs?: number;
  /** How long to wait between polls where the server does not say, in milliseconds (default 1,000). It grows tenfold while nothing is new. */
  readonly pollMs?: number;
  /** Silence after which an unending response counts as broken, in milliseconds (default 30,000: two heartbeats). */
  readonly silenceMs?: number;
  /** How long an unending response may take to begin, in milliseconds (default 10,000): a proxy may hold it back. */
  readonly openMs?: number;
  /** How long any other request may take, besides what it is held, in milliseconds (default 60,000). */
  readonly answerMs?: number;
  /** Waits between polls; 0 before a held request. A browser can wait longer, while its tab is hidden. */
  readonly pause?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

export function httpPeer(options: HttpPeerOptions): Peer {
  const requester = new Requester(options);
  return (call) => {
    const exchange = new HttpExchange(requester, options, call);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
}

class HttpExchange implements Exchange, Source {
  id: string | undefined;
  replayed = false;
  /** Whether nothing has been sent yet. */
  isNew: boolean;
  readonly #http: Requester;
  readonly #options: HttpPeerOptions;
  readonly #call: Call;
  readonly #isTopic: boolean;
  readonly #cancel = new AbortController();
  /** The newest state, and its ETag to ask what is newer by. */
  #state: CallState | undefined;
  #etag: string | undefined;

  constructor(requester: Requester, options: HttpPeerOptions, call: Call) {
    this.#http = requester;
    this.#options = options;
    this.#call = call;
    const { to } = call;
    this.#isTopic = to.startsWith(TOPICS);
    this.isNew = !this.#isTopic && !to.startsWith(CALLS);
    this.id = this.isNew ? undefined : to.slice(to.indexOf("/") + 1);
  }

  /** Opens the call without waiting for it, so that it has an id. */
  async open(signal?: AbortSignal): Promise<this> {
    if (this.isNew) await this.#text(this.#post("application/json", "respond-async"), signal);
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    if (this.#isTopic) throw new Fault("failed_precondition", "a topic has no result");
    if (this.isNew) {
      const { key, keep } = this.#call;
      const prefer =
        key === undefined && !keep
          ? undefined
          : this.#isPolled
            ? "respond-async"
            : `respond-async, ${this.#wait(this.#waitMs)}`;
      const answer = await this.#text(this.#post("application/json", prefer), signal);
      if (answer.status !== 202) return jsonOf(answer);
    }
    for (;;) {
      const state = await this.state({ waitMs: this.#waitMs, ...(signal && { signal }) });
      if (state.state === "done") return state.result;
      if (state.fault) throw faultFromJson(state.fault);
    }
  }

  async *read(at: ReadAt): AsyncGenerator<Page> {
    if (at.signal?.aborted) return;
    try {
      const { mode } = this.#options;
      const isStream = at.follow && (mode === "sse" || mode === "ndjson");
      // The answer to the call itself begins with its first event; from another place it has to be asked for.
      if (!isStream || at.from !== "start") await this.open(at.signal);
      yield* isStream ? readStream(this, at) : readPages(this, at);
    } catch (thrown) {
      // Ended by the reader, which is no error.
      if (!at.signal?.aborted) throw thrown;
    }
  }

  async state(wait: Wait = {}): Promise<CallState> {
    if (this.#isTopic)
      throw new Fault("unimplemented", "over HTTP a topic has events only", { hint: "read it, or use a WebSocket" });
    await this.open(wait.signal);
    const { clock } = this.#http;
    const until = clock.now() + (wait.waitMs ?? 0);
    for (;;) {
      const began = clock.now();
      const isHeld = until > began && !this.#isPolled;
      const etag = wait.after !== undefined && wait.after === this.#state?.cursor ? this.#etag : undefined;
      const headers = { prefer: isHeld ? this.#wait(until - began) : undefined, "if-none-match": etag };
      const answer = await this.#text(
        { method: "GET", path: this.#path(), headers },
        wait.signal,
        isHeld ? until - began : 0,
      );
      if (answer.status !== 304) {
        this.#state = jsonOf(answer) as CallState;
        this.#etag = answer.headers.get("etag") ?? undefined;
      }
      const state = this.#state!;
      const now = clock.now();
      if (state.state !== "running" || (wait.after !== undefined && state.cursor !== wait.after) || now >= until)
        return state;
      const pollMs = retryAfter(answer.headers, now) ?? this.#pollMs;
      await this.#pause(isHeld && now - began >= QUICK_MS ? 0 : Math.min(pollMs, until - now), wait.signal);
    }
  }

  async append({ items, seq, end, key }: AppendItems): Promise<AppendedItems> {
    if (!this.#isTopic) {
      await this.open();
      const query = `?${seq === undefined ? "" : `seq=${seq}&`}end=${end === true}`;
      const answer = await this.#text(json("POST", `${this.#path()}/items${query}`, items));
      return { duplicate: false, ...(jsonOf(answer) as { next: number; cursor: Cursor }) };
    }
    if (items.length !== 1) throw new Fault("invalid_argument", "over HTTP events are published one by one");
    const answer = await this.#text(json("POST", this.#path(), items[0], { "idempotency-key": keyField(key) }));
    return { next: 0, ...(jsonOf(answer) as { cursor: Cursor; duplicate: boolean }) };
  }

  async cancel(): Promise<void> {
    if (this.#isTopic) throw new Fault("failed_precondition", "a topic cannot be cancelled");
    if (this.id !== undefined) await this.#text({ method: "DELETE", path: this.#path() });
    else this.#cancel.abort(new Fault("cancelled", "the call was cancelled"));
  }

  /** The request that makes the call. */
  #post(accept: string, prefer?: string): Ask {
    const { to, input, key, deadline, trace } = this.#call;
    const ask = json("POST", `/${to}`, input, {
      accept,
      prefer,
      "idempotency-key": keyField(key),
      "request-timeout":
        deadline === undefined ? undefined : String(Math.max(1, Math.ceil(deadline - this.#http.clock.now())) / 1000),
      traceparent: trace?.traceparent,
      tracestate: trace?.tracestate,
    });
    return { ...ask, took: (response) => this.#took(response) };
  }

  #get(place: Place, headers: NonNullable<Ask["headers"]>): Ask {
    return {
      method: "GET",
      path: `${this.#path()}${this.#isTopic ? "" : "/events"}?after=${encodeURIComponent(place)}`,
      headers,
    };
  }

  #path(): string {
    if (this.id === undefined) {
      throw new Fault("failed_precondition", "this call is not recorded: there is nothing to come back to");
    }
    return `/${this.#isTopic ? "topics" : "calls"}/${encodeURIComponent(this.id)}`;
  }

  /** Remembers the id of the call, which every answer about a recorded one says; a refusal says none. */
  #took({ ok, headers }: Response): void {
    const id = /\/calls\/([^/?#]+)$/.exec(headers.get("location") ?? "")?.[1];
    if (id !== undefined) this.id = decodeURIComponent(id);
    if (ok || id !== undefined) this.isNew = false;
    this.replayed = headers.get("idempotency-replayed") === "true";
  }

  #text(ask: Ask, signal?: AbortSignal, heldMs = 0): Promise<Answer> {
    const { answerMs = 60_000 } = this.#options;
    // A call that is not recorded takes as long as its handler: its limit is the caller's deadline.
    const isDirect = this.isNew && ask.headers?.["prefer"] === undefined;
    const isHeld = ask.headers?.["prefer"]?.includes("wait") && heldMs === 0;
    const limitMs = answerMs + (isHeld ? this.#waitMs : heldMs);
    return this.#http.text(isDirect ? ask : { ...ask, limitMs }, signal, this.#call.signal, this.#cancel.signal);
  }

  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#options.pause) await this.#options.pause(ms, signal);
    else if (ms > 0) await sleep(this.#http, ms, signal);
    if (signal?.aborted) throw abortFault(signal);
  }

  #wait(ms: number): string {
    return `wait=${Math.min(60, Math.ceil(ms / 1000))}`;
  }

  get #isPolled(): boolean {
    return this.#options.mode === "poll";
  }

  get #waitMs(): number {
    return this.#options.waitMs ?? 25_000;
  }

  get #pollMs(): number {
    return this.#options.pollMs ?? 1000;
  }
}

/** An empty answer that comes sooner was not held. */
const QUICK_MS = 1000;

function json(method: string, path: string, value: unknown, headers?: Ask["headers"]): Ask {
  // Without a body and its type a method with client streaming is opened, and its items come later.
  if (value === undefined) return { method, path, ...(headers && { headers }) };
  return { method, path, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(value) };
}

/** A key as a string of structured fields (RFC 9651 §3.3.3), which has printable ASCII only. */
function keyField(key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  if (/^[ -~]+$/.test(key)) return `"${key.replace(/["\\]/g, "\\$&")}"`;
  throw new Fault("invalid_argument", "over HTTP an idempotency key is printable ASCII");
}

/** 204: the reader has all there is, so nothing was missed. */
function atEnd(from: Place, headers: Headers): Page {
  const to = (headers.get("backtalk-cursor") ?? from) as Cursor;
  return { verdict: { verdict: "recovered", from, to }, events: [], cursor: to, more: false, ended: true };
}

function closed({ reason = "closed", retryAfterMs, fault }: Close): Fault {
  if (fault !== undefined) return faultFromJson(fault);
  return new Fault("unavailable", `the server ends this response: ${reason}`, {
    detail: { close: reason },
    ...waits(retryAfterMs),
  });
}

function waits(retryAfterMs: number | undefined): { readonly retryAfterMs?: number } {
  return retryAfterMs === undefined ? {} : { retryAfterMs };
}

function sleep({ clock }: Requester, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const stop = clock.after(ms, done);
    signal?.addEventListener("abort", done);
  });
}
