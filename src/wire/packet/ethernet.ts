/** Ethernet II frames (RFC 894) and ARP for IPv4 in them (RFC 826). Nothing here throws. */
import { Cursor, hex } from "./cursor.ts";
import { address } from "./ip.ts";

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

export interface EthernetFrame {
  /** Such as `02:00:00:00:00:01`. */
  readonly source: string;
  readonly destination: string;
  readonly type: number;
  /** Of 802.1Q, when the frame has a tag. */
  readonly vlan?: number;
  /** 14, or 18 with a tag. */
  readonly headerBytes: number;
  /** With what the link has padded. */
  readonly payload: Uint8Array;
}

export interface Arp {
  readonly isRequest: boolean;
  readonly senderMac: string;
  readonly sender: string;
  readonly target: string;
}

/** Undefined when the header is cut, and for frames of 802.3 that have a length instead of a type. */
export function readEthernet(bytes: Uint8Array): EthernetFrame | undefined {
  const cursor = new Cursor(bytes);
  const destination = mac(cursor.take(6));
  const source = mac(cursor.take(6));
  let type = cursor.u16();
  let vlan: number | undefined;
  if (type === ETHERTYPE.vlan) {
    vlan = cursor.u16() & 0xfff;
    type = cursor.u16();
  }
  if (cursor.isShort || type < 0x600) return undefined;
  return {
    source,
    destination,
    type,
    ...(vlan !== undefined && { vlan }),
    headerBytes: cursor.at,
    payload: bytes.subarray(cursor.at),
  };
}

export function readArp(bytes: Uint8Array): Arp | undefined {
  const cursor = new Cursor(bytes);
  const [hardware, protocol, sizes, operation] = [cursor.u16(), cursor.u16(), cursor.u16(), cursor.u16()];
  const senderMac = mac(cursor.take(6));
  const sender = address(cursor.take(4), 0);
  cursor.take(6);
  const target = address(cursor.take(4), 0);
  const isIpv4 = hardware === 1 && protocol === ETHERTYPE.ipv4 && sizes === 0x0604;
  if (cursor.isShort || !isIpv4 || (operation !== 1 && operation !== 2)) return undefined;
  return { isRequest: operation === 1, senderMac, sender, target };
}

function mac(bytes: Uint8Array): string {
  return hex(bytes).replace(/..(?!$)/g, "$&:");
}
