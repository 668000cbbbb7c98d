/**
 * IPv4 (RFC 791) with TCP (RFC 9293), UDP (RFC 768) and ICMP (RFC 792) on it, out of bytes. Nothing here
 * throws: what is cut short or is no packet reads as `undefined`.
 */

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

export interface IpPacket {
  readonly version: 4;
  readonly protocol: number;
  /** Dotted. */
  readonly source: string;
  readonly destination: string;
  readonly ttl: number;
  readonly id: number;
  readonly isDontFragment: boolean;
  /** Bytes of the header, options with it. */
  readonly headerBytes: number;
  /** Bytes of the packet by its own word; what the link has padded does not count. */
  readonly totalBytes: number;
  /** Where it begins in the data it came from, so that it can be changed in place. */
  readonly at: number;
  readonly payload: Uint8Array;
}

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: TcpFlags;
  readonly window: number;
  readonly headerBytes: number;
  readonly options: readonly TcpOption[];
  readonly payload: Uint8Array;
}

export interface TcpFlags {
  readonly syn: boolean;
  readonly ack: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  readonly psh: boolean;
  readonly urg: boolean;
  readonly ece: boolean;
  readonly cwr: boolean;
}

/** `kind` by the registry of IANA: 2 MSS, 3 window scale, 4 and 5 SACK, 8 timestamps, 34 Fast Open. */
export interface TcpOption {
  readonly kind: number;
  readonly data: Uint8Array;
}

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** RFC 791 §3.1. A fragment that is not the first has no header of what it carries: its payload is bare bytes. */
export function readIp(bytes: Uint8Array, at = 0): IpPacket | undefined {
  if (bytes.length < at + 20 || bytes[at]! >> 4 !== 4) return undefined;
  const headerBytes = (bytes[at]! & 15) * 4;
  const totalBytes = u16(bytes, at + 2);
  if (headerBytes < 20 || totalBytes < headerBytes || bytes.length < at + totalBytes) return undefined;
  return {
    version: 4,
    protocol: bytes[at + 9]!,
    source: address(bytes, at + 12),
    destination: address(bytes, at + 16),
    ttl: bytes[at + 8]!,
    id: u16(bytes, at + 4),
    isDontFragment: (bytes[at + 6]! & 0x40) !== 0,
    headerBytes,
    totalBytes,
    at,
    payload: bytes.subarray(at + headerBytes, at + totalBytes),
  };
}

/** RFC 9293 §3.1 */
export function readTcp(bytes: Uint8Array): TcpSegment | undefined {
  if (bytes.length < 20) return undefined;
  const headerBytes = (bytes[12]! >> 4) * 4;
  if (headerBytes < 20 || bytes.length < headerBytes) return undefined;
  const bits = bytes[13]!;
  return {
    sourcePort: u16(bytes, 0),
    destinationPort: u16(bytes, 2),
    sequence: u32(bytes, 4),
    acknowledgement: u32(bytes, 8),
    flags: {
      fin: (bits & 1) !== 0,
      syn: (bits & 2) !== 0,
      rst: (bits & 4) !== 0,
      psh: (bits & 8) !== 0,
      ack: (bits & 16) !== 0,
      urg: (bits & 32) !== 0,
      ece: (bits & 64) !== 0,
      cwr: (bits & 128) !== 0,
    },
    window: u16(bytes, 14),
    headerBytes,
    options: tcpOptions(bytes.subarray(20, headerBytes)),
    payload: bytes.subarray(headerBytes),
  };
}

/** RFC 768 */
export function readUdp(bytes: Uint8Array): UdpDatagram | undefined {
  if (bytes.length < 8) return undefined;
  const length = u16(bytes, 4);
  if (length < 8 || length > bytes.length) return undefined;
  return { sourcePort: u16(bytes, 0), destinationPort: u16(bytes, 2), payload: bytes.subarray(8, length) };
}

/** RFC 9293 §3.2; what follows a broken option is left out. */
function tcpOptions(bytes: Uint8Array): TcpOption[] {
  const options: TcpOption[] = [];
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at]!;
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) break;
    options.push({ kind, data: bytes.subarray(at + 2, at + length) });
    at += length;
  }
  return options;
}

/** The sum of RFC 1071 over these bytes, to go on from. */
export function sum(bytes: Uint8Array, from = 0, to = bytes.length, start = 0): number {
  let total = start;
  let at = from;
  for (; at + 1 < to; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < to) total += bytes[at]! << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/**
 * Writes the checksums of an IPv4 packet and of the TCP or UDP in it anew (RFC 1071), after a change of an
 * address or a port.
 */
export function writeChecksums(bytes: Uint8Array, packet: IpPacket): void {
  const { at, headerBytes, totalBytes, protocol } = packet;
  put16(bytes, at + 10, 0);
  put16(bytes, at + 10, ~sum(bytes, at, at + headerBytes) & 0xffff);
  const body = at + headerBytes;
  const end = at + totalBytes;
  const field = protocol === PROTOCOL.tcp ? body + 16 : protocol === PROTOCOL.udp ? body + 6 : -1;
  if (field < 0 || field + 2 > end) return;
  put16(bytes, field, 0);
  // The pseudo-header: both addresses, the protocol and the length (RFC 9293 §3.1).
  const pseudo = sum(bytes, at + 12, at + 20, protocol + (totalBytes - headerBytes));
  const checksum = ~sum(bytes, body, end, pseudo) & 0xffff;
  // RFC 768: zero means that there is none.
  put16(bytes, field, checksum === 0 && protocol === PROTOCOL.udp ? 0xffff : checksum);
}

export function address(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** @throws RangeError for what is no dotted address */
export function addressBytes(text: string): Uint8Array {
  const parts = text.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) {
    throw new RangeError(`not an IPv4 address: ${text}`);
  }
  return Uint8Array.from(parts);
}

export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
