/**
 * What was said on one connection and when, as the packets that got through show it: the same words for TLS over TCP
 * and for QUIC. The times are those of the client's port.
 */
import { PROTOCOL, readIp, readUdp, u16 } from "../../src/wire/packet/ip.ts";
import type { HandshakeMessage } from "../../src/wire/packet/tls.ts";
import type { Seen } from "../wire/index.ts";
import { LINK_BYTES } from "../wire/router.ts";
import { KeyLog } from "./keys.ts";
import { QuicFlow, type ReadQuicPacket } from "./quic-flow.ts";
import { connectionsOf } from "./segments.ts";
import { Stream } from "./streams.ts";
import { tlsConversation } from "./tls-parts.ts";

export interface Event {
  /** At the client's port, in nanoseconds: when it came from the client, or left for it. */
  readonly at: number;
  readonly isClient: boolean;
  readonly what:
    | { readonly kind: "handshake"; readonly message: HandshakeMessage }
    /** Bytes of the application; `isEarly`: under the keys of early data (0-RTT). */
    | { readonly kind: "data"; readonly bytes: number; readonly isEarly: boolean }
    /** Sealed, and the key log does not open it; `isShort`: in a packet of QUIC with a short header, of the application. */
    | { readonly kind: "sealed"; readonly bytes: number; readonly isShort?: boolean }
    /** QUIC: the server wants the address proven first (RFC 9000 §8.1.2). */
    | { readonly kind: "retry" }
    | { readonly kind: "path"; readonly frame: "PATH_CHALLENGE" | "PATH_RESPONSE" };
}

export interface Packet {
  /** As of an event. */
  readonly at: number;
  /** When it came to the wire, and when it left it for the other host. */
  readonly sentAt: number;
  readonly arrivedAt: number;
  readonly isClient: boolean;
  /** Of the IP packet. */
  readonly bytes: number;
  /** TCP: a SYN, with its data and its Fast Open option (RFC 7413 §4.1.1; 34). */
  readonly syn?: { readonly data: number; readonly cookie: number | undefined; readonly asksCookie: boolean };
}

export interface Story {
  readonly isQuic: boolean;
  /** In order of time at the client's port. */
  readonly packets: readonly Packet[];
  readonly events: readonly Event[];
}

const FAST_OPEN = 34;

/** Of one TCP connection with TLS; `client` is the index of the host that opened it. */
export function tcpStory(seen: readonly Seen[], client: number, keyLog: readonly string[]): Story {
  const connection = connectionsOf(passedOf(seen, client).map(({ seen }) => seen))[0];
  if (!connection) return { isQuic: false, packets: [], events: [] };
  const sides = { client: new Stream(), server: new Stream() };
  const packets = connection.segments.map((segment): Packet => {
    const { seen: each, tcp, isOpener } = segment;
    const at = isOpener ? each.at : each.leftAt!;
    sides[isOpener ? "client" : "server"].add(segment, at);
    const option = tcp.options.find(({ kind }) => kind === FAST_OPEN)?.data.length;
    return {
      ...packetOf(each, isOpener, at),
      ...(tcp.flags.syn && {
        syn: { data: tcp.payload.length, cookie: option || undefined, asksCookie: option === 0 },
      }),
    };
  });
  const timeOf = (side: "client" | "server", offset: number) => sides[side].timeOf(offset);
  const tls = tlsConversation(sides.client.bytes, sides.server.bytes, new KeyLog(keyLog.join("\n")), timeOf);
  const events = (["client", "server"] as const).flatMap((side) =>
    (tls?.said[side] ?? []).map(({ from, what }): Event => {
      return { at: timeOf(side, from), isClient: side === "client", what };
    }),
  );
  return { isQuic: false, packets, events: inOrder(events) };
}

/** Of one QUIC connection. */
export function quicStory(seen: readonly Seen[], client: number, keyLog: readonly string[]): Story {
  const flow = new QuicFlow(new KeyLog(keyLog.join("\n")));
  const packets: Packet[] = [];
  const events: Event[] = [];
  const shut: { readonly payload: Uint8Array; readonly packet: ReadQuicPacket; readonly at: number }[] = [];
  for (const { seen: each, at, isClient } of passedOf(seen, client)) {
    const ip = readIp(each.bytes, LINK_BYTES);
    const udp = ip?.protocol === PROTOCOL.udp ? readUdp(ip.payload) : undefined;
    if (!udp) continue;
    const { payload } = udp;
    packets.push(packetOf(each, isClient, at));
    for (const packet of flow.read(payload, isClient ? "client" : "server")) {
      if (packet.packet.type === "Retry") events.push({ at, isClient, what: { kind: "retry" } });
      else if (packet.frames) events.push(...eventsOf(packet, at));
      else shut.push({ payload, packet, at });
    }
  }
  // Those that came before what opens them, such as a 1-RTT packet that overtook the ServerHello.
  for (const { payload, packet, at } of shut) events.push(...eventsOf(flow.again(payload, packet), at));
  return { isQuic: true, packets, events: inOrder(events) };
}

function eventsOf({ packet, side, frames, messages }: ReadQuicPacket, at: number): Event[] {
  const isClient = side === "client";
  const isShort = packet.type === "1-RTT";
  if (!frames) return [{ at, isClient, what: { kind: "sealed", bytes: packet.size, isShort } }];
  return [
    ...messages.map((message): Event => ({ at, isClient, what: { kind: "handshake", message } })),
    ...frames.flatMap(({ name, stream, data }): Event[] => {
      if (name === "PATH_CHALLENGE" || name === "PATH_RESPONSE") {
        return [{ at, isClient, what: { kind: "path", frame: name } }];
      }
      // Streams that a client opens in both directions carry requests (RFC 9114 §6.1).
      if (name !== "STREAM" || stream! % 4 !== 0 || data!.length === 0) return [];
      return [{ at, isClient, what: { kind: "data", bytes: data!.length, isEarly: packet.type === "0-RTT" } }];
    }),
  ];
}

/** What got through, in order of time at the client's port. */
function passedOf(seen: readonly Seen[], client: number) {
  return seen
    .flatMap((each) => {
      const isClient = each.from === client;
      return each.leftAt === undefined ? [] : [{ seen: each, isClient, at: isClient ? each.at : each.leftAt }];
    })
    .toSorted((a, b) => a.at - b.at);
}

function packetOf({ at: sentAt, leftAt, bytes }: Seen, isClient: boolean, at: number): Packet {
  return { at, sentAt, arrivedAt: leftAt!, isClient, bytes: readIp(bytes, LINK_BYTES)!.totalBytes };
}

function inOrder(events: readonly Event[]): Event[] {
  return events.toSorted((a, b) => a.at - b.at);
}

/** The port of each side, for telling connections apart. */
export function portsOf({ bytes }: Seen): { readonly source: number; readonly destination: number } | undefined {
  const ip = readIp(bytes, LINK_BYTES);
  if (!ip || ip.payload.length < 4 || (ip.protocol !== PROTOCOL.tcp && ip.protocol !== PROTOCOL.udp)) return undefined;
  return { source: u16(ip.payload, 0), destination: u16(ip.payload, 2) };
}
