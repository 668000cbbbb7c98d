/** The segments of TCP in a capture, by connection, with sequence numbers from zero and windows in bytes. */
import { PROTOCOL, readIp, readTcp, type TcpSegment } from "../../src/wire/packet/ip.ts";
import type { Seen } from "../wire/index.ts";
import { LINK_BYTES } from "../wire/router.ts";

export interface Segment {
  readonly seen: Seen;
  readonly tcp: TcpSegment;
  /** Who sends: the one that opened the connection, or the other. */
  readonly isOpener: boolean;
  /** Relative to the SYN of its side, which has 0. */
  readonly sequence: number;
  readonly acknowledged: number;
  /** In bytes, by the scale of the SYN (RFC 7323 §2). */
  readonly window: number;
}

export interface Connection {
  /** `address:port` of the opener, and of the other. */
  readonly opener: string;
  readonly other: string;
  readonly segments: readonly Segment[];
}

/** Connections whose first SYN was captured, in the order of their SYNs. */
export function connectionsOf(seen: readonly Seen[]): Connection[] {
  const connections = new Map<string, Building>();
  for (const each of seen) {
    const ip = readIp(each.bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (!ip || !tcp) continue;
    const [from, to] = [`${ip.source}:${tcp.sourcePort}`, `${ip.destination}:${tcp.destinationPort}`];
    const isOpening = tcp.flags.syn && !tcp.flags.ack;
    let building = connections.get(`${from} ${to}`);
    const isOpener = building !== undefined || isOpening;
    if (!building) building = isOpening ? new Building(from, to) : connections.get(`${to} ${from}`);
    if (!building) continue;
    if (isOpening) connections.set(`${from} ${to}`, building);
    building.add(each, tcp, isOpener);
  }
  return [...connections.values()];
}

class Building implements Connection {
  readonly opener: string;
  readonly other: string;
  readonly segments: Segment[] = [];
  readonly #start = new Map<boolean, number>();
  readonly #scale = new Map<boolean, number>();

  constructor(opener: string, other: string) {
    this.opener = opener;
    this.other = other;
  }

  add(seen: Seen, tcp: TcpSegment, isOpener: boolean): void {
    if (tcp.flags.syn) {
      this.#start.set(isOpener, tcp.sequence);
      const scale = tcp.options.find(({ kind }) => kind === 3)?.data[0];
      if (scale !== undefined) this.#scale.set(isOpener, scale);
    }
    const relative = (number: number, side: boolean) => (number - (this.#start.get(side) ?? number)) >>> 0;
    // RFC 7323 §2.2: only when both sides offer it, and never on a SYN.
    const isScaled = this.#scale.size === 2 && !tcp.flags.syn;
    this.segments.push({
      seen,
      tcp,
      isOpener,
      sequence: relative(tcp.sequence, isOpener),
      acknowledged: tcp.flags.ack ? relative(tcp.acknowledgement, !isOpener) : 0,
      window: isScaled ? tcp.window * 2 ** this.#scale.get(isOpener)! : tcp.window,
    });
  }
}
