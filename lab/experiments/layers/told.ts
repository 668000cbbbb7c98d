/** What a capture tells, for those who judge it. */

import { PROTOCOL, readIp, readUdp } from "../../../src/wire/packet/ip.ts";
import { ladderOf } from "../../capture/climb.ts";
import { KeyLog } from "../../capture/keys.ts";
import type { Ladder, Rung } from "../../capture/ladder.ts";
import { QuicFlow } from "../../capture/quic-flow.ts";
import { type Conversation, conversationsOf } from "../../capture/streams.ts";
import type { Capture } from "../../experiment.ts";
import { LINK_BYTES } from "../../wire/router.ts";

export interface Told {
  readonly capture: Capture;
  readonly ladder: Ladder;
  readonly conversations: readonly Conversation[];
  /** Of HTTP/3: everything that the UDP datagrams carried. */
  readonly quic: QuicFlow;
}

export interface Judgement {
  readonly isRight: boolean;
  readonly why: string;
}

export function tell(capture: Capture): Told {
  return {
    capture,
    ladder: ladderOf(capture),
    conversations: conversationsOf(capture.seen, capture.keyLog),
    quic: quicOf(capture),
  };
}

function quicOf({ seen, keyLog }: Capture): QuicFlow {
  const flow = new QuicFlow(new KeyLog(keyLog ?? ""));
  for (const { bytes, from } of seen.toSorted((a, b) => a.at - b.at)) {
    const ip = readIp(bytes, LINK_BYTES);
    const udp = ip?.protocol === PROTOCOL.udp ? readUdp(ip.payload) : undefined;
    if (udp) flow.read(udp.payload, from === 0 ? "client" : "server");
  }
  return flow;
}

/** Whether these bytes are somewhere in what crossed the wire: in one packet, or in a stream that packets made. */
export function isInTheClear({ capture, conversations }: Told, wanted: Uint8Array): boolean {
  const streams = conversations.flatMap(({ bytes: { client, server } }) => [client, server]);
  return [...capture.seen.map(({ bytes }) => bytes), ...streams].some((bytes) => Buffer.from(bytes).includes(wanted));
}

/** How often the server spoke in the handshake before the client could send its first data. */
export function serverFlights({ rungs }: Ladder): number {
  const firstData = rungs.findIndex(({ kind, from }) => kind === "data" && from === 0);
  let flights = 0;
  let speaker = 0;
  for (const rung of rungs.slice(0, firstData < 0 ? undefined : firstData)) {
    // Tickets of TLS 1.3 come when they come, and nobody waits for them.
    if (rung.kind !== "handshake" || isTickets(rung) || rung.notes.includes("retransmission")) continue;
    if (rung.from === 1 && speaker === 0) flights++;
    speaker = rung.from;
  }
  return flights;
}

function isTickets({ label }: Rung): boolean {
  return label.split(", ").every((piece) => piece.includes("NewSessionTicket"));
}
