import { addressBytes, type IpPacket, put16, sum } from "../../src/wire/packet/ip.ts";

/** "Fragmentation needed and DF set" with the next hop's MTU (RFC 792, RFC 1191 §4), for the sender of a packet. */
export function tooBig(frame: Uint8Array, packet: IpPacket, mtu: number): Uint8Array {
  const link = packet.at;
  // The header and the first eight bytes of what it carried.
  const quoted = frame.subarray(link, link + packet.headerBytes + 8);
  const bytes = new Uint8Array(link + 20 + 8 + quoted.length);
  // Back to where it came from; the daemon writes the Ethernet addresses.
  bytes.set([0x08, 0x00], 12);
  const ip = link;
  bytes[ip] = 0x45;
  put16(bytes, ip + 2, 28 + quoted.length);
  bytes[ip + 8] = 64;
  bytes[ip + 9] = 1;
  bytes.set(addressBytes(packet.destination), ip + 12);
  bytes.set(addressBytes(packet.source), ip + 16);
  put16(bytes, ip + 10, ~sum(bytes, ip, ip + 20) & 0xffff);
  const icmp = ip + 20;
  bytes[icmp] = 3;
  bytes[icmp + 1] = 4;
  put16(bytes, icmp + 6, mtu);
  bytes.set(quoted, icmp + 8);
  put16(bytes, icmp + 2, ~sum(bytes, icmp) & 0xffff);
  return bytes;
}
