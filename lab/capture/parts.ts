/** What a stream of bytes is made of: frames, messages and records, nested as they are in each other. */
import { latin1 } from "../../src/wire/packet/cursor.ts";
import { type HeaderField, HpackReader } from "../../src/wire/packet/hpack.ts";
import {
  content,
  FLAG,
  FRAME_HEADER_BYTES,
  type Http2Frame,
  isPreface,
  numberOf,
  PREFACE,
  readHttp2,
  readSettings,
} from "../../src/wire/packet/http2.ts";
import { readWebSocket } from "../../src/wire/packet/websocket.ts";
import type { LayerName } from "./ladder.ts";

export interface Part {
  /** In the stream of its side. */
  readonly from: number;
  readonly to: number;
  readonly layer: LayerName;
  readonly label: string;
  readonly kind: "handshake" | "data" | "close";
  /** Bytes at its begin and its end that are the layer's own; what is between is its content. */
  readonly head: number;
  readonly tail: number;
  /** What the content is in turn: `at` is where it begins in the stream of those parts. */
  readonly inner?: { readonly at: number; readonly parts: readonly Part[] };
  readonly isEarly?: boolean;
}

export interface Sides<T> {
  readonly client: T;
  readonly server: T;
}

/** The parts of both directions of a stream that is not encrypted. */
export function plainParts(client: Uint8Array, server: Uint8Array): Sides<readonly Part[]> {
  if (isPreface(client)) return { client: http2Parts(client), server: http2Parts(server) };
  if (/^[A-Z]+ \S+ HTTP\/1\.[01]\r\n/.test(start(client)) || /^HTTP\/1\.[01] \d/.test(start(server))) {
    const isUpgraded = /^HTTP\/1\.1 101 /.test(start(server));
    return { client: http1Parts(client, isUpgraded), server: http1Parts(server, isUpgraded) };
  }
  return { client: dataParts(client), server: dataParts(server) };
}

/** One part that says nothing but its size. */
function dataParts(bytes: Uint8Array): Part[] {
  return bytes.length === 0 ? [] : [part("data", 0, bytes.length, "data", 0)];
}

function http1Parts(bytes: Uint8Array, isUpgraded: boolean): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = headLength(bytes, at);
    if (length === undefined) {
      parts.push(part("HTTP/1.1", at, bytes.length, "head of a message", bytes.length - at));
      break;
    }
    const head = latin1(bytes.subarray(at, at + length));
    parts.push(part("HTTP/1.1", at, at + length, head.slice(0, head.indexOf("\r\n")), length));
    at += length;
    if (isUpgraded) {
      parts.push(...webSocketParts(bytes, at));
      break;
    }
    const end = bodyEnd(bytes, at, head, parts);
    if (end > at) parts.push(part("HTTP/1.1", at, end, `body ${size(end - at)}`, 0));
    at = Math.max(at, end, parts.at(-1)!.to);
  }
  return parts;
}

function headLength(bytes: Uint8Array, at: number): number | undefined {
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf("\r\n\r\n", at);
  return end < 0 ? undefined : end + 4 - at;
}

/** Where the body ends (RFC 9112 §6.3); of a chunked one the pieces are put into `parts`, and nothing is left of it. */
function bodyEnd(bytes: Uint8Array, at: number, head: string, parts: Part[]): number {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (/\r\ntransfer-encoding:[^\r]*chunked/i.test(head)) {
    for (let next = at; next < bytes.length; ) {
      const line = /^([0-9a-f]{1,8})[^\r\n]*\r\n/i.exec(latin1(bytes.subarray(next, next + 64)));
      if (!line) break;
      const data = Number.parseInt(line[1]!, 16);
      const dataEnd = next + line[0].length + data;
      const to = Math.min(bytes.length, dataEnd + 2);
      const label = data === 0 ? "last chunk" : `chunk ${size(data)}`;
      parts.push({ ...part("HTTP/1.1", next, to, label, line[0].length), tail: Math.max(0, to - dataEnd) });
      next = to;
      if (data === 0) break;
    }
    return at;
  }
  if (length !== undefined) return Math.min(bytes.length, at + Number(length));
  // A request without a length has no body; a response goes on to the end, where it may have one.
  return /^HTTP\/1\.[01] (?!1|204|304)/.test(head) ? bytes.length : at;
}

function webSocketParts(bytes: Uint8Array, at: number): Part[] {
  return readWebSocket(bytes, at).map((frame) => {
    const to = frame.at + frame.headerBytes + frame.payload.length;
    const label = `WebSocket ${frame.name} ${size(frame.length)}${frame.mask ? ", masked" : ""}`;
    const isClose = frame.name === "close";
    return { ...part("WebSocket", frame.at, to, label, frame.headerBytes), ...(isClose && { kind: "close" as const }) };
  });
}

function http2Parts(bytes: Uint8Array): Part[] {
  const parts: Part[] = [];
  if (isPreface(bytes)) parts.push(part("HTTP/2", 0, PREFACE.length, "HTTP/2 preface", PREFACE.length));
  for (const { frame, fields } of http2Frames(bytes)) {
    const to = frame.at + FRAME_HEADER_BYTES + frame.payload.length;
    const head = frame.name === "DATA" ? FRAME_HEADER_BYTES : to - frame.at;
    parts.push({
      ...part("HTTP/2", frame.at, to, http2Label(frame, fields), Math.min(head, to - frame.at)),
      ...(frame.name === "GOAWAY" && { kind: "close" }),
    });
  }
  return parts;
}

export interface Http2FrameWithFields {
  readonly frame: Http2Frame;
  /** Of HEADERS, those of its CONTINUATIONs with it; undefined when they cannot be read. */
  readonly fields: readonly HeaderField[] | undefined;
}

/** All frames of one direction, with what HPACK says. */
export function http2Frames(bytes: Uint8Array): Http2FrameWithFields[] {
  const reader = new HpackReader();
  const frames = readHttp2(bytes);
  return frames.map((frame, index) => {
    if (frame.name !== "HEADERS" || !frame.isWhole) return { frame, fields: undefined };
    const blocks = [content(frame) ?? new Uint8Array(0)];
    // RFC 9113 §4.3: nothing comes between a block and its continuations.
    for (let n = index, flags = frame.flags; (flags & FLAG.END_HEADERS) === 0 && frames[n + 1]; n++) {
      blocks.push(frames[n + 1]!.payload);
      flags = frames[n + 1]!.flags;
    }
    return { frame, fields: reader.read(Buffer.concat(blocks)) };
  });
}

function http2Label(frame: Http2Frame, fields: readonly HeaderField[] | undefined): string {
  const { name, stream, flags, length } = frame;
  const on = stream === 0 ? "" : ` stream ${stream}`;
  switch (name) {
    case "SETTINGS":
      return flags & FLAG.ACK ? "SETTINGS ack" : `SETTINGS (${readSettings(frame)?.length ?? 0})`;
    case "HEADERS":
      return `HEADERS${on}${summary(fields)}`;
    case "DATA":
      return `DATA${on} ${size(length)}`;
    case "WINDOW_UPDATE":
      return `WINDOW_UPDATE${on} +${(numberOf(frame) ?? 0).toLocaleString("en")}`;
    case "PING":
      return flags & FLAG.ACK ? "PING ack" : "PING";
    default:
      return `${name}${on}`;
  }
}

/** What a message is about: ` POST /notes`, ` 200`. */
export function summary(fields: readonly HeaderField[] | undefined): string {
  const value = (name: string) => fields?.find((field) => field.name === name)?.value;
  const [method, path, status] = [value(":method"), value(":path"), value(":status")];
  if (method !== undefined) return ` ${method} ${path ?? ""}`.trimEnd();
  return status === undefined ? "" : ` ${status}`;
}

export const size = (bytes: number) => `${bytes.toLocaleString("en")} B`;

function part(layer: LayerName, from: number, to: number, label: string, head: number): Part {
  return { from, to, layer, label, kind: "data", head, tail: 0 };
}

const start = (bytes: Uint8Array) => latin1(bytes.subarray(0, 2_048));

/** Those that have bytes in a piece of the stream. */
export function partsIn(parts: readonly Part[], from: number, to: number): Part[] {
  // They follow each other: a long stream has many, and is asked for each of its packets.
  let [low, high] = [0, parts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (parts[middle]!.to <= from) low = middle + 1;
    else high = middle;
  }
  const found: Part[] = [];
  for (let index = low; index < parts.length && parts[index]!.from < to; index++) {
    if (parts[index]!.to > from) found.push(parts[index]!);
  }
  return to > from ? found : [];
}

/** Bytes of each layer in the piece of a stream from `from` to `to`. */
export function measure(parts: readonly Part[], from: number, to: number, into: Map<LayerName, number>): void {
  const add = (layer: LayerName, bytes: number) => {
    if (bytes > 0) into.set(layer, (into.get(layer) ?? 0) + bytes);
  };
  let covered = 0;
  for (const each of partsIn(parts, from, to)) {
    const [a, b] = [Math.max(from, each.from), Math.min(to, each.to)];
    covered += b - a;
    const [begin, end] = [each.from + each.head, each.to - each.tail];
    const [x, y] = [Math.max(a, begin), Math.min(b, end)];
    const within = Math.max(0, y - x);
    add(each.layer, b - a - within);
    if (within === 0) continue;
    const { inner } = each;
    if (inner) measure(inner.parts, inner.at + x - begin, inner.at + y - begin, into);
    else add("data", within);
  }
  add("data", to - from - covered);
}

/** What begins in the piece of a stream, innermost; or what only goes on there. */
export function labelsIn(parts: readonly Part[], from: number, to: number): string[] {
  const labels: string[] = [];
  let before: Part | undefined;
  for (const each of partsIn(parts, from, to)) {
    if (each.from < from) {
      before = each;
      continue;
    }
    const { inner } = each;
    const [begin, end] = inner ? [inner.at, inner.at + each.to - each.tail - each.from - each.head] : [0, 0];
    labels.push(...(inner && end > begin ? labelsIn(inner.parts, begin, end) : [each.label]));
  }
  if (labels.length === 0 && before) labels.push(`${shortLabel(before)}, continued`);
  return labels;
}

function shortLabel({ label, layer }: Part): string {
  return layer === "TLS" ? label.replace(/ (SNI|ALPN)=.*$| [\d,]+ B$/, "") : label;
}
