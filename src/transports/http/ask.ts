/**
 * One request. It is also the `Call` that the peer gets, so that a plain call makes one object; what costs
 * and is seldom wanted (the address, the signal, the query) is got when it is asked for.
 */
import { ANONYMOUS, type Call, type Principal, type Trace } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { NO_PREFERENCES, type Preferences, parsePrefer } from "../../wire/prefer.ts";
import { parseKey } from "../../wire/sf.ts";
import { childTraceparent, parseTraceparent } from "../../wire/traceparent.ts";
import type { HttpServer } from "./server.ts";

export class Ask implements Call {
  readonly request: Request;
  readonly server: HttpServer;
  /** Of the target, from its `/` to the query. */
  readonly path: string;
  /** Where the query begins in `request.url`, -1 without one. */
  readonly queryAt: number;
  readonly via: string;
  to = "";
  input: unknown = undefined;
  principal: Principal = ANONYMOUS;
  key: string | undefined = undefined;
  keep: boolean | undefined = undefined;
  deadline: number | undefined = undefined;
  trace: Trace | undefined = undefined;
  preferences: Preferences = NO_PREFERENCES;
  counted = false;

  constructor(request: Request, server: HttpServer, path: string, queryAt: number, via: string) {
    this.request = request;
    this.server = server;
    this.path = path;
    this.queryAt = queryAt;
    this.via = via;
  }

  get signal(): AbortSignal {
    return this.request.signal;
  }

  /** Costs about a tenth of a plain request. */
  get address(): string | undefined {
    return this.server.requestIP(this.request)?.address;
  }

  get isHead(): boolean {
    return this.request.method === "HEAD";
  }

  header(name: string): string | null {
    return this.request.headers.get(name);
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.queryAt < 0 ? "" : this.request.url.slice(this.queryAt + 1));
  }

  prefer(): Preferences {
    const header = this.request.headers.get("prefer");
    if (header !== null) this.preferences = parsePrefer(header);
    return this.preferences;
  }

  /** Reads what a caller may say about any call. @throws Fault `invalid_argument` */
  readFields(now: () => number, random: () => number): void {
    const { headers } = this.request;
    const key = headers.get("idempotency-key");
    if (key !== null) this.key = keyOf(key);
    const timeout = headers.get("request-timeout");
    if (timeout !== null) this.deadline = now() + timeoutMs(timeout);
    const traceparent = headers.get("traceparent");
    if (traceparent !== null) this.trace = traceOf(traceparent, headers, random);
  }

  /** Fields that any answer about this request has. */
  answerHeaders(): Record<string, string> {
    const headers: Record<string, string> = { "x-content-type-options": "nosniff" };
    if (this.trace) headers["traceparent"] = this.trace.traceparent;
    return headers;
  }
}

export function keyOf(header: string): string {
  const key = parseKey(header);
  if (key !== undefined) return key;
  throw new Fault("invalid_argument", "the Idempotency-Key cannot be read", {
    fields: [{ path: "Idempotency-Key", message: 'must be one string, such as "8e03978e-40d5"' }],
  });
}

/** Seconds, maybe with a fraction, to milliseconds. */
function timeoutMs(header: string): number {
  const seconds = /^\d{1,9}(\.\d{1,6})?$/.test(header) ? Number(header) : 0;
  if (seconds > 0) return seconds * 1000;
  throw new Fault("invalid_argument", "the Request-Timeout cannot be read", {
    fields: [{ path: "Request-Timeout", message: "must be seconds above 0, such as 2.5" }],
  });
}

function traceOf(header: string, headers: Headers, random: () => number): Trace | undefined {
  const parent = parseTraceparent(header);
  if (!parent) return undefined;
  const tracestate = headers.get("tracestate");
  return { traceparent: childTraceparent(parent, random), ...(tracestate && { tracestate }) };
}
