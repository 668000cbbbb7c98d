/**
 * The wire as a router: each host has one link to it. Pure: packets and time in, deliveries out; the
 * daemon moves the bytes. A packet goes up the sender's link, through the NAT boxes, down the receiver's.
 */
import { addressBytes, PROTOCOL, put16, readIp, u16, writeChecksums } from "../../src/wire/packet/ip.ts";
import { Drops } from "./drops.ts";
import { tooBig } from "./icmp.ts";
import { Direction, type DropReason } from "./link.ts";
import { type Endpoint, Nat } from "./nat.ts";
import type { Attached, WireOptions } from "./spec.ts";

/** An Ethernet header comes before the packet. */
export const LINK_BYTES = 14;

export interface Delivery {
  /** Index of the host. */
  readonly to: number;
  /** Nanoseconds. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** What becomes of one packet: where it goes, or why it does not. */
export interface Routed {
  readonly to: number;
  readonly deliveries: readonly Delivery[];
  readonly drop?: DropReason;
}

interface Port {
  readonly name: string;
  readonly address: string;
  up: Direction;
  down: Direction;
  readonly nat: Nat | undefined;
  readonly spec: Pick<Attached["spec"], "up" | "down">;
  isCut: boolean;
}

export class Router {
  readonly #ports: readonly Port[];
  readonly #byAddress = new Map<string, number>();
  readonly #seed: number;
  #rules: NonNullable<WireOptions["drops"]>;
  #drops: Drops;

  constructor(hosts: readonly Attached[], options: Pick<WireOptions, "seed" | "drops">) {
    this.#seed = options.seed ?? 1;
    this.#rules = options.drops ?? [];
    this.#drops = new Drops(this.#rules);
    this.#ports = hosts.map(({ name, address, spec }, index) => {
      const nat = spec.nat && new Nat({ ...spec.nat, address: spec.nat.outside });
      // Behind a box nobody reaches the address inside.
      this.#byAddress.set(nat ? nat.address : address, index);
      return { name, address, nat, spec, isCut: false, ...this.#links(index, spec) };
    });
  }

  /** A packet with its Ethernet header, which the host at this index has sent. It may be changed in place. */
  route(now: number, from: number, bytes: Uint8Array): Routed {
    const sender = this.#ports[from]!;
    const lost = (drop: DropReason, to = -1): Routed => ({ to, deliveries: [], drop });
    const packet = readIp(bytes, LINK_BYTES);
    if (!packet) return lost("route");
    const to = this.#byAddress.get(packet.destination) ?? -1;
    if (sender.isCut || this.#ports[to]?.isCut) return lost("cut", to);
    if (this.#drops.isDropped(sender.name, bytes, LINK_BYTES)) return lost("rule", to);
    const size = bytes.length - LINK_BYTES;
    const receiver = this.#ports[to];
    const mtu = Math.min(sender.up.mtu ?? Number.POSITIVE_INFINITY, receiver?.down.mtu ?? Number.POSITIVE_INFINITY);
    if (packet.totalBytes > mtu) {
      // RFC 1191 §4; the notice is not delayed: it comes from the near side of the link.
      return { ...lost("mtu", to), deliveries: [{ to: from, at: now, bytes: tooBig(bytes, packet, mtu) }] };
    }
    if (!receiver) return lost("route");
    if (sender.nat && !this.#translateOut(now, sender.nat, bytes)) return lost("nat", to);
    if (receiver.nat && !this.#translateIn(now, receiver.nat, bytes)) return lost("nat", to);
    const up = sender.up.offer(now, size);
    if (up.drop !== undefined) return lost(up.drop, to);
    const deliveries: Delivery[] = [];
    let drop: DropReason | undefined;
    for (const at of up.at) {
      const down = receiver.down.offer(at, size);
      if (down.drop !== undefined) drop = down.drop;
      else for (const each of down.at) deliveries.push({ to, at: each, bytes });
    }
    return deliveries.length === 0 && drop !== undefined ? lost(drop, to) : { to, deliveries };
  }

  /** From now on the links of a host are these. */
  setLinks(host: number, links: Pick<Attached["spec"], "up" | "down">): void {
    Object.assign(this.#ports[host]!, this.#links(host, links), { spec: links });
  }

  /** Nothing from and to this host passes. */
  cut(host: number, isCut: boolean): void {
    this.#ports[host]!.isCut = isCut;
  }

  /** Links and counts begin anew, with the luck of the seed. */
  reset(): void {
    for (const [index, port] of this.#ports.entries()) Object.assign(port, this.#links(index, port.spec));
    this.#drops = new Drops(this.#rules);
  }

  rebind(host: number): void {
    this.#ports[host]!.nat?.rebind();
  }

  setDrops(drops: WireOptions["drops"]): void {
    this.#rules = drops ?? [];
    this.#drops = new Drops(this.#rules);
  }

  #links(index: number, { up, down }: Pick<Attached["spec"], "up" | "down">) {
    // Far apart, so that directions and seeds do not share their luck.
    const seed = this.#seed * 7919 + index * 104_729;
    return { up: new Direction(up ?? {}, seed), down: new Direction(down ?? {}, seed + 15_485_863) };
  }

  #translateOut(now: number, nat: Nat, bytes: Uint8Array): boolean {
    return this.#translate(bytes, (protocol, source, destination) => {
      return { source: { address: nat.address, port: nat.out(now, protocol, source, destination) } };
    });
  }

  #translateIn(now: number, nat: Nat, bytes: Uint8Array): boolean {
    return this.#translate(bytes, (protocol, source, destination) => {
      const inside = nat.in(now, protocol, destination.port, source);
      return inside && { destination: inside };
    });
  }

  #translate(bytes: Uint8Array, how: Translate): boolean {
    const packet = readIp(bytes, LINK_BYTES);
    if (!packet || (packet.protocol !== PROTOCOL.tcp && packet.protocol !== PROTOCOL.udp)) return false;
    const ports = LINK_BYTES + packet.headerBytes;
    const at = (address: string, port: number): Endpoint => ({ address, port: u16(bytes, port) });
    const changed = how(packet.protocol, at(packet.source, ports), at(packet.destination, ports + 2));
    if (!changed) return false;
    if (changed.source) put(bytes, LINK_BYTES + 12, ports, changed.source);
    if (changed.destination) put(bytes, LINK_BYTES + 16, ports + 2, changed.destination);
    writeChecksums(bytes, packet);
    return true;
  }
}

type Translate = (
  protocol: number,
  source: Endpoint,
  destination: Endpoint,
) => { readonly source?: Endpoint; readonly destination?: Endpoint } | undefined;

function put(bytes: Uint8Array, address: number, port: number, endpoint: Endpoint): void {
  bytes.set(addressBytes(endpoint.address), address);
  put16(bytes, port, endpoint.port);
}
