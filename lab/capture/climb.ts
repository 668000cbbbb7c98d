/** Makes the ladder of a capture: each packet with its label, its layers and what is known by those before it. */
import { ETHERTYPE, readArp, readEthernet } from "../../src/wire/packet/ethernet.ts";
import { type IpPacket, PROTOCOL, readIp, readTcp, readUdp } from "../../src/wire/packet/ip.ts";
import { isQuic } from "../../src/wire/packet/quic.ts";
import type { Capture } from "../experiment.ts";
import type { Seen } from "../wire/index.ts";
import { KeyLog } from "./keys.ts";
import type { Flow, Ladder, Layer, LayerName, Rung, RungKind, RungNote } from "./ladder.ts";
import { labelsIn, measure, type Part, partsIn, size } from "./parts.ts";
import { QuicFlow, type ReadQuicPacket } from "./quic-flow.ts";
import type { Segment } from "./segments.ts";
import { type Conversation, conversationsOf, offsetOf } from "./streams.ts";
import { TcpNotes, tcpText } from "./tcp-text.ts";

export function ladderOf(capture: Capture): Ladder {
  const { name, hosts, keyLog, marks = [] } = capture;
  // As the first host sees it: what a NAT box of its side has changed is nothing new to it.
  const seen = capture.seen
    .map((each) => (each.to === 0 && each.translated ? { ...each, bytes: each.translated } : each))
    .sort((a, b) => a.at - b.at);
  const startedAt = seen[0]?.at ?? marks[0]?.at ?? 0;
  const reader = new Reader(conversationsOf(seen, keyLog), new KeyLog(keyLog ?? ""));
  const rungs = seen.map((each, index): Rung => {
    const { at, leftAt, drop, from, to, size: bytes } = each;
    const before = seen[index - 1];
    const isDuplicate = before !== undefined && before.at === at && before.from === from && before.drop === drop;
    const read = reader.read(each);
    return {
      number: index + 1,
      at: at - startedAt,
      ...(leftAt !== undefined && { leftAt: leftAt - startedAt }),
      ...(drop !== undefined && { drop }),
      from,
      to,
      bytes,
      ...read,
      notes: isDuplicate ? ["duplicate"] : read.notes,
    };
  });
  const last = Math.max(0, ...rungs.map((rung) => rung.leftAt ?? rung.at), ...marks.map(({ at }) => at - startedAt));
  return {
    name,
    hosts: hosts.map((host) => ({ name: host.name, address: host.address })),
    startedAt,
    spanNs: last,
    flows: reader.flows,
    rungs,
    marks: marks.map(({ at, host, text }) => {
      return { at: at - startedAt, host: hosts.findIndex((each) => each.name === host), text };
    }),
  };
}

type ReadRung = Pick<Rung, "flow" | "label" | "kind" | "layers" | "notes">;

class Reader {
  readonly flows: Flow[] = [];
  readonly #index = new Map<string, number>();
  /** The segment of each packet, with its connection. */
  readonly #segments = new Map<Seen, { readonly conversation: Conversation; readonly segment: Segment }>();
  readonly #notes = new Map<Conversation, TcpNotes>();
  readonly #quic = new Map<number, QuicFlow>();
  readonly #keyLog: KeyLog;

  constructor(conversations: readonly Conversation[], keyLog: KeyLog) {
    this.#keyLog = keyLog;
    for (const conversation of conversations) {
      this.#notes.set(conversation, new TcpNotes());
      for (const segment of conversation.connection.segments) {
        this.#segments.set(segment.seen, { conversation, segment });
      }
    }
  }

  read(seen: Seen): ReadRung {
    const frame = readEthernet(seen.bytes);
    if (!frame) return this.#other("Ethernet", "no frame of Ethernet", []);
    const ethernet = layer("Ethernet", frame.headerBytes, `${frame.source} → ${frame.destination}`);
    if (frame.type === ETHERTYPE.arp) {
      const arp = readArp(frame.payload);
      const text = arp
        ? arp.isRequest
          ? `who has ${arp.target}? tell ${arp.sender}`
          : `${arp.sender} is at ${arp.senderMac}`
        : "ARP";
      return this.#other("ARP", text, [ethernet, layer("ARP", seen.size - frame.headerBytes, text)]);
    }
    const ip = frame.type === ETHERTYPE.ipv4 ? readIp(seen.bytes, frame.headerBytes) : undefined;
    if (!ip) {
      const rest = layer("data", seen.size - frame.headerBytes, `type 0x${frame.type.toString(16)}`);
      return this.#other("Ethernet", seen.size > seen.bytes.length ? "cut for the capture" : rest.text, [
        ethernet,
        rest,
      ]);
    }
    const below = [ethernet, layer("IPv4", ip.headerBytes, `${ip.source} → ${ip.destination}, TTL ${ip.ttl}`)];
    // What the link has padded is the link's.
    const padding = seen.size - frame.headerBytes - ip.totalBytes;
    if (padding > 0) below[0] = layer("Ethernet", frame.headerBytes + padding, ethernet.text);
    const known = this.#segments.get(seen);
    if (known) return this.#tcp(ip, known.conversation, known.segment, below);
    if (ip.protocol === PROTOCOL.udp) return this.#udp(ip, below);
    if (ip.protocol === PROTOCOL.tcp) return this.#strayTcp(ip, below);
    const name: LayerName = ip.protocol === PROTOCOL.icmp ? "ICMP" : "data";
    const text = ip.protocol === PROTOCOL.icmp ? icmpText(ip.payload) : `protocol ${ip.protocol}`;
    const rung = this.#other(name, text, [...below, layer(name, ip.payload.length, text)]);
    return { ...rung, flow: this.#flow(name === "ICMP" ? "ICMP" : "other", ip.source, ip.destination) };
  }

  #tcp(ip: IpPacket, conversation: Conversation, segment: Segment, below: readonly Layer[]): ReadRung {
    const { opener, other } = conversation.connection;
    const notes: RungNote[] = this.#notes.get(conversation)!.of(segment);
    const { tcp, isOpener } = segment;
    const parts = conversation.parts[isOpener ? "client" : "server"];
    const from = offsetOf(segment);
    const to = from + tcp.payload.length;
    const own = layer("TCP", tcp.headerBytes, tcpLayerText(segment));
    const measured = new Map<LayerName, number>();
    if (tcp.payload.length > 0) measure(parts, from, to, measured);
    const isBare = parts.length === 1 && parts[0]!.layer === "data";
    const named = tcp.payload.length > 0 ? labelsIn(parts, from, to) : [];
    const labels = isBare && named.length > 0 ? [`data ${size(tcp.payload.length)}`] : named;
    if (partsIn(parts, from, to).some(({ isEarly }) => isEarly)) notes.push("early data");
    const what = collapsed(labels);
    const said = tcpText(segment, what !== "");
    return {
      flow: this.#flow("TCP", opener, other),
      label: (tcp.flags.syn ? [said, what] : [what, said]).filter(Boolean).join(", "),
      kind: kindOf(segment, partsIn(parts, from, to)),
      layers: [...below, own, ...above(measured, what)].filter(({ bytes }) => bytes > 0 || ip.payload.length === 0),
      notes,
    };
  }

  /** Of a connection whose opening was not captured. */
  #strayTcp(ip: IpPacket, below: readonly Layer[]): ReadRung {
    const tcp = readTcp(ip.payload);
    if (!tcp) return this.#other("TCP", "TCP, cut", [...below, layer("TCP", ip.payload.length, "cut")]);
    const [from, to] = [`${ip.source}:${tcp.sourcePort}`, `${ip.destination}:${tcp.destinationPort}`];
    const label = tcp.flags.rst ? "RST" : `TCP ${size(tcp.payload.length)}`;
    const layers = [...below, layer("TCP", tcp.headerBytes, label)];
    if (tcp.payload.length > 0) layers.push(layer("data", tcp.payload.length, size(tcp.payload.length)));
    const kind = tcp.flags.rst ? "reset" : tcp.payload.length > 0 ? "data" : "ack";
    return { flow: this.#flow("TCP", from, to), label, kind, layers, notes: [] };
  }

  #udp(ip: IpPacket, below: readonly Layer[]): ReadRung {
    const udp = readUdp(ip.payload);
    if (!udp) return this.#other("UDP", "UDP, cut", [...below, layer("UDP", ip.payload.length, "cut")]);
    const [from, to] = [`${ip.source}:${udp.sourcePort}`, `${ip.destination}:${udp.destinationPort}`];
    const flow = this.#flow("UDP", from, to);
    const own = layer("UDP", 8, `${udp.sourcePort} → ${udp.destinationPort}`);
    const { payload } = udp;
    let quic = this.#quic.get(flow);
    // A client begins with a long header; who is the client of a flow is known by it.
    if (!quic && this.flows[flow]!.opener === from && isQuic(payload)) {
      quic = new QuicFlow(this.#keyLog);
      this.#quic.set(flow, quic);
    }
    const packets = quic?.read(payload, this.flows[flow]!.opener === from ? "client" : "server") ?? [];
    if (packets.length === 0) {
      const layers = [
        ...below,
        own,
        ...(payload.length > 0 ? [layer("data", payload.length, size(payload.length))] : []),
      ];
      return { flow, label: `UDP ${size(payload.length)}`, kind: "data", layers, notes: [] };
    }
    const http3 = packets.reduce((sum, { http3Bytes }) => sum + http3Bytes, 0);
    const data = packets.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
    const label = packets.map((packet) => packet.label).join(" | ");
    const layers = [
      ...below,
      own,
      layer("QUIC", payload.length - http3 - data, packets.map(({ packet }) => packet.type).join(", ")),
      ...(http3 > 0 ? [layer("HTTP/3", http3, size(http3))] : []),
      ...(data > 0 ? [layer("data", data, size(data))] : []),
    ];
    const isEarly = packets.some(({ packet }) => packet.type === "0-RTT");
    return { flow, label, kind: quicKind(packets), layers, notes: isEarly ? ["early data"] : [] };
  }

  #other(name: LayerName, label: string, layers: readonly Layer[]): ReadRung {
    return { flow: this.#flow("other", name, ""), label, kind: "other", layers, notes: [] };
  }

  #flow(protocol: Flow["protocol"], a: string, b: string): number {
    const known = this.#index.get(`${protocol} ${a} ${b}`) ?? this.#index.get(`${protocol} ${b} ${a}`);
    if (known !== undefined) return known;
    this.flows.push({ protocol, opener: a, other: b });
    this.#index.set(`${protocol} ${a} ${b}`, this.flows.length - 1);
    return this.flows.length - 1;
  }
}

const LAYERS: Readonly<Record<LayerName, Pick<Layer, "osi" | "tcpIp">>> = {
  Ethernet: { osi: 2, tcpIp: "link" },
  ARP: { osi: 2, tcpIp: "link" },
  IPv4: { osi: 3, tcpIp: "internet" },
  ICMP: { osi: 3, tcpIp: "internet" },
  TCP: { osi: 4, tcpIp: "transport" },
  UDP: { osi: 4, tcpIp: "transport" },
  // A transport of its own on UDP, with the encryption inside it (RFC 9000 §1).
  QUIC: { osi: 4, tcpIp: "transport" },
  // OSI would put sessions and tickets into 5 and encryption into 6; nobody agrees.
  TLS: { osi: 6, tcpIp: "application" },
  "HTTP/1.1": { osi: 7, tcpIp: "application" },
  "HTTP/2": { osi: 7, tcpIp: "application" },
  "HTTP/3": { osi: 7, tcpIp: "application" },
  WebSocket: { osi: 7, tcpIp: "application" },
  data: { osi: 7, tcpIp: "application" },
};

function layer(name: LayerName, bytes: number, text: string): Layer {
  return { name, bytes, ...LAYERS[name], text };
}

function above(measured: ReadonlyMap<LayerName, number>, what: string): Layer[] {
  const order: readonly LayerName[] = ["TLS", "HTTP/1.1", "HTTP/2", "WebSocket", "data"];
  return order.flatMap((name) => {
    const bytes = measured.get(name);
    return bytes === undefined ? [] : [layer(name, bytes, name === "data" ? size(bytes) : what)];
  });
}

function kindOf({ tcp }: Segment, parts: readonly Part[]): RungKind {
  const { syn, fin, rst } = tcp.flags;
  if (rst) return "reset";
  if (syn) return "open";
  if (fin) return "close";
  if (tcp.payload.length === 0) return "ack";
  if (parts.some(({ kind }) => kind === "data")) return "data";
  return parts[0]?.kind ?? "data";
}

function quicKind(packets: readonly ReadQuicPacket[]): RungKind {
  const frames = packets.flatMap((packet) => packet.frames ?? []);
  const has = (name: string) => frames.some((frame) => frame.name === name);
  if (has("CONNECTION_CLOSE")) return "close";
  if (has("STREAM")) return "data";
  if (has("CRYPTO") || packets.some(({ packet }) => packet.type !== "1-RTT")) return "handshake";
  return frames.length > 0 && frames.every(({ name }) => name === "ACK" || name === "PADDING") ? "ack" : "data";
}

function tcpLayerText({ tcp, sequence, acknowledged, window }: Segment): string {
  const words = [`${tcp.sourcePort} → ${tcp.destinationPort}`, `sequence ${sequence}`];
  if (tcp.flags.ack) words.push(`acknowledgement ${acknowledged}`);
  words.push(`window ${window}`);
  if (tcp.headerBytes > 20) words.push(`${tcp.headerBytes - 20} B of options`);
  return words.join(", ");
}

/** `a, b, b, b` as `a, 3 x b`. */
function collapsed(labels: readonly string[]): string {
  const runs: { text: string; count: number }[] = [];
  for (const text of labels) {
    const last = runs.at(-1);
    if (last?.text === text) last.count++;
    else runs.push({ text, count: 1 });
  }
  return runs.map(({ text, count }) => (count > 1 ? `${count} x ${text}` : text)).join(", ");
}

/** RFC 792, RFC 1191 */
function icmpText(bytes: Uint8Array): string {
  const [type, code] = [bytes[0], bytes[1]];
  if (type === 8) return "ICMP echo";
  if (type === 0) return "ICMP echo reply";
  if (type === 3 && code === 3) return "ICMP port unreachable";
  if (type === 3 && code === 4) return "ICMP fragmentation needed";
  return `ICMP ${type}/${code}`;
}
