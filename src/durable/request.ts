/** Reads what a request of Durable Streams says (§5); nothing here knows what it is for. */
import type { Principal } from "../contract/index.ts";
import { bodyReader } from "../net/body.ts";
import { bad, Refusal } from "./refusal.ts";
import type { Producer } from "./writers.ts";

/** Who asks, and how. */
export interface Asking {
  readonly request: Request;
  readonly principal: Principal;
  /** Of the other side, without its port. */
  readonly address: string | undefined;
}

/** The query of a reading (§5.6 to §5.8). */
export interface Wanted {
  /** `-1`, `now`, or an offset; `-1` when nothing is said. */
  readonly offset: string;
  readonly live: "long-poll" | "sse" | undefined;
  readonly cursor: string | undefined;
}

/** @throws Refusal 400 */
export function wantedOf(url: string): Wanted {
  const at = url.indexOf("?");
  const query = new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
  const offsets = query.getAll("offset");
  const live = query.get("live") ?? undefined;
  if (offsets.length > 1) throw bad("the offset is given twice");
  if (live !== undefined && live !== "long-poll" && live !== "sse") throw bad("live is long-poll or sse");
  if (live !== undefined && offsets.length === 0)
    throw bad("a live reading needs an offset", "add offset=-1 or offset=now");
  const offset = offsets[0] ?? "-1";
  if (offset !== "-1" && !OFFSET.test(offset))
    throw bad("not an offset", "take it from Stream-Next-Offset as it is, or use -1 or now");
  return { offset, live, cursor: query.get("cursor") ?? undefined };
}

/** §8: no `,`, `&`, `=`, `?` or `/`; ours have less. */
const OFFSET = /^[0-9A-Za-z_-]{1,128}$/;

/** @throws Refusal 400 when only some of the three are there, or one is not what it should be */
export function producerOf(headers: Headers): Producer | undefined {
  const id = headers.get("producer-id");
  const epoch = headers.get("producer-epoch");
  const seq = headers.get("producer-seq");
  if (id === null && epoch === null && seq === null) return undefined;
  if (id === null || epoch === null || seq === null) {
    throw bad("Producer-Id, Producer-Epoch and Producer-Seq are given together");
  }
  if (id === "" || id.length > PRODUCER_ID) throw bad(`Producer-Id has 1 to ${PRODUCER_ID} characters`);
  return { id, epoch: whole("Producer-Epoch", epoch), seq: whole("Producer-Seq", seq) };
}

/** With an epoch and a number it must fit into an idempotency key of 255 characters. */
const PRODUCER_ID = 200;

function whole(name: string, text: string): number {
  const value = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(value)) return value;
  throw bad(`${name} is a whole number from 0 to 2^53 - 1`);
}

/** §4.1: only `true` counts, anything else is as if it were not there. */
export function saysClosed(headers: Headers): boolean {
  return headers.get("stream-closed")?.toLowerCase() === "true";
}

export function seqOf(headers: Headers): string | undefined {
  const seq = headers.get("stream-seq") ?? undefined;
  if (seq !== undefined && seq.length > 255) throw bad("Stream-Seq has more than 255 characters");
  return seq;
}

/** The media type without its parameters, in small letters. @throws Refusal 400 */
export function mediaType(contentType: string): string {
  const type = contentType.split(";", 1)[0]!.trim().toLowerCase();
  if (/^[a-z0-9!#$&^_.+-]{1,100}\/[a-z0-9!#$&^_.+-]{1,100}$/.test(type) && contentType.length <= 255) return type;
  throw bad("Content-Type is not a media type");
}

export interface Expiry {
  /** Seconds without a reading or writing (§5.1). */
  readonly ttl?: number;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
}

/** @throws Refusal 400 */
export function expiryOf(headers: Headers): Expiry {
  const ttl = headers.get("stream-ttl");
  const expires = headers.get("stream-expires-at");
  if (ttl !== null && expires !== null) throw bad("Stream-TTL and Stream-Expires-At exclude each other");
  if (ttl !== null) {
    if (!/^(0|[1-9]\d{0,11})$/.test(ttl)) throw bad("Stream-TTL is a whole number of seconds");
    return { ttl: Number(ttl) };
  }
  if (expires === null) return {};
  const expiresAt = RFC3339.test(expires) ? Date.parse(expires) : Number.NaN;
  if (Number.isNaN(expiresAt)) throw bad("Stream-Expires-At is a time as in RFC 3339, such as 2030-01-31T12:00:00Z");
  return { expiresAt };
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

export interface ForkWanted {
  /** A path on this server. */
  readonly from: string;
  readonly offset: string | undefined;
  /** Bytes, or messages of JSON, beyond the offset. */
  readonly sub: number;
}

/** @throws Refusal 400 */
export function forkOf(headers: Headers): ForkWanted | undefined {
  const from = headers.get("stream-forked-from");
  const offset = headers.get("stream-fork-offset") ?? undefined;
  const sub = headers.get("stream-fork-sub-offset");
  if (from === null) {
    if (offset === undefined && sub === null) return undefined;
    throw bad("Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From");
  }
  if (sub !== null && !/^(0|[1-9]\d{0,14})$/.test(sub)) throw bad("Stream-Fork-Sub-Offset is a whole number");
  return { from, offset, sub: sub === null ? 0 : Number(sub) };
}

/**
 * The whole body. It is read before anything is refused: an answer that comes before the end of its request is
 * lost to clients that still send (over HTTP/2 the stream is reset). So what is too large is read on for a while,
 * and thrown away.
 * @throws Refusal 413 and 408
 */
export async function readBody(request: Request, maxBytes: number, maxMs: number): Promise<Uint8Array> {
  const length = Number(request.headers.get("content-length"));
  if (length > maxBytes + DISCARDED) throw tooLarge(maxBytes, true);
  const reader = bodyReader(request);
  if (!reader) return new Uint8Array();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow(maxMs)), maxMs);
  });
  late.catch(() => {});
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done || !value) break;
      bytes += value.length;
      if (bytes > maxBytes + DISCARDED) throw tooLarge(maxBytes, true);
      if (bytes > maxBytes) chunks.length = 0;
      else chunks.push(value);
    }
  } catch (thrown) {
    reader.cancel().catch(() => {});
    throw thrown;
  } finally {
    clearTimeout(timer);
  }
  if (bytes > maxBytes) throw tooLarge(maxBytes, false);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

const DISCARDED = 32 * 1024 * 1024;

/** @param isUnread Bun reads on in a body that nobody wants until the connection closes. */
function tooLarge(maxBytes: number, isUnread: boolean): Refusal {
  const message = `the body has more than ${maxBytes} bytes`;
  const hint = "send less in one request, or raise the limit bodyBytes of the server";
  const options = { limit: "bodyBytes", retryable: false, hint };
  return new Refusal(413, "resource_exhausted", message, options, isUnread ? { connection: "close" } : {});
}

function tooSlow(maxMs: number): Refusal {
  return new Refusal(
    408,
    "deadline_exceeded",
    `the body did not arrive within ${maxMs} ms`,
    { limit: "bodyMs" },
    { connection: "close" },
  );
}
