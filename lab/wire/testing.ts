import { addressBytes, PROTOCOL, put16, readIp, writeChecksums } from "../../src/wire/packet/ip.ts";

/** An Ethernet frame with a UDP datagram. */
export function udpFrame(from: string, fromPort: number, to: string, toPort: number, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const frame = new Uint8Array(14 + 20 + 8 + payload.length);
  frame.set([0x08, 0x00], 12);
  frame.set([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, PROTOCOL.udp], 14);
  put16(frame, 16, 28 + payload.length);
  frame.set(addressBytes(from), 26);
  frame.set(addressBytes(to), 30);
  put16(frame, 34, fromPort);
  put16(frame, 36, toPort);
  put16(frame, 38, 8 + payload.length);
  frame.set(payload, 42);
  writeChecksums(frame, readIp(frame, 14)!);
  return frame;
}
