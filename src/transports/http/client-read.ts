/** The ways of reading events over HTTP (PROTOCOL.md §2.5, §2.6): one unending response, or page by page. */
import { Fault, faultFromJson } from "../../log/fault.ts";
import type { Cursor, Page, Place, ReadAt } from "../../log/index.ts";
import { type Close, type Parser, pageOf, SseParser, toEvent, toVerdict, type WirePage } from "./client-events.ts";
import {
  type Answer,
  type Ask,
  abortFault,
  broken,
  jsonOf,
  type Linked,
  type Requester,
  type RequestOptions,
  retryAfter,
} from "./client-request.ts";

/** How events are read: as one unending response, by requests that the server holds, or by asking again and again. */
export type HttpMode = "sse" | "long-poll" | "poll";

/** The format of an unending response. */
export interface StreamFormat {
  /** Its media type. */
  readonly type: string;
  readonly parser: (now: () => number) => Parser;
}

const SSE: StreamFormat = { type: "text/event-stream", parser: (now) => new SseParser(now) };

export interface HttpPeerOptions extends RequestOptions {
  readonly mode: HttpMode;
  /** Instead of SSE, in the mode `sse`. */
  readonly format?: StreamFormat;
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
  /** Waits between polls; 0 before a held request. A reader can wait longer, while nobody looks. */
  readonly pause?: (ms: number, signal: AbortSignal | undefined, isReader: boolean) => Promise<void>;
}

/** What reading needs of an exchange that has an id, or is made by its first request. */
export interface Source {
  readonly http: Requester;
  readonly options: HttpPeerOptions;
  /** Aborts with the exchange's own signals, and this one. */
  linked(signal: AbortSignal | undefined): Linked;
  events(place: Place, accept: string, prefer?: string): Ask;
  text(ask: Ask, signal: AbortSignal | undefined, heldMs?: number): Promise<Answer>;
}

/** One response that goes on until the log ends. @throws Fault `unavailable` when it does not */
export async function* readStream(source: Source, at: ReadAt): AsyncGenerator<Page> {
  const { http, options } = source;
  const { silenceMs = 30_000, openMs = 10_000, format = SSE } = options;
  const { type } = format;
  const linked = source.linked(at.signal);
  try {
    const response = await http.open({ ...source.events(at.from, type), limitMs: openMs }, linked);
    if (response.status === 204) return yield atEnd(at.from, response.headers);
    if (!response.body || !response.headers.get("content-type")?.startsWith(type)) {
      throw new Fault("unavailable", `the answer is not ${type}`, {
        hint: "is this the address of a Backtalk server?",
      });
    }
    const parser = format.parser(http.clock.now);
    const reader = response.body.getReader();
    for (let isFirst = true; ; ) {
      const stop = http.clock.after(isFirst ? openMs : silenceMs, () => {
        linked.abort(new Fault("unavailable", "the server fell silent", { detail: { stalled: isFirst } }));
      });
      const { done, value } = await reader.read().finally(stop);
      if (done)
        throw new Fault("unavailable", "the response ended, and the log goes on", {
          retryAfterMs: parser.retryMs,
        });
      http.received(value);
      const brought = parser.feed(value);
      const page = pageOf(brought);
      if (page) {
        isFirst = false;
        yield page;
        if (page.ended) return;
      }
      if (brought.close) throw closed(brought.close);
    }
  } catch (thrown) {
    throw broken(thrown, linked.signal);
  } finally {
    linked.abort(undefined);
    linked.release();
  }
}

/** Page by page: the first at once, with the verdict; the next ones held, or after a pause. */
export async function* readPages(source: Source, at: ReadAt): AsyncGenerator<Page> {
  const { http, options } = source;
  const { clock } = http;
  const base = pollMs(options);
  const isPolled = options.mode === "poll";
  let place = at.from;
  let restMs = base;
  for (let isFirst = true; ; isFirst = false) {
    const began = clock.now();
    const heldMs = isFirst || isPolled ? 0 : waitMs(options);
    const ask = source.events(place, "application/json", heldMs > 0 ? waitField(heldMs) : undefined);
    const answer = await source.text(ask, at.signal, heldMs);
    if (answer.status === 204) return yield atEnd(place, answer.headers);
    const { verdict, events, cursor, more, ended } = jsonOf(answer) as WirePage;
    const isTold = verdict !== undefined && (isFirst || verdict.verdict !== "recovered");
    if (isTold || events.length > 0 || ended) {
      yield { ...(isTold && { verdict: toVerdict(verdict) }), events: events.map(toEvent), cursor, more, ended };
    }
    if (ended || !at.follow) return;
    place = cursor;
    if (more) continue;
    const now = clock.now();
    restMs = events.length > 0 ? base : Math.min(restMs * 1.5, base * 10);
    // A held request that comes back empty at once was not held: then it is a poll, and keeps its distance.
    const isPoll = isPolled || (heldMs > 0 && events.length === 0 && now - began < QUICK_MS);
    await rest(source, isPoll ? (retryAfter(answer.headers, now) ?? restMs) : 0, at.signal, true);
  }
}

/** An empty answer that comes sooner was not held. */
export const QUICK_MS = 1000;

export function waitMs({ waitMs = 25_000 }: HttpPeerOptions): number {
  return waitMs;
}

export function pollMs({ pollMs = 1000 }: HttpPeerOptions): number {
  return pollMs;
}

/** `Prefer` (RFC 7240 §4.3). */
export function waitField(ms: number): string {
  return `wait=${Math.min(60, Math.ceil(ms / 1000))}`;
}

/** Waits between two polls. @throws Fault when the signal aborts */
export async function rest({ options, http }: Source, ms: number, signal: AbortSignal | undefined, isReader: boolean) {
  if (options.pause) await options.pause(ms, signal, isReader);
  else if (ms > 0) await sleep(http, ms, signal);
  if (signal?.aborted) throw abortFault(signal);
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
    retryAfterMs,
  });
}

function sleep({ clock }: Requester, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      stop();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const stop = clock.after(ms, done);
    signal?.addEventListener("abort", done);
  });
}
