/** Pages of events as text: SSE, NDJSON and one JSON value (PROTOCOL.md §2.5, §2.6). */
import type { FaultJson, LogEvent, Page, Verdict } from "../../log/index.ts";
import { encodeSse, SSE_COMMENT } from "../../wire/sse.ts";

/** `fault` when reading failed. */
export interface Close {
  readonly reason: string;
  readonly retryAfterMs: number;
  readonly fault?: FaultJson;
}

export interface Format {
  readonly type: string;
  /** Of the metrics. */
  readonly label: string;
  readonly preamble: (retryMs: number) => string;
  readonly verdict: (verdict: Verdict) => string;
  readonly event: (event: LogEvent) => string;
  readonly close: (close: Close) => string;
  readonly heartbeat: string;
}

export const SSE: Format = {
  type: "text/event-stream",
  label: 'transport="sse"',
  preamble: (retryMs) => `retry: ${retryMs}\n\n`,
  verdict: (verdict) => encodeSse({ id: verdict.to, event: "verdict", data: verdictJson(verdict) }),
  event: ({ cursor, kind, json }) => `id: ${cursor}\nevent: ${kind}\ndata: ${flat(json)}\n\n`,
  close: (close) => encodeSse({ event: "close", data: JSON.stringify(close) }),
  heartbeat: SSE_COMMENT,
};

export const NDJSON: Format = {
  type: "application/x-ndjson",
  label: 'transport="ndjson"',
  preamble: () => "",
  verdict: (verdict) => `${verdictJson(verdict)}\n`,
  event: (event) => `${eventJson(event)}\n`,
  close: (close) => `${JSON.stringify({ close })}\n`,
  heartbeat: "\n",
};

/** A page that many readers get is encoded once. Pages are never changed, and are forgotten with their last reader. */
export class PageCache {
  readonly #bytes = new Map<Format, WeakMap<Page, Uint8Array>>([
    [SSE, new WeakMap()],
    [NDJSON, new WeakMap()],
  ]);

  /** A page with a verdict is one reader's own: text. Any other may be shared: bytes. */
  encode(format: Format, page: Page): Uint8Array | string {
    if (page.verdict) return textOf(format, page);
    const cache = this.#bytes.get(format)!;
    const known = cache.get(page);
    if (known) return known;
    const bytes = UTF8.encode(textOf(format, page));
    cache.set(page, bytes);
    return bytes;
  }
}

const UTF8 = new TextEncoder();

function textOf(format: Format, page: Page): string {
  let text = page.verdict ? format.verdict(page.verdict) : "";
  for (const event of page.events) text += format.event(event);
  return text;
}

/** `verdict` is that of the reading: the page itself may be a later one. */
export function pageJson(page: Page, verdict: Verdict): string {
  const events = page.events.map(eventJson).join(",");
  return `{"verdict":${verdictJson(verdict)},"events":[${events}],"cursor":"${page.cursor}","more":${page.more},"ended":${page.ended}}`;
}

function eventJson({ cursor, kind, at, json }: LogEvent): string {
  return `{"cursor":"${cursor}","kind":"${kind}","at":${at},"data":${flat(json)}}`;
}

export function verdictJson({ verdict, from, to, state }: Verdict): string {
  const rest = state === undefined ? "" : `,"state":${flat(state)}`;
  return `{"verdict":"${verdict}","from":${JSON.stringify(from)},"to":"${to}"${rest}}`;
}

/** Between the tokens of JSON a line end is only white space; in NDJSON it would be the end of the line. */
function flat(json: string): string {
  return LINE_ENDS.test(json) ? json.replace(/[\r\n]+/g, " ") : json;
}

const LINE_ENDS = /[\r\n]/;
