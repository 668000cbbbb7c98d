/** Items of the caller (PROTOCOL.md §2.7): stored while the body arrives. */
import type { AppendedItems, Exchange } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { bodyReader } from "../../net/body.ts";
import { LineSplitter, LineTooLong, NotUtf8 } from "../../wire/ndjson.ts";
import type { Ask } from "./ask.ts";
import { bodyType, CURL_TYPE, discardBody, JSON_TYPE, NDJSON_TYPE, parseJson, readText } from "./body.ts";
import { attach } from "./state.ts";
import type { Web } from "./web.ts";

/** `POST /calls/{id}/items?seq=N&end=BOOL` */
export async function postItems(web: Web, ask: Ask, id: string): Promise<Response> {
  const { query } = ask;
  const end = query.get("end");
  if (end !== null && end !== "true" && end !== "false") throw bad("end", "must be true or false");
  const seq = query.get("seq");
  if (seq !== null && !/^\d{1,15}$/.test(seq)) throw bad("seq", "must be the number of the first item, from 0");
  const exchange = await attach(web, ask, id);
  ask.server.timeout(ask.request, 0);
  try {
    const appended = await appendBody(web, ask, exchange, seq === null ? undefined : Number(seq), end === "true");
    const body = JSON.stringify({ next: appended.next, cursor: appended.cursor });
    return new Response(body, {
      headers: { "content-type": JSON_TYPE, location: `/calls/${id}`, ...ask.answerHeaders() },
    });
  } finally {
    ask.server.timeout(ask.request, web.idleSeconds);
  }
}

/** Most items that are stored at once. */
const BATCH = 256;

/**
 * Appends what the body brings, as it comes; the next chunk is read when the items of this one are stored.
 * A body that breaks off rejects, and is not the end of the items.
 */
export async function appendBody(
  web: Web,
  ask: Ask,
  exchange: Exchange,
  seq: number | undefined,
  end: boolean,
  stop?: AbortSignal,
  /** The request without a body only opens the call: its items come later. HTTP/3 shows it as an empty body. */
  isOpening = false,
): Promise<AppendedItems> {
  const { limits } = web.host;
  const type = bodyType(ask, [NDJSON_TYPE, JSON_TYPE] as const);
  const said = ask.header("content-type");
  const isUntyped = said === null || said === CURL_TYPE;
  let next = seq;
  let last: AppendedItems | undefined;
  const append = async (items: readonly unknown[], isLast: boolean): Promise<void> => {
    last = await exchange.append({ items, ...(next !== undefined && { seq: next }), ...(isLast && { end: true }) });
    // What was there before is skipped by its number: the next items have the numbers after these.
    next = next === undefined ? last.next : next + items.length;
  };
  if (type === JSON_TYPE && !isUntyped) {
    const text = await readText(ask.request, limits.bodyBytes);
    const items = text === "" ? [] : parseJson(text, limits.jsonDepth, "body");
    if (!Array.isArray(items))
      throw new Fault("invalid_argument", "the body must be an array of items", {
        hint: "this method takes a stream of items: send a JSON array, or an item a line as application/x-ndjson",
      });
    await append(items, end);
    return last!;
  }
  const lines = new LineSplitter(limits.itemBytes);
  const parse = (line: string) => parseJson(line, limits.jsonDepth, "item");
  const reader = bodyReader(ask.request);
  let isEmpty = true;
  const cancel = () => void reader?.cancel().catch(() => {});
  stop?.addEventListener("abort", cancel, { once: true });
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (stop?.aborted) throw stop.reason;
      if (done || !value) break;
      if (value.length > 0) isEmpty = false;
      const items = feed(lines, value, limits.itemBytes).map(parse);
      for (let i = 0; i < items.length; i += BATCH) await append(items.slice(i, i + BATCH), false);
    }
  } catch (thrown) {
    if (reader && !stop?.aborted) await web.within(ask, discardBody(ask.request, reader)).catch(() => {});
    throw thrown;
  } finally {
    stop?.removeEventListener("abort", cancel);
  }
  if (isOpening && isEmpty && isUntyped) return exchange.append({ items: [] });
  const rest = lines.end();
  if (rest !== undefined || end || last === undefined) await append(rest === undefined ? [] : [parse(rest)], end);
  return last!;
}

function feed(lines: LineSplitter, chunk: Uint8Array, itemBytes: number): string[] {
  try {
    return lines.feed(chunk);
  } catch (error) {
    if (error instanceof LineTooLong) {
      throw new Fault("resource_exhausted", `an item has more than ${itemBytes} bytes`, {
        limit: "itemBytes",
        retryable: false,
        hint: "send smaller items, or raise the limit itemBytes of the server",
      });
    }
    if (error instanceof NotUtf8) throw new Fault("invalid_argument", "an item is not UTF-8");
    throw error;
  }
}

function bad(name: string, message: string): Fault {
  return new Fault("invalid_argument", `the query is not valid: ${name} ${message}`, {
    fields: [{ path: name, message }],
  });
}
