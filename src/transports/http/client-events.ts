/** Events as they come over one unending response: SSE (WHATWG HTML §9.2; NDJSON is in client-ndjson.ts), as pages. */

import { Fault } from "../../log/fault.ts";
import type { Cursor, EventKind, LogEvent, Page, Place, Verdict } from "../../log/index.ts";
import { MOST_BYTES } from "../../wire/bounded.ts";
import { SseDecoder } from "../../wire/sse.ts";

export interface WireVerdict {
  readonly verdict: Verdict["verdict"];
  readonly from: Place;
  readonly to: Cursor;
  readonly state?: unknown;
}

export interface WireEvent {
  readonly cursor: Cursor;
  readonly kind: EventKind;
  readonly at: number;
  readonly data?: unknown;
}

export interface WirePage {
  readonly verdict?: WireVerdict;
  readonly events: readonly WireEvent[];
  readonly cursor: Cursor;
  readonly more: boolean;
  readonly ended: boolean;
}

export function toVerdict({ verdict, from, to, state }: WireVerdict): Verdict {
  return { verdict, from, to, ...(state !== undefined && { state: JSON.stringify(state) }) };
}

export function toEvent({ cursor, kind, at, data }: WireEvent): LogEvent {
  return { cursor, kind, json: JSON.stringify(data ?? null), at };
}

export interface Close {
  readonly reason?: string;
  readonly retryAfterMs?: number;
  /** Why reading failed. */
  readonly fault?: unknown;
}

/** What one piece of the response brought. */
export interface Brought {
  verdict?: Verdict;
  readonly events: LogEvent[];
  /** The server ends this response, and the log goes on. */
  close?: Close;
}

/** Bytes in, values out. What is not complete yet is kept for the next piece; it is lost with the connection. */
export interface Parser {
  /** @throws Fault */
  feed(bytes: Uint8Array): Brought;
  /** `retry:` of SSE: how long to wait before coming back, in milliseconds. */
  readonly retryMs: number | undefined;
}

export class SseParser implements Parser {
  retryMs: number | undefined;
  readonly #decoder = new SseDecoder({ maxChars: MOST_BYTES });
  readonly #now: () => number;

  /** SSE has no time of an event: `now` gives the time of its receipt instead. */
  constructor(now: () => number) {
    this.#now = now;
  }

  feed(bytes: Uint8Array): Brought {
    const brought: Brought = { events: [] };
    for (const output of decoded(() => this.#decoder.feed(bytes))) {
      if (output.type === "retry") this.retryMs = output.ms;
      if (output.type !== "event") continue;
      const { id, event: kind, data: json } = output;
      if (kind === "verdict") brought.verdict = toVerdict(parse(json) as WireVerdict);
      else if (kind === "close") brought.close = parse(json) as Close;
      else if (isKind(kind)) brought.events.push({ cursor: id as Cursor, kind, json, at: this.#now() });
    }
    return brought;
  }
}

export function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    // The same event would come again: trying again cannot help.
    throw new Fault("data_loss", "the server sent an event that cannot be read", { cause });
  }
}

/** A kind that is not known yet is skipped, as an `EventSource` without a listener does. */
const KINDS: ReadonlySet<unknown> = new Set<EventKind>(["open", "item", "progress", "end", "fail"]);

export function isKind(kind: unknown): kind is EventKind {
  return KINDS.has(kind);
}

export function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new Fault("unavailable", "the server sent an event that is not JSON", { cause });
  }
}

/** The page of what was brought; undefined when that was only a heartbeat. */
export function pageOf({ verdict, events }: Brought): Page | undefined {
  const last = events.at(-1);
  const cursor = last?.cursor ?? verdict?.to;
  if (cursor === undefined) return undefined;
  const ended = last?.kind === "end" || last?.kind === "fail";
  return { ...(verdict && { verdict }), events, cursor, more: false, ended };
}
