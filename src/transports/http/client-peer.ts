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
import {
  type HttpPeerOptions,
  pollMs,
  QUICK_MS,
  readPages,
  readStream,
  rest,
  type Source,
  waitField,
  waitMs,
} from "./client-read.ts";
import { type Answer, type Ask, jsonOf, Linked, Requester, retryAfter } from "./client-request.ts";

export type { HttpPeerOptions, StreamFormat } from "./client-read.ts";

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
  /** Whether the call has still to be made. */
  isNew: boolean;
  readonly http: Requester;
  readonly options: HttpPeerOptions;
  readonly #call: Call;
  readonly #isTopic: boolean;
  readonly #cancel = new AbortController();
  /** The newest state, and its ETag to ask what is newer by. */
  #state: CallState | undefined;
  #etag: string | undefined;

  constructor(http: Requester, options: HttpPeerOptions, call: Call) {
    this.http = http;
    this.options = options;
    this.#call = call;
    const { to } = call;
    this.#isTopic = to.startsWith(TOPICS);
    this.isNew = !this.#isTopic && !to.startsWith(CALLS);
    this.id = this.isNew ? undefined : to.slice(to.indexOf("/") + 1);
  }

  /** Makes the call without waiting for it, so that it has an id. */
  async open(signal?: AbortSignal): Promise<this> {
    if (this.isNew) await this.text(this.#post("application/json", "respond-async"), signal);
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    if (this.#isTopic) throw new Fault("failed_precondition", "a topic has no result");
    const heldMs = waitMs(this.options);
    if (this.isNew) {
      const { key, keep } = this.#call;
      const isKept = key !== undefined || keep;
      const prefer = this.#isPolled ? "respond-async" : `respond-async, ${waitField(heldMs)}`;
      const answer = await this.text(this.#post("application/json", isKept ? prefer : undefined), signal, heldMs);
      if (answer.status !== 202) return jsonOf(answer);
    }
    for (;;) {
      const state = await this.state({ waitMs: heldMs, ...(signal && { signal }) });
      if (state.state === "done") return state.result;
      if (state.fault) throw faultFromJson(state.fault);
    }
  }

  async *read(at: ReadAt): AsyncGenerator<Page> {
    if (at.signal?.aborted) return;
    const isStream = at.follow && this.options.mode === "sse";
    try {
      // The answer to the call itself begins with its first event; from another place it has to be asked for.
      if (!isStream || at.from !== "start") await this.open(at.signal);
      yield* isStream ? readStream(this, at) : readPages(this, at);
    } catch (thrown) {
      // Ended by the reader, which is no error.
      if (!at.signal?.aborted) throw thrown;
    }
  }

  async state({ after, waitMs = 0, signal }: Wait = {}): Promise<CallState> {
    if (this.#isTopic) {
      throw new Fault("unimplemented", "over HTTP a topic has events only", { hint: "read it, or use a WebSocket" });
    }
    await this.open(signal);
    const { clock } = this.http;
    const until = clock.now() + waitMs;
    for (;;) {
      const began = clock.now();
      const heldMs = this.#isPolled ? 0 : until - began;
      const etag = after !== undefined && after === this.#state?.cursor ? this.#etag : undefined;
      const headers = { prefer: heldMs > 0 ? waitField(heldMs) : undefined, "if-none-match": etag };
      const answer = await this.text({ method: "GET", path: this.#path(), headers }, signal, heldMs);
      if (answer.status !== 304) {
        this.#state = jsonOf(answer) as CallState;
        this.#etag = answer.headers.get("etag") ?? undefined;
      }
      const state = this.#state!;
      const now = clock.now();
      const isNews = state.state !== "running" || (after !== undefined && state.cursor !== after);
      if (isNews || now >= until) return state;
      const pauseMs = retryAfter(answer.headers, now) ?? pollMs(this.options);
      await rest(this, heldMs > 0 && now - began >= QUICK_MS ? 0 : Math.min(pauseMs, until - now), signal, false);
    }
  }

  async append({ items, seq, end, key }: AppendItems): Promise<AppendedItems> {
    if (!this.#isTopic) {
      await this.open();
      const query = `?${seq === undefined ? "" : `seq=${seq}&`}end=${end === true}`;
      const answer = await this.text(json("POST", `${this.#path()}/items${query}`, items));
      return { duplicate: false, ...(jsonOf(answer) as { next: number; cursor: Cursor }) };
    }
    if (items.length !== 1) throw new Fault("invalid_argument", "over HTTP events are published one by one");
    const answer = await this.text(json("POST", this.#path(), items[0], { "idempotency-key": keyField(key) }));
    return { next: 0, ...(jsonOf(answer) as { cursor: Cursor; duplicate: boolean }) };
  }

  async cancel(): Promise<void> {
    if (this.#isTopic) throw new Fault("failed_precondition", "a topic cannot be cancelled");
    if (this.id !== undefined) await this.text({ method: "DELETE", path: this.#path() });
    else this.#cancel.abort(new Fault("cancelled", "the call was cancelled"));
  }

  // --- for reading ---

  linked(signal: AbortSignal | undefined): Linked {
    return new Linked(signal, this.#call.signal, this.#cancel.signal);
  }

  events(place: Place, accept: string, prefer?: string): Ask {
    if (this.isNew) return this.#post(accept);
    const path = `${this.#path()}${this.#isTopic ? "" : "/events"}?after=${encodeURIComponent(place)}`;
    return { method: "GET", path, headers: { accept, prefer } };
  }

  text(ask: Ask, signal?: AbortSignal, heldMs = 0): Promise<Answer> {
    const { answerMs = 60_000 } = this.options;
    // A call that is not recorded takes as long as its handler: its limit is the caller's deadline.
    const isDirect = this.isNew && ask.headers?.["prefer"] === undefined;
    const limited = isDirect ? ask : { ...ask, limitMs: answerMs + heldMs };
    return this.http.text(limited, signal, this.#call.signal, this.#cancel.signal);
  }

  // --- requests ---

  /** The request that makes the call. */
  #post(accept: string, prefer?: string): Ask {
    const { to, input, key, deadline, trace } = this.#call;
    const leftMs = deadline === undefined ? 0 : Math.max(1, Math.ceil(deadline - this.http.clock.now()));
    const ask = json("POST", `/${to}`, input, {
      accept,
      prefer,
      "idempotency-key": keyField(key),
      "request-timeout": leftMs > 0 ? String(leftMs / 1000) : undefined,
      traceparent: trace?.traceparent,
      tracestate: trace?.tracestate,
    });
    return { ...ask, took: (response) => this.#took(response) };
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

  get #isPolled(): boolean {
    return this.options.mode === "poll";
  }
}

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
