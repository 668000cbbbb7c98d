/** Frames of QUIC (RFC 9000 §19, RFC 9221 §4) in the payload of a packet that was decrypted. Nothing here throws. */
import { Cursor } from "./cursor.ts";

export interface QuicFrame {
  readonly type: number;
  readonly name: string;
  /** Where it begins in the payload, and all of its bytes; of PADDING the whole run. */
  readonly at: number;
  readonly size: number;
  /** Of STREAM, RESET_STREAM, STOP_SENDING and MAX_STREAM_DATA. */
  readonly stream?: number;
  /** Of CRYPTO and STREAM: where `data` belongs in its stream. */
  readonly offset?: number;
  /** Of CRYPTO, STREAM, DATAGRAM, and the token of NEW_TOKEN. */
  readonly data?: Uint8Array;
  readonly isLast?: boolean;
  /** Of ACK: the largest number that it acknowledges. */
  readonly largest?: number;
  /** Of CONNECTION_CLOSE and RESET_STREAM. */
  readonly errorCode?: number;
  /** Of MAX_DATA and its like. */
  readonly limit?: number;
}

/** Undefined when a frame is cut or not known: nothing after it could be trusted either (RFC 9000 §12.4). */
export function readFrames(payload: Uint8Array): QuicFrame[] | undefined {
  const cursor = new Cursor(payload);
  const frames: QuicFrame[] = [];
  while (cursor.left > 0) {
    const at = cursor.at;
    const type = cursor.varint();
    const read = readFrame(type, cursor);
    if (!read || cursor.isShort) return undefined;
    frames.push({ type, at, size: cursor.at - at, ...read });
  }
  return frames;
}

type Read = Omit<QuicFrame, "type" | "at" | "size">;

/** Those that are a few numbers and nothing more. */
const PLAIN: Readonly<Record<number, readonly [name: string, ...fields: ("stream" | "errorCode" | "limit" | "_")[]]>> =
  {
    1: ["PING"],
    4: ["RESET_STREAM", "stream", "errorCode", "_"],
    5: ["STOP_SENDING", "stream", "errorCode"],
    16: ["MAX_DATA", "limit"],
    17: ["MAX_STREAM_DATA", "stream", "limit"],
    18: ["MAX_STREAMS", "limit"],
    19: ["MAX_STREAMS", "limit"],
    20: ["DATA_BLOCKED", "limit"],
    21: ["STREAM_DATA_BLOCKED", "stream", "limit"],
    22: ["STREAMS_BLOCKED", "limit"],
    23: ["STREAMS_BLOCKED", "limit"],
    25: ["RETIRE_CONNECTION_ID", "_"],
    30: ["HANDSHAKE_DONE"],
  };

function readFrame(type: number, cursor: Cursor): Read | undefined {
  const plain = PLAIN[type];
  if (plain) {
    const [name, ...fields] = plain;
    const numbers = Object.fromEntries(fields.map((field) => [field, cursor.varint()]));
    const { _: __, ...kept } = numbers;
    return { name, ...kept };
  }
  if (type >= 0x08 && type <= 0x0f) return stream(type, cursor);
  switch (type) {
    case 0x00:
      while (cursor.left > 0 && cursor.bytes[cursor.at] === 0) cursor.at++;
      return { name: "PADDING" };
    case 0x02:
    case 0x03:
      return ack(type === 0x03, cursor);
    case 0x06: {
      const offset = cursor.varint();
      return { name: "CRYPTO", offset, data: cursor.take(cursor.varint()) };
    }
    case 0x07:
      return { name: "NEW_TOKEN", data: cursor.take(cursor.varint()) };
    case 0x18:
      cursor.varint();
      cursor.varint();
      cursor.vector(1);
      cursor.take(16);
      return { name: "NEW_CONNECTION_ID" };
    case 0x1a:
    case 0x1b:
      cursor.take(8);
      return { name: type === 0x1a ? "PATH_CHALLENGE" : "PATH_RESPONSE" };
    case 0x1c:
    case 0x1d: {
      const errorCode = cursor.varint();
      if (type === 0x1c) cursor.varint();
      return { name: "CONNECTION_CLOSE", errorCode, data: cursor.take(cursor.varint()) };
    }
    case 0x30:
      return { name: "DATAGRAM", data: cursor.take(cursor.left) };
    case 0x31:
      return { name: "DATAGRAM", data: cursor.take(cursor.varint()) };
    default:
      return undefined;
  }
}

/** RFC 9000 §19.8 */
function stream(type: number, cursor: Cursor): Read {
  const id = cursor.varint();
  const offset = type & 0x04 ? cursor.varint() : 0;
  const data = cursor.take(type & 0x02 ? cursor.varint() : cursor.left);
  return { name: "STREAM", stream: id, offset, data, isLast: (type & 0x01) !== 0 };
}

/** RFC 9000 §19.3 */
function ack(hasCounts: boolean, cursor: Cursor): Read {
  const largest = cursor.varint();
  cursor.varint();
  // A range has at least two bytes: a count that says more is a lie, and is no reason to go on.
  const ranges = cursor.varint();
  cursor.varint();
  for (let n = 0; n < ranges && !cursor.isShort; n++) {
    cursor.varint();
    cursor.varint();
  }
  if (hasCounts) for (let n = 0; n < 3; n++) cursor.varint();
  return { name: "ACK", largest };
}
