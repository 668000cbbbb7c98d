/**
 * Records of TLS (RFC 8446 §5.1) and the handshake messages in them that are not encrypted (RFC 8446 §4,
 * RFC 5246 §7.4). Nothing here throws: what is cut or is something else is left out, and said.
 */
import { Cursor } from "./cursor.ts";
import { CONTENT_TYPE, messageName } from "./tls-names.ts";

export type ContentType = keyof typeof CONTENT_TYPE;

const NAMES = new Map<number, ContentType>(
  Object.entries(CONTENT_TYPE).map(([name, type]) => [type, name as ContentType]),
);

/** Type, version and length. */
export const RECORD_HEADER_BYTES = 5;
/** RFC 8446 §5.2: 2^14 and 256 of expansion; TLS 1.2 has 2,048 (RFC 5246 §6.2.3). */
const MOST_RECORD_BYTES = 16_384 + 2_048;

export interface TlsRecord {
  readonly type: ContentType;
  /** The legacy version: 0x0303 since TLS 1.2, 0x0301 in most first records. */
  readonly version: number;
  /** Where it begins. */
  readonly at: number;
  /** After the header, by its own word. */
  readonly length: number;
  /** Fewer bytes than `length` when the end has not come. */
  readonly payload: Uint8Array;
  readonly isWhole: boolean;
}

export interface HandshakeMessage {
  readonly type: number;
  readonly name: string;
  /** Where it begins, with its header of 4 bytes. */
  readonly at: number;
  readonly length: number;
  readonly body: Uint8Array;
  readonly isWhole: boolean;
}

export interface TlsAlert {
  readonly isFatal: boolean;
  readonly description: number;
}

/** Whether bytes can be the begin of a record. */
export function isTls(bytes: Uint8Array): boolean {
  return readRecord(bytes, 0) !== undefined;
}

/** The records of a stream; the last one may be cut. It ends where something else begins, at `end`. */
export function readRecords(bytes: Uint8Array): { readonly records: readonly TlsRecord[]; readonly end: number } {
  const records: TlsRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const record = readRecord(bytes, at);
    if (!record) break;
    records.push(record);
    at += RECORD_HEADER_BYTES + record.payload.length;
  }
  return { records, end: at };
}

function readRecord(bytes: Uint8Array, at: number): TlsRecord | undefined {
  const cursor = new Cursor(bytes, at);
  const type = NAMES.get(cursor.u8());
  const version = cursor.u16();
  const length = cursor.u16();
  if (cursor.isShort || !type || version >> 8 !== 3 || (version & 255) > 4 || length > MOST_RECORD_BYTES) return;
  const payload = bytes.subarray(cursor.at, cursor.at + length);
  return { type, version, at, length, payload, isWhole: payload.length === length };
}

/** Messages in the plain text of handshake records that follow each other (or of CRYPTO frames of QUIC). */
export function readHandshake(bytes: Uint8Array): HandshakeMessage[] {
  const messages: HandshakeMessage[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const cursor = new Cursor(bytes, at);
    const type = cursor.u8();
    const length = cursor.u24();
    const body = bytes.subarray(cursor.at, cursor.at + length);
    messages.push({ type, name: messageName(type), at, length, body, isWhole: body.length === length });
    at = cursor.at + length;
  }
  return messages;
}

/** Undefined when it is encrypted: then it is longer than two bytes. */
export function readAlert({ type, length, payload }: TlsRecord): TlsAlert | undefined {
  if (type !== "alert" || length !== 2 || payload.length !== 2) return undefined;
  return { isFatal: payload[0] === 2, description: payload[1]! };
}
