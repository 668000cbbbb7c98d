/** Targeted drops: `server data 3` drops the third packet with data that the host `server` sends. */
import { PROTOCOL, readIp, readTcp, readUdp } from "../../src/wire/packet/ip.ts";

export const CLASSES = ["packet", "syn", "data", "ack", "fin", "rst", "udp"] as const;
export type PacketClass = (typeof CLASSES)[number];

export interface DropRule {
  /** Name of the host that sends. */
  readonly host: string;
  readonly of: PacketClass;
  /** Which of them, counted from 1. */
  readonly first: number;
  readonly last: number;
}

const RULE = /^(\S+)\s+(\w+)\s+(\d+)(?:-(\d+))?$/;

/** @throws RangeError for what is no rule, or names no host of these */
export function parseDrop(text: string, hosts: readonly string[]): DropRule {
  const match = RULE.exec(text.trim());
  const help = `write it as "HOST CLASS N" or "HOST CLASS N-M", with a host of ${hosts.join(", ")} and a class of ${CLASSES.join(", ")}`;
  if (!match) throw new RangeError(`not a drop: ${JSON.stringify(text)}; ${help}`);
  const [, host, of, from, to] = match;
  const first = Number(from);
  const last = to === undefined ? first : Number(to);
  if (!hosts.includes(host!) || !CLASSES.includes(of as PacketClass) || first < 1 || last < first) {
    throw new RangeError(`not a drop: ${JSON.stringify(text)}; ${help}`);
  }
  return { host: host!, of: of as PacketClass, first, last };
}

/** What a packet is; every packet is a `packet`. */
export function classesOf(bytes: Uint8Array, at: number): readonly PacketClass[] {
  const ip = readIp(bytes, at);
  if (!ip) return ["packet"];
  if (ip.protocol === PROTOCOL.udp) {
    const udp = readUdp(ip.payload);
    return udp && udp.payload.length > 0 ? ["packet", "udp", "data"] : ["packet", "udp"];
  }
  const tcp = ip.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
  if (!tcp) return ["packet"];
  const { syn, fin, rst, ack } = tcp.flags;
  const hasData = tcp.payload.length > 0;
  const classes: PacketClass[] = ["packet"];
  if (syn) classes.push("syn");
  if (fin) classes.push("fin");
  if (rst) classes.push("rst");
  if (hasData) classes.push("data");
  if (ack && !hasData && !syn && !fin && !rst) classes.push("ack");
  return classes;
}

/** Counts what each host sends, and says what is to be dropped. */
export class Drops {
  readonly #rules: readonly DropRule[];
  readonly #counts = new Map<string, number>();

  constructor(rules: readonly DropRule[]) {
    this.#rules = rules;
  }

  isDropped(host: string, bytes: Uint8Array, at: number): boolean {
    if (this.#rules.length === 0) return false;
    let dropped = false;
    for (const of of classesOf(bytes, at)) {
      const key = `${host} ${of}`;
      const count = (this.#counts.get(key) ?? 0) + 1;
      this.#counts.set(key, count);
      dropped ||= this.#rules.some((rule) => {
        return rule.host === host && rule.of === of && count >= rule.first && count <= rule.last;
      });
    }
    return dropped;
  }
}
