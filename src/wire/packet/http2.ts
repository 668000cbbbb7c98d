/** Frames of HTTP/2 (RFC 9113 §4.1, §6) and the preface of a client (§3.4). Nothing here throws. */
import { Cursor, latin1 } from "./cursor.ts";

export const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
export const FRAME_HEADER_BYTES = 9;

const TYPES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
] as const;
export type Http2FrameName = (typeof TYPES)[number] | "PRIORITY_UPDATE" | "unknown";

export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

/** RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1 */
const SETTINGS: Readonly<Record<number, string>> = {
  1: "HEADER_TABLE_SIZE",
  2: "ENABLE_PUSH",
  3: "MAX_CONCURRENT_STREAMS",
  4: "INITIAL_WINDOW_SIZE",
  5: "MAX_FRAME_SIZE",
  6: "MAX_HEADER_LIST_SIZE",
  8: "ENABLE_CONNECT_PROTOCOL",
  9: "NO_RFC7540_PRIORITIES",
};

export interface Http2Frame {
  readonly type: number;
  readonly name: Http2FrameName;
  readonly flags: number;
  readonly stream: number;
  /** Where it begins. */
  readonly at: number;
  /** After the header of 9 bytes, by its own word. */
  readonly length: number;
  /** Fewer bytes than `length` when the end has not come. */
  readonly payload: Uint8Array;
  readonly isWhole: boolean;
}

export function isPreface(bytes: Uint8Array): boolean {
  return bytes.length >= PREFACE.length && latin1(bytes.subarray(0, PREFACE.length)) === PREFACE;
}

/** The frames of one direction, after the preface where `at` says so; the last one may be cut. */
export function readHttp2(bytes: Uint8Array, at = isPreface(bytes) ? PREFACE.length : 0): Http2Frame[] {
  const frames: Http2Frame[] = [];
  while (at + FRAME_HEADER_BYTES <= bytes.length) {
    const cursor = new Cursor(bytes, at);
    const length = cursor.u24();
    const type = cursor.u8();
    const flags = cursor.u8();
    // RFC 9113 §4.1: the first bit means nothing.
    const stream = cursor.u32() % 2 ** 31;
    const payload = bytes.subarray(cursor.at, cursor.at + length);
    const name = TYPES[type] ?? (type === 0x10 ? "PRIORITY_UPDATE" : "unknown");
    frames.push({ type, name, flags, stream, at, length, payload, isWhole: payload.length === length });
    at = cursor.at + length;
  }
  return frames;
}

/** What DATA and HEADERS carry, without padding and priority (RFC 9113 §6.1, §6.2); undefined when these do not fit. */
export function content({ name, flags, payload }: Http2Frame): Uint8Array | undefined {
  const cursor = new Cursor(payload);
  const padding = flags & FLAG.PADDED && name !== "CONTINUATION" ? cursor.u8() : 0;
  if (name === "HEADERS" && flags & FLAG.PRIORITY) cursor.take(5);
  if (name === "PUSH_PROMISE") cursor.take(4);
  const bytes = cursor.take(Math.max(0, cursor.left - padding));
  return cursor.isShort || padding > cursor.left ? undefined : bytes;
}

/** In their order; undefined for what is no SETTINGS or cut. */
export function readSettings({ name, payload, isWhole }: Http2Frame): { name: string; value: number }[] | undefined {
  if (name !== "SETTINGS" || !isWhole || payload.length % 6 !== 0) return undefined;
  const cursor = new Cursor(payload);
  const settings: { name: string; value: number }[] = [];
  while (cursor.left > 0) {
    const id = cursor.u16();
    settings.push({ name: SETTINGS[id] ?? `setting ${id}`, value: cursor.u32() });
  }
  return settings;
}

/** Of WINDOW_UPDATE the increment, of RST_STREAM and GOAWAY the code of the error (RFC 9113 §7). */
export function numberOf({ name, payload }: Http2Frame): number | undefined {
  const cursor = new Cursor(payload);
  if (name === "GOAWAY") cursor.take(4);
  else if (name !== "WINDOW_UPDATE" && name !== "RST_STREAM") return undefined;
  const number = cursor.u32();
  if (cursor.isShort) return undefined;
  return name === "WINDOW_UPDATE" ? number % 2 ** 31 : number;
}
