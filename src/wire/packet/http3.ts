/** Streams and frames of HTTP/3 (RFC 9114 §6.2, §7), out of what QUIC has put together. Nothing here throws. */
import { Cursor } from "./cursor.ts";

const FRAMES: Readonly<Record<number, string>> = {
  0: "DATA",
  1: "HEADERS",
  3: "CANCEL_PUSH",
  4: "SETTINGS",
  5: "PUSH_PROMISE",
  7: "GOAWAY",
  13: "MAX_PUSH_ID",
  984832: "PRIORITY_UPDATE",
  984833: "PRIORITY_UPDATE",
};

/** RFC 9114 §6.2, RFC 9204 §4.2 */
const STREAMS: Readonly<Record<number, string>> = {
  0: "control",
  1: "push",
  2: "QPACK encoder",
  3: "QPACK decoder",
};

/** RFC 9114 §7.2.4.1, RFC 9204 §5, RFC 9220 §5, RFC 9297 §2.1.1 */
const SETTINGS: Readonly<Record<number, string>> = {
  1: "QPACK_MAX_TABLE_CAPACITY",
  6: "MAX_FIELD_SECTION_SIZE",
  7: "QPACK_BLOCKED_STREAMS",
  8: "ENABLE_CONNECT_PROTOCOL",
  51: "H3_DATAGRAM",
};

export interface Http3Frame {
  readonly type: number;
  /** `reserved` for those that mean nothing (RFC 9114 §7.2.8). */
  readonly name: string;
  readonly at: number;
  readonly headerBytes: number;
  readonly length: number;
  readonly payload: Uint8Array;
  readonly isWhole: boolean;
}

export interface Http3Stream {
  /** `request`, `control`, `QPACK encoder`, `QPACK decoder`, `push`, `reserved`. */
  readonly kind: string;
  /** Of requests and control; the others have instructions instead of frames. */
  readonly frames: readonly Http3Frame[];
}

/** RFC 9000 §2.1: what the two lowest bits of the number of a stream say. */
export function isBidirectional(stream: number): boolean {
  return stream % 4 < 2;
}

/** What one side has sent on a stream, from its begin. */
export function readHttp3(stream: number, bytes: Uint8Array): Http3Stream {
  if (isBidirectional(stream)) return { kind: "request", frames: readHttp3Frames(bytes) };
  const cursor = new Cursor(bytes);
  const type = cursor.varint();
  if (cursor.isShort) return { kind: "unknown", frames: [] };
  const kind = STREAMS[type] ?? (isReserved(type) ? "reserved" : "unknown");
  return { kind, frames: kind === "control" ? readHttp3Frames(bytes, cursor.at) : [] };
}

/** The last one may be cut. */
export function readHttp3Frames(bytes: Uint8Array, at = 0): Http3Frame[] {
  const frames: Http3Frame[] = [];
  while (at < bytes.length) {
    const cursor = new Cursor(bytes, at);
    const type = cursor.varint();
    const length = cursor.varint();
    if (cursor.isShort) break;
    const name = FRAMES[type] ?? (isReserved(type) ? "reserved" : "unknown");
    const payload = bytes.subarray(cursor.at, cursor.at + length);
    const isWhole = payload.length === length;
    frames.push({ type, name, at, headerBytes: cursor.at - at, length, payload, isWhole });
    at = cursor.at + length;
  }
  return frames;
}

/** Those that are reserved are left out. */
export function readHttp3Settings({
  name,
  payload,
  isWhole,
}: Http3Frame): { name: string; value: number }[] | undefined {
  if (name !== "SETTINGS" || !isWhole) return undefined;
  const cursor = new Cursor(payload);
  const settings: { name: string; value: number }[] = [];
  while (cursor.left > 0) {
    const id = cursor.varint();
    const value = cursor.varint();
    if (!cursor.isShort && !isReserved(id)) settings.push({ name: SETTINGS[id] ?? `setting ${id}`, value });
  }
  return settings;
}

function isReserved(type: number): boolean {
  return type >= 0x21 && (type - 0x21) % 0x1f === 0;
}
