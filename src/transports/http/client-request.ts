/**
 * One request over the platform's `fetch`: credentials, limits of time, and every failure as a Fault. Nothing
 * here is of Bun or Node, so that it runs in a browser.
 */

import { MOST_TIMER_MS } from "../../contract/timer.ts";
import { CODES, type Code, Fault, faultFromJson } from "../../log/fault.ts";
import { TooLong, textOf } from "../../wire/bounded.ts";
import { redirectOf } from "../../wire/redirect.ts";

/** Time as a parameter. `after` gives back what stops it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    // A server can ask for a wait of years (Retry-After), and a longer timer than this fires at once.
    const timer = setTimeout(run, Math.min(ms, MOST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** What goes over the wire, for people: `*` is a remark, `>` was sent, `<` was received. */
export type WireTrace = (direction: "*" | ">" | "<", text: string) => void;

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;
/** A function is asked for every request: it should keep its token as long as it is good. */
export type Token = string | (() => string | Promise<string>);

export interface RequestOptions {
  /** Where the server is: `https://example.com`, or with a path that is put before every address. */
  readonly url: string;
  readonly fetch?: Fetch;
  /** Sent as `Authorization: Bearer`. */
  readonly token?: Token;
  /** Further header fields of every request, such as `X-API-Key`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Which HTTP, where `fetch` can be told (Bun); ignored elsewhere. */
  readonly protocol?: "http1.1" | "http2" | "http3";
  /** TLS options, where `fetch` takes them (Bun); ignored elsewhere. */
  readonly tls?: object;
  readonly clock?: Clock;
  readonly trace?: WireTrace;
}

export interface Ask {
  readonly method: string;
  /** With its leading slash. */
  readonly path: string;
  /** Members that are undefined are left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | undefined;
  /** Most milliseconds until the header of the answer has come; for `text` until all has. */
  readonly limitMs?: number;
  /** Sees the header of every answer, a fault's too. */
  readonly took?: (response: Response) => void;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/**
 * A signal that aborts with any of others. It listens to them only while somebody holds it (its maker does
 * from the start), so that signals that live long do not collect listeners.
 */
export class Linked {
  readonly #controller = new AbortController();
  readonly #signals: readonly (AbortSignal | undefined)[];
  readonly #onAbort = (event: Event): void => this.abort((event.target as AbortSignal).reason);
  #holders = 0;

  constructor(...signals: readonly (AbortSignal | undefined)[]) {
    this.#signals = signals;
    this.hold();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  hold(): void {
    if (this.#holders++ > 0) return;
    for (const signal of this.#signals) {
      if (signal?.aborted) this.abort(signal.reason);
      else signal?.addEventListener("abort", this.#onAbort);
    }
  }

  release(): void {
    if (--this.#holders > 0) return;
    for (const signal of this.#signals) signal?.removeEventListener("abort", this.#onAbort);
  }
}

export class Requester {
  readonly clock: Clock;
  readonly #options: RequestOptions;
  readonly #base: string;

  constructor(options: RequestOptions) {
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, "");
    this.clock = options.clock ?? systemClock;
  }

  /** The whole answer. @throws Fault of the answer, or `unavailable` when there was none that could be read */
  async text(ask: Ask, ...signals: (AbortSignal | undefined)[]): Promise<Answer> {
    const linked = new Linked(...signals);
    const stop = this.#limit(ask, linked);
    try {
      const response = await this.#fetch(ask, linked);
      const text = await textOf(response).catch((error: unknown) => {
        throw broken(error, linked.signal);
      });
      if (text !== "") this.#options.trace?.("<", text);
      return { status: response.status, headers: response.headers, text };
    } finally {
      stop();
      linked.release();
    }
  }

  /** The answer once its header has come; its body ends with `linked`, which the caller releases. */
  async open(ask: Ask, linked: Linked): Promise<Response> {
    const stop = this.#limit(ask, linked);
    try {
      return await this.#fetch(ask, linked);
    } finally {
      stop();
    }
  }

  /** A piece of a body, for the trace. */
  received(bytes: Uint8Array): void {
    this.#options.trace?.("<", new TextDecoder().decode(bytes));
  }

  #limit({ limitMs, path }: Ask, linked: Linked): () => void {
    if (limitMs === undefined) return () => {};
    return this.clock.after(limitMs, () => {
      linked.abort(
        new Fault("unavailable", `nothing came for ${limitMs} ms from ${path}`, { detail: { stalled: true } }),
      );
    });
  }

  async #fetch(ask: Ask, linked: Linked): Promise<Response> {
    const { token, protocol, tls, trace, fetch: platform = globalThis.fetch } = this.#options;
    const bearer = typeof token === "function" ? await tokenOf(token) : token;
    const headers: Record<string, string> = { ...this.#options.headers };
    if (bearer !== undefined) headers["authorization"] = `Bearer ${bearer}`;
    for (const [name, value] of Object.entries(ask.headers ?? {})) if (value !== undefined) headers[name] = value;
    if (linked.signal.aborted) throw abortFault(linked.signal);
    if (trace) {
      trace(">", `${ask.method} ${this.#base}${ask.path}`);
      for (const name in headers) trace(">", `${name}: ${shownOf(name, headers[name]!)}`);
      if (ask.body !== undefined) trace(">", ask.body);
    }
    const init: RequestInit & { protocol?: string; tls?: object } = {
      method: ask.method,
      headers,
      signal: linked.signal,
      // Credentials in fields of their own, such as X-API-Key, would go with a redirect to any other server.
      redirect: "manual",
      // The library keeps cursors and ETags itself; a cache between it and the server only delays what is new.
      cache: "no-store",
      ...(ask.body !== undefined && { body: ask.body }),
      ...(protocol && { protocol }),
      ...(tls && { tls }),
    };
    // Called without a receiver: a browser's `fetch` refuses any other than the global object.
    const response = await platform(this.#base + ask.path, init).catch((error: unknown) => {
      throw broken(error, linked.signal);
    });
    if (trace) {
      trace("<", `${response.status} ${response.statusText}`);
      response.headers.forEach((value, name) => {
        trace("<", `${name}: ${value}`);
      });
    }
    ask.took?.(response);
    if (response.ok || response.status === 304) return response;
    const redirect = redirectOf(response);
    if (redirect) throw new Fault("failed_precondition", redirect.what, { hint: redirect.hint });
    throw faultOf(response, await textOf(response).catch(() => ""), this.clock.now());
  }
}

/** The trace is for other eyes too. */
function shownOf(name: string, value: string): string {
  if (name.toLowerCase() === "authorization") return "Bearer ...";
  return name.toLowerCase() === "x-api-key" ? "..." : value;
}

async function tokenOf(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw new Fault("unavailable", "the token could not be had", { cause });
  }
}

/** The Fault for a signal that aborted: its reason when that is one. */
export function abortFault({ reason }: AbortSignal): Fault {
  if (reason instanceof Fault) return reason;
  const isTimeout = reason instanceof DOMException && reason.name === "TimeoutError";
  return isTimeout
    ? new Fault("deadline_exceeded", "the deadline passed", { cause: reason })
    : new Fault("cancelled", "the caller stopped waiting", { cause: reason });
}

const HINT = `is the address right (http or https, and the port), ${
  // A browser does not tell a page why.
  "document" in globalThis
    ? "is the server running, and does it allow this page's origin?"
    : "and is the server running?"
}`;

/** A connection that could not be made, or broke. */
export function broken(error: unknown, signal?: AbortSignal): Fault {
  if (error instanceof Fault) return error;
  if (signal?.aborted) return abortFault(signal);
  // It would come again: trying again cannot help.
  if (error instanceof TooLong) return new Fault("data_loss", error.message);
  return new Fault("unavailable", "the connection to the server failed", { cause: error, hint: HINT });
}

/**
 * Whether a request certainly never reached a server: then it can be sent again whatever it does. Only some
 * platforms tell (Node: `cause.code`, Bun: `code`); a browser never does.
 */
export function neverSent(fault: Fault): boolean {
  for (let error: unknown = fault.cause, depth = 0; error instanceof Error && depth < 4; error = error.cause, depth++) {
    if (NEVER_SENT.has((error as { code?: unknown }).code)) return true;
  }
  return false;
}

const NEVER_SENT: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ConnectionRefused",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Whole seconds or an HTTP date (RFC 9110 §10.2.3) as milliseconds from now; undefined when it is neither. */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** Problem details (RFC 9457) as a Fault; what came from somebody else on the way is judged by its status. */
export function faultOf({ status, headers }: Response, text: string, now: number): Fault {
  let problem: Record<string, unknown> | undefined;
  try {
    if (headers.get("content-type")?.includes("problem+json")) problem = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Cut off, or not what it says: the status is all there is.
  }
  const retryAfterMs = retryAfter(headers, now);
  if (problem && (CODES as readonly unknown[]).includes(problem["title"])) {
    const { title, detail, info } = problem;
    return faultFromJson({ retryAfterMs, ...problem, code: title, message: detail, detail: info });
  }
  const code = BY_STATUS[status] ?? (status >= 500 ? "unavailable" : "unknown");
  return new Fault(code, `the server, or somebody on the way to it, answered ${status}`, {
    retryAfterMs,
    hint: "is this the address of a Backtalk server?",
  });
}

/** For answers that are not Backtalk's; 502 and 504 are a proxy's and pass, so they are `unavailable`. */
const BY_STATUS: Readonly<Record<number, Code>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "not_found",
  405: "unimplemented",
  406: "unimplemented",
  408: "unavailable",
  409: "aborted",
  413: "resource_exhausted",
  422: "invalid_argument",
  429: "resource_exhausted",
  501: "unimplemented",
};

/** The value of a JSON answer; undefined for an empty one. @throws Fault `unavailable` for what is not JSON */
export function jsonOf({ text }: Answer): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Fault("unavailable", "the answer is not JSON: it was cut off, or came from somebody else", {
      cause: error,
    });
  }
}
