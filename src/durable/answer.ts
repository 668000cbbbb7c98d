/** What the answers of Durable Streams look like: their fields, their bodies, and how caches may keep them. */
import { bytesIn, joinMessages } from "./content.ts";
import type { Chunk, Head, Source } from "./source.ts";

/** Fields that any answer has (§12.7): what a client has written must not run as a page of this server. */
export const SAFE: Readonly<Record<string, string>> = Object.freeze({
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy": "sandbox; default-src 'none'",
});

/** The body of an answer: all messages in one array, or all bytes. */
export function bodyOf(source: Source, chunk: Pick<Chunk, "items">): string | Uint8Array<ArrayBuffer> {
  if (source.mode === "json") return source.isBatched ? joinMessages(chunk.items) : `[${chunk.items.join(",")}]`;
  return Buffer.concat(chunk.items.map(bytesIn));
}

/** Where a reader is, and whether there is more (§5.6). */
export function placeFields({ next, upToDate, closed }: Omit<Chunk, "items">): Record<string, string> {
  return {
    "stream-next-offset": next,
    ...(upToDate && { "stream-up-to-date": "true" }),
    ...(closed && { "stream-closed": "true" }),
  };
}

export function headFields(source: Source, { next, closed, expiry }: Head): Record<string, string> {
  return {
    ...SAFE,
    "content-type": source.contentType,
    "stream-next-offset": next,
    ...(closed && { "stream-closed": "true" }),
    ...(expiry.ttl !== undefined && { "stream-ttl": String(expiry.ttl) }),
    ...(expiry.expiresAt !== undefined && { "stream-expires-at": new Date(expiry.expiresAt).toISOString() }),
  };
}

/** Types that a browser shows as what they are, and nothing of them runs. */
const SHOWN = new Set(["application/json", "text/plain"]);

export function contentFields(source: Source): Record<string, string> {
  const type = source.contentType.split(";", 1)[0]!.trim().toLowerCase();
  return {
    ...SAFE,
    "content-type": source.contentType,
    ...(!SHOWN.has(type) && { "content-disposition": "attachment" }),
  };
}

/**
 * §10.1: what lies before the end never changes and may be kept for a minute; at the end is asked each time, so
 * that whoever has just written sees it.
 */
export function cacheControl(isPublic: boolean, isWhole: boolean): string {
  const who = isPublic ? "public" : "private";
  return isWhole ? `${who}, max-age=60, stale-while-revalidate=300` : `${who}, no-cache`;
}

/** The end counts: a reader that has all the data must still hear that no more comes. */
export function etagOf(source: Source, offset: string, { next, upToDate, closed }: Omit<Chunk, "items">): string {
  return `${source.tag}:${offset}:${next}${closed ? ":c" : upToDate ? "" : ":m"}`;
}

/** Since 2024-10-09 (§10.1), in intervals of 20 s. */
const CURSOR_EPOCH = Date.UTC(2024, 9, 9);
const CURSOR_MS = 20_000;

/** `Stream-Cursor`: the number of the interval, and always more than what the client has shown. */
export function streamCursor(now: number, shown: string | undefined, random: () => number): string {
  const interval = Math.max(0, Math.floor((now - CURSOR_EPOCH) / CURSOR_MS));
  const before = shown !== undefined && /^\d{1,15}$/.test(shown) ? Number(shown) : -1;
  if (before < interval) return String(interval);
  // 1 to 3600 s of jitter.
  return String(before + Math.max(1, Math.ceil(((1 + random() * 3599) * 1000) / CURSOR_MS)));
}
