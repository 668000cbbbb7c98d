/**
 * Headers of QUIC, versions 1 and 2 (RFC 9000 §17, RFC 9369 §3.2), of all packets that share a datagram. What
 * header protection hides (RFC 9001 §5.4) is not read: packet numbers, and what short headers say. Nothing
 * here throws.
 */
import { Cursor } from "./cursor.ts";

export const QUIC_VERSION = { 1: 0x00000001, 2: 0x6b3343cf } as const;

export type QuicPacketType =
  | "Initial"
  | "0-RTT"
  | "Handshake"
  | "Retry"
  | "Version Negotiation"
  | "1-RTT"
  /** Long, of a version that is not known: what all have in common was read (RFC 8999). */
  | "long";

export interface QuicPacket {
  readonly type: QuicPacketType;
  /** 0 for Version Negotiation; undefined for short headers, which do not say it. */
  readonly version: number | undefined;
  /** Of short headers only with the length that the caller knows. */
  readonly destinationId: Uint8Array;
  readonly sourceId: Uint8Array;
  /** Of Initial and Retry. */
  readonly token: Uint8Array;
  /** Of Version Negotiation. */
  readonly versions: readonly number[];
  /** Where it begins in the datagram, and all of its bytes. */
  readonly at: number;
  readonly size: number;
  /** Where the packet number begins, from `at`; the rest is protected. */
  readonly numberAt: number;
}

/** The two bits of the type, in their order (RFC 9000 §17.2, RFC 9369 §3.2). */
const TYPES: Readonly<Record<number, readonly QuicPacketType[]>> = {
  [QUIC_VERSION[1]]: ["Initial", "0-RTT", "Handshake", "Retry"],
  [QUIC_VERSION[2]]: ["Retry", "Initial", "0-RTT", "Handshake"],
};
const NONE = new Uint8Array(0);

/**
 * The packets of a datagram; it ends at the first that cannot be read. A 1-RTT packet is all that is left.
 * `shortIdBytes`: length of the connection ids that the receiver chose (default 0).
 */
export function readQuic(datagram: Uint8Array, shortIdBytes = 0): QuicPacket[] {
  const packets: QuicPacket[] = [];
  for (let at = 0; at < datagram.length; ) {
    const packet = readPacket(datagram, at, shortIdBytes);
    // RFC 9000 §12.2: what follows a short header belongs to it, and zeros may pad the datagram.
    if (!packet) break;
    packets.push(packet);
    at += packet.size;
  }
  return packets;
}

/** Whether a datagram of nobody known can be QUIC: a long header of a known version, or Version Negotiation. */
export function isQuic(datagram: Uint8Array): boolean {
  const first = readPacket(datagram, 0, 0);
  return first !== undefined && first.type !== "1-RTT" && first.type !== "long";
}

function readPacket(bytes: Uint8Array, at: number, shortIdBytes: number): QuicPacket | undefined {
  const cursor = new Cursor(bytes, at);
  const first = cursor.u8();
  if ((first & 0x80) === 0) {
    const destinationId = cursor.take(shortIdBytes);
    // RFC 9000 §17.3.1: the fixed bit.
    if (cursor.isShort || (first & 0x40) === 0) return undefined;
    return packet("1-RTT", undefined, at, bytes.length - at, { destinationId, numberAt: cursor.at - at });
  }
  const version = cursor.u32();
  const destinationId = cursor.vector(1);
  const sourceId = cursor.vector(1);
  if (cursor.isShort) return undefined;
  const ids = { destinationId, sourceId, numberAt: cursor.at - at };
  if (version === 0) {
    const versions: number[] = [];
    while (cursor.left >= 4) versions.push(cursor.u32());
    return packet("Version Negotiation", version, at, bytes.length - at, { ...ids, versions });
  }
  const type = TYPES[version]?.[(first >> 4) & 3];
  if (!type) return packet("long", version, at, bytes.length - at, ids);
  // RFC 9000 §17.2: connection ids of these versions have at most 20 bytes.
  if ((first & 0x40) === 0 || destinationId.length > 20 || sourceId.length > 20) return undefined;
  if (type === "Retry") {
    // RFC 9000 §17.2.5: the token is what is left before the tag of 16 bytes.
    if (cursor.left < 16) return undefined;
    const token = cursor.take(cursor.left - 16);
    return packet(type, version, at, bytes.length - at, { ...ids, token, numberAt: cursor.at - at });
  }
  const token = type === "Initial" ? cursor.take(cursor.varint()) : NONE;
  const length = cursor.varint();
  const numberAt = cursor.at - at;
  cursor.take(length);
  if (cursor.isShort) return undefined;
  return packet(type, version, at, cursor.at - at, { ...ids, token, numberAt });
}

function packet(
  type: QuicPacketType,
  version: number | undefined,
  at: number,
  size: number,
  rest: Partial<QuicPacket> & Pick<QuicPacket, "numberAt">,
): QuicPacket {
  return { type, version, destinationId: NONE, sourceId: NONE, token: NONE, versions: [], at, size, ...rest };
}
