/** Events of a call or a topic: SSE, NDJSON, or a page of JSON (PROTOCOL.md §2.5, §2.6). */
import type { Exchange } from "../../contract/index.ts";
import { PAGE_BYTES, type Page, type Place, parsePlace, STREAM_PAGE_BYTES, type Verdict } from "../../log/index.ts";
import { negotiate } from "../../wire/accept.ts";
import { hasEtag } from "../../wire/etag.ts";
import type { Ask } from "./ask.ts";
import { JSON_TYPE, NDJSON_TYPE, SSE_TYPE } from "./body.ts";
import { type Format, NDJSON, pageJson, SSE } from "./encode.ts";
import { notAcceptable } from "./fault.ts";
import { EventStream, type Reading } from "./stream.ts";
import type { Web } from "./web.ts";

const TYPES = [JSON_TYPE, SSE_TYPE, NDJSON_TYPE] as const;

/** `GET` of events: the caller says by `Accept` in which form. */
export async function readEvents(web: Web, ask: Ask, exchange: Exchange, usual: Place): Promise<Response> {
  const type = negotiate(ask.header("accept"), TYPES);
  if (type === undefined) throw notAcceptable(TYPES);
  const after = ask.header("last-event-id") || ask.query.get("after");
  const from = after ? parsePlace(after) : usual;
  if (type === JSON_TYPE || ask.isHead) return readPage(web, ask, exchange, from);
  return streamEvents(web, ask, exchange, from, type === SSE_TYPE ? SSE : NDJSON, {});
}

/** For a method whose caller sends items while it reads. */
export interface StreamHooks {
  /** Aborted when the response is over. */
  readonly abort: AbortController;
  opened(stream: EventStream): void;
}

/** Follows from a place until the log ends, in one response. */
export async function streamEvents(
  web: Web,
  ask: Ask,
  exchange: Exchange,
  from: Place,
  format: Format,
  headers: Readonly<Record<string, string>>,
  hooks?: StreamHooks,
): Promise<Response> {
  web.streams.check();
  const abort = hooks?.abort ?? new AbortController();
  const pages = exchange
    .read({ from, follow: true, signal: abort.signal, pageBytes: pageBytes(web, STREAM_PAGE_BYTES) })
    [Symbol.asyncIterator]();
  const { value: first } = (await pages.next()) as IteratorYieldResult<Page>;
  const verdict = first.verdict!;
  count(web, verdict);
  // An EventSource comes back by itself for ever; 204 stops it (WHATWG HTML §9.2.3), and tells a reader of NDJSON.
  const isOver = first.ended && first.events.length === 0 && verdict.verdict === "recovered";
  const fields = { ...ask.answerHeaders(), ...headers, ...placeHeaders(verdict) };
  if (isOver || ask.signal.aborted) {
    abort.abort();
    await pages.return?.();
    return new Response(null, { status: 204, headers: { ...fields, "cache-control": "no-store" } });
  }
  const reading: Reading = { pages, first, abort };
  const stream = new EventStream(web.streams, ask, format, reading);
  hooks?.opened(stream);
  return new Response(new ReadableStream(stream as unknown as UnderlyingDefaultSource), {
    headers: {
      "content-type": format.type,
      "cache-control": "no-cache, no-store, no-transform",
      // nginx collects an answer until it is complete, unless told so.
      "x-accel-buffering": "no",
      ...fields,
    },
  });
}

async function readPage(web: Web, ask: Ask, exchange: Exchange, from: Place): Promise<Response> {
  const wait = web.held.secondsOf(ask.prefer().wait);
  let page = await onePage(web, exchange, from);
  let verdict = page.verdict!;
  let isHeld = false;
  if (wait > 0 && page.events.length === 0 && !page.ended && verdict.verdict === "recovered" && !ask.isHead) {
    isHeld = true;
    page = (await web.held.hold(ask, (signal) => nextPage(web, exchange, page, wait, signal))) ?? page;
    // Trimmed or made anew while the request was held: the reader is told, as of the place that it asked for.
    if (page.verdict && page.verdict.verdict !== "recovered") verdict = { ...page.verdict, from };
  }
  count(web, verdict);
  const etag = `${page.cursor}${page.ended ? ".e" : page.more ? ".m" : ""}`;
  const headers: Record<string, string> = {
    ...ask.answerHeaders(),
    ...placeHeaders(verdict),
    "cache-control": "no-cache, private",
    ...(from !== "now" && from !== "start" && { etag: `"${etag}"` }),
    ...(isHeld && { "preference-applied": `wait=${wait}` }),
  };
  if (hasEtag(ask.header("if-none-match"), etag)) return new Response(null, { status: 304, headers });
  return new Response(pageJson(page, verdict), { headers: { "content-type": JSON_TYPE, ...headers } });
}

async function onePage(web: Web, exchange: Exchange, from: Place): Promise<Page> {
  const pages = exchange.read({ from, follow: false, pageBytes: pageBytes(web) })[Symbol.asyncIterator]();
  const { value } = (await pages.next()) as IteratorYieldResult<Page>;
  await pages.return?.();
  return value;
}

/** The page after an empty one, once there is something; undefined when nothing came in time. */
async function nextPage(
  web: Web,
  exchange: Exchange,
  empty: Page,
  seconds: number,
  signal: AbortSignal,
): Promise<Page | undefined> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  if (signal.aborted) stop();
  const timer = setTimeout(stop, seconds * 1000);
  signal.addEventListener("abort", stop, { once: true });
  try {
    const at = { from: empty.cursor, follow: true, signal: abort.signal, pageBytes: pageBytes(web) };
    for await (const page of exchange.read(at)) {
      const isLost = page.verdict !== undefined && page.verdict.verdict !== "recovered";
      if (page.events.length > 0 || page.ended || isLost) return page;
    }
    return undefined;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

/** A page is the most that a slow reader holds. */
function pageBytes(web: Web, most: number = PAGE_BYTES): number {
  return Math.min(most, web.host.limits.sendBufferBytes);
}

function placeHeaders(verdict: Verdict): Record<string, string> {
  return { "backtalk-verdict": verdict.verdict, "backtalk-cursor": verdict.to };
}

function count(web: Web, { verdict }: Verdict): void {
  web.host.metrics.add("backtalk_resumes_total", `verdict="${verdict}"`, 1);
}
