/** For now: a ladder of headers alone. */
import { PROTOCOL, readIp, readTcp, readUdp } from "../../src/wire/packet/ip.ts";
import type { Ladder, Rung } from "../capture/ladder.ts";
import type { Capture } from "../experiment.ts";
import { LINK_BYTES } from "../wire/router.ts";

export function ladderOf({ name, hosts, seen, marks = [] }: Capture): Ladder {
  const sorted = seen.toSorted((a, b) => a.at - b.at);
  const startedAt = sorted[0]?.at ?? 0;
  const flows = new Map<string, { index: number; protocol: "TCP" | "UDP" | "other"; opener: string; other: string }>();
  const sent = new Map<string, number>();
  let span = 0;
  const rungs = sorted.map((each, index): Rung => {
    const ip = readIp(each.bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    const udp = ip?.protocol === PROTOCOL.udp ? readUdp(ip.payload) : undefined;
    const ports = tcp ?? udp;
    const [a, b] = [`${ip?.source}:${ports?.sourcePort}`, `${ip?.destination}:${ports?.destinationPort}`];
    const protocol = tcp ? "TCP" : udp ? "UDP" : "other";
    let flow = flows.get(`${a} ${b}`) ?? flows.get(`${b} ${a}`);
    if (!flow) flows.set(`${a} ${b}`, (flow = { index: flows.size, protocol, opener: a, other: b }));
    const size = (tcp ?? udp)?.payload.length ?? 0;
    const key = `${a} ${b} ${tcp?.sequence}`;
    const again = tcp !== undefined && size > 0 && (sent.get(key) ?? -1) >= size;
    if (tcp) sent.set(key, size);
    const flags = tcp ? Object.entries(tcp.flags).filter(([, on]) => on).map(([flag]) => flag.toUpperCase()) : [];
    const kind = !tcp ? "data" : tcp.flags.rst ? "reset" : tcp.flags.syn ? "open" : tcp.flags.fin ? "close" : size > 0 ? "data" : "ack";
    const leftAt = each.leftAt === undefined ? undefined : each.leftAt - startedAt;
    span = Math.max(span, leftAt ?? 0, each.at - startedAt);
    return {
      number: index + 1,
      at: each.at - startedAt,
      ...(leftAt !== undefined && { leftAt }),
      ...(each.drop !== undefined && { drop: each.drop }),
      from: each.from,
      to: each.to,
      bytes: each.size,
      flow: flow.index,
      label: size > 0 ? `${flags.join(", ")} ${size} bytes of data`.trim() : flags.join(", "),
      kind,
      layers: [
        { name: "Ethernet", bytes: 14, osi: 2, tcpIp: "link", text: "" },
        { name: "IPv4", bytes: 20, osi: 3, tcpIp: "internet", text: `${ip?.source} → ${ip?.destination}, TTL ${ip?.ttl}` },
        { name: tcp ? "TCP" : "UDP", bytes: tcp?.headerBytes ?? 8, osi: 4, tcpIp: "transport", text: `${ports?.sourcePort} → ${ports?.destinationPort} ${flags.join(", ")}` },
        ...(size > 0 ? [{ name: "data" as const, bytes: size, osi: 7, tcpIp: "application" as const, text: `${size} bytes` }] : []),
      ],
      notes: again ? ["retransmission"] : [],
    };
  });
  return {
    name,
    hosts,
    startedAt,
    spanNs: span,
    flows: [...flows.values()].map(({ protocol, opener, other }) => ({ protocol, opener, other })),
    rungs,
    marks: marks.map(({ at, host, text }) => ({ at: at - startedAt, host: hosts.findIndex((each) => each.name === host), text })),
  };
}

export function ladderText({ rungs, hosts }: Ladder, _width: number): string[] {
  return rungs.map(({ at, from, to, label }) => `${(at / 1e6).toFixed(2).padStart(10)} ${hosts[from]?.name} → ${hosts[to]?.name}  ${label}`);
}
