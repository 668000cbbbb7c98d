/** What the capture says of SYNs: which came to the server, which were answered, and what the queue held then. Pure. */
import { PROTOCOL, readIp, readTcp } from "../../../src/wire/packet/ip.ts";
import type { Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";

export interface Syns {
  /** By the client's port: when it sent each SYN, also those that the wire has lost. */
  readonly sent: ReadonlyMap<number, readonly number[]>;
  /** Ports to which the server has sent a SYN-ACK. */
  readonly answered: ReadonlySet<number>;
  /** Ports of which the server got a SYN and did not answer it. */
  readonly refused: ReadonlySet<number>;
  /** SYNs whose fate is not what the queue says: answered though it was full, or not though there was room. */
  readonly wrong: number;
  /** Of them those that no busy machine explains, on which packets of two processors can overtake each other. */
  readonly clearlyWrong: number;
  /** SYNs that came while a handshake that had begun before was not over. */
  readonly overlaps: number;
  /** Packets that the wire has lost. */
  readonly lost: number;
}

/** A SYN at the server. */
interface Came {
  readonly port: number;
  readonly at: number;
}

/** What comes to the kernel closer together may be taken in either order: usually, and when the machine is very busy. */
const AT_ONCE_NS = 2e6;
const BUSY_NS = 200e6;

/**
 * @param backlog where nobody accepts: then the queue at each SYN is the number of handshakes that had ended, at
 * most one more than this
 */
export function synsOf(seen: readonly Seen[], backlog?: number): Syns {
  const sent = new Map<number, number[]>();
  const answeredAt = new Map<number, number>();
  const came: Came[] = [];
  const stoodAt = new Map<number, number>();
  for (const { from, at, leftAt, bytes } of seen) {
    const ip = readIp(bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (!tcp) continue;
    if (from === 1) {
      if (tcp.flags.syn && !answeredAt.has(tcp.destinationPort)) answeredAt.set(tcp.destinationPort, at);
      continue;
    }
    const port = tcp.sourcePort;
    if (!tcp.flags.syn) {
      // Not the farewells of connections that were there before.
      const isHandshake = tcp.flags.ack && !tcp.flags.rst && sent.has(port);
      if (isHandshake && leftAt !== undefined && !stoodAt.has(port)) stoodAt.set(port, leftAt);
      continue;
    }
    const times = sent.get(port) ?? [];
    // A packet that came twice is there twice.
    if (times.at(-1) !== at) sent.set(port, [...times, at]);
    if (leftAt !== undefined) came.push({ port, at: leftAt });
  }
  // The answer to a later SYN is not one to this.
  const isRefused = ({ port, at }: Came) => {
    const next = came.find((each) => each.port === port && each.at > at)?.at ?? Number.POSITIVE_INFINITY;
    return (answeredAt.get(port) ?? Number.POSITIVE_INFINITY) >= next;
  };
  const stood = [...stoodAt.values()];
  const isWrong = (syn: Came, slack: number) => {
    if (backlog === undefined || (answeredAt.get(syn.port) ?? Number.POSITIVE_INFINITY) < syn.at) return false;
    const [least, most] = [-slack, slack].map((by) => stood.filter((at) => at < syn.at + by).length);
    return isRefused(syn) ? most! <= backlog : least! > backlog;
  };
  return {
    sent,
    answered: new Set(answeredAt.keys()),
    refused: new Set(came.filter(isRefused).map(({ port }) => port)),
    wrong: came.filter((syn) => isWrong(syn, AT_ONCE_NS)).length,
    clearlyWrong: came.filter((syn) => isWrong(syn, BUSY_NS)).length,
    overlaps: overlapsOf(came, stoodAt),
    lost: seen.filter(({ drop }) => drop !== undefined).length,
  };
}

function overlapsOf(came: readonly Came[], stoodAt: ReadonlyMap<number, number>): number {
  const first = new Map(came.toReversed().map(({ port, at }) => [port, at]));
  return [...first].filter(([port, at]) =>
    [...first].some(([other, began]) => other !== port && began < at && (stoodAt.get(other) ?? at) > at),
  ).length;
}
