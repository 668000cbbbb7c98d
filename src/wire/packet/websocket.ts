/** Frames of the WebSocket protocol (RFC 6455 §5.2). Nothing here throws. */
import { Cursor } from "./cursor.ts";

const OPCODES: Readonly<Record<number, string>> = {
  0: "continuation",
  1: "text",
  2: "binary",
  8: "close",
  9: "ping",
  10: "pong",
};

export interface WebSocketFrame {
  readonly opcode: number;
  /** `text`, `binary`, `close` and so on. */
  readonly name: string;
  readonly isFinal: boolean;
  /** The first reserved bit: with permessage-deflate (RFC 7692 §6) the message is compressed. */
  readonly isCompressed: boolean;
  /** Of 4 bytes; every frame of a client has one (RFC 6455 §5.3), none of a server. */
  readonly mask: Uint8Array | undefined;
  /** Where it begins. */
  readonly at: number;
  /** 2 to 14. */
  readonly headerBytes: number;
  /** After the header, by its own word. */
  readonly length: number;
  /** As it came, masked; fewer bytes than `length` when the end has not come. */
  readonly payload: Uint8Array;
  readonly isWhole: boolean;
}

/** The frames of one direction after the upgrade; the last one may be cut. Ends where a frame is none. */
export function readWebSocket(bytes: Uint8Array, at = 0): WebSocketFrame[] {
  const frames: WebSocketFrame[] = [];
  while (at < bytes.length) {
    const frame = readFrame(bytes, at);
    if (!frame) break;
    frames.push(frame);
    at += frame.headerBytes + frame.payload.length;
  }
  return frames;
}

/** What the sender meant, mask taken off; a copy. */
export function unmasked({ mask, payload }: WebSocketFrame): Uint8Array {
  return payload.map((byte, index) => byte ^ (mask?.[index & 3] ?? 0));
}

function readFrame(bytes: Uint8Array, at: number): WebSocketFrame | undefined {
  const cursor = new Cursor(bytes, at);
  const first = cursor.u8();
  const second = cursor.u8();
  let length = second & 0x7f;
  if (length === 126) length = cursor.u16();
  else if (length === 127) length = cursor.u32() * 2 ** 32 + cursor.u32();
  const mask = second & 0x80 ? cursor.take(4) : undefined;
  const opcode = first & 0x0f;
  const name = OPCODES[opcode];
  // RFC 6455 §5.5: control frames are short and whole. The other two reserved bits are nobody's.
  const isControl = opcode >= 8;
  if (cursor.isShort || !name || (first & 0x30) !== 0 || (isControl && (length > 125 || first < 0x80)))
    return undefined;
  const payload = bytes.subarray(cursor.at, cursor.at + length);
  return {
    opcode,
    name,
    isFinal: (first & 0x80) !== 0,
    isCompressed: (first & 0x40) !== 0,
    mask,
    at,
    headerBytes: cursor.at - at,
    length,
    payload,
    isWhole: payload.length === length,
  };
}
