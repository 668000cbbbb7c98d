/**
 * The datagrams of UDP (PROTOCOL.md §6.1): `B7 01 type tokenLength id(8) token JSON`. Pure: bytes in, values out.
 * What is not of this form is `undefined`, for it is to be dropped in silence.
 */

export const DATAGRAM = { ask: 0x01, stop: 0x02, result: 0x81, fault: 0x82, retry: 0x83, running: 0x84 } as const;
export type DatagramType = (typeof DATAGRAM)[keyof typeof DATAGRAM];

export interface Datagram {
  readonly type: DatagramType;
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly token: Uint8Array;
  /** UTF-8 JSON that nobody has looked at yet; may be empty. */
  readonly body: Uint8Array;
}

export const HEADER_BYTES = 12;
/** Most bytes of a token that a server gives: a question leaves room for it. */
export const TOKEN_BYTES = 32;

const MAGIC = 0xb7;
const VERSION = 1;
const TYPES: ReadonlySet<number> = new Set(Object.values(DATAGRAM));
const NOTHING = new Uint8Array(0);

export function parseDatagram(bytes: Uint8Array): Datagram | undefined {
  if (bytes.length < HEADER_BYTES || bytes[0] !== MAGIC || bytes[1] !== VERSION) return undefined;
  const type = bytes[2]!;
  const bodyAt = HEADER_BYTES + bytes[3]!;
  if (!TYPES.has(type) || bodyAt > bytes.length) return undefined;
  let id = "";
  for (let i = 4; i < HEADER_BYTES; i++) id += HEX[bytes[i]!];
  return {
    type: type as DatagramType,
    id,
    token: bytes.subarray(HEADER_BYTES, bodyAt),
    body: bytes.subarray(bodyAt),
  };
}

/** `id` has 16 hexadecimal digits, `token` at most 255 bytes. */
export function encodeDatagram(
  type: DatagramType,
  id: string,
  body: Uint8Array = NOTHING,
  token: Uint8Array = NOTHING,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + token.length + body.length);
  bytes[0] = MAGIC;
  bytes[1] = VERSION;
  bytes[2] = type;
  bytes[3] = token.length;
  for (let i = 0; i < 8; i++) bytes[4 + i] = Number.parseInt(id.slice(2 * i, 2 * i + 2), 16);
  bytes.set(token, HEADER_BYTES);
  bytes.set(body, HEADER_BYTES + token.length);
  return bytes;
}

/** The object of a body, or undefined when it is none, or no UTF-8 JSON. Without bytes it is empty. */
export function bodyObject(body: Uint8Array): Record<string, unknown> | undefined {
  if (body.length === 0) return {};
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

export function jsonBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
