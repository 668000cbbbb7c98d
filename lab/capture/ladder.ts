/**
 * The packet ladder of a capture: every packet between the hosts in the order of time, each with one label
 * that names what it is from TCP up to HTTP. Data alone: JSON as it stands; drawn by the report.
 */
import type { DropReason } from "../wire/index.ts";

export interface Ladder {
  readonly name: string;
  /** The sides, by the index in `from` and `to`. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  /** The time of the first packet, in nanoseconds on the clock of captures; all other times count from it. */
  readonly startedAt: number;
  /** From the first packet to the last thing that happened, in nanoseconds. */
  readonly spanNs: number;
  /** Conversations, in the order of their first packets. */
  readonly flows: readonly Flow[];
  readonly rungs: readonly Rung[];
  readonly marks: readonly LadderMark[];
}

/** A connection of TCP, or a pair of ports of UDP. */
export interface Flow {
  readonly protocol: "TCP" | "UDP" | "ICMP" | "other";
  /** `address:port` of the side that sent first, and of the other. */
  readonly opener: string;
  readonly other: string;
}

/** One packet. */
export interface Rung {
  /** From 1, in the order of `at`. */
  readonly number: number;
  /** When it came to the wire from its sender, in nanoseconds from the start of the ladder. */
  readonly at: number;
  /** When it left the wire for its receiver; absent when it was dropped. */
  readonly leftAt?: number;
  readonly drop?: DropReason;
  /** Index of the host; `to` is -1 where nobody has the address. */
  readonly from: number;
  readonly to: number;
  /** On the link, with its Ethernet header. */
  readonly bytes: number;
  /** Index in `flows`. */
  readonly flow: number;
  /** What it is in one line, such as `ClientHello SNI=server ALPN=h2 X25519MLKEM768`. */
  readonly label: string;
  /** What it mainly does, for a colour. */
  readonly kind: RungKind;
  /** From the link up; their bytes add up to `bytes`. */
  readonly layers: readonly Layer[];
  readonly notes: readonly RungNote[];
}

export type RungKind = "open" | "handshake" | "data" | "ack" | "close" | "reset" | "other";

/** What is known of a packet by those before it. */
export type RungNote =
  | "retransmission"
  | "duplicate ack"
  | "out of order"
  | "window update"
  | "zero window"
  | "keep-alive"
  | "window probe"
  | "duplicate"
  | "early data";

/** One layer of a packet, with the bytes that are its own: headers and trailers, or for the last one the content. */
export interface Layer {
  readonly name: LayerName;
  readonly bytes: number;
  /** The layer of OSI (1 to 7); several are the same one where OSI has no better place. */
  readonly osi: number;
  /** Of the TCP/IP model (RFC 1122 §1.1.3). */
  readonly tcpIp: "link" | "internet" | "transport" | "application";
  /** Its fields that matter, in a few words. */
  readonly text: string;
}

export type LayerName =
  | "Ethernet"
  | "IPv4"
  | "ARP"
  | "ICMP"
  | "TCP"
  | "UDP"
  | "TLS"
  | "QUIC"
  | "HTTP/1.1"
  | "HTTP/2"
  | "HTTP/3"
  | "WebSocket"
  | "data";

/** Something that happened at a host, such as "request sent". */
export interface LadderMark {
  readonly at: number;
  /** Index of the host, -1 when it is none of them. */
  readonly host: number;
  readonly text: string;
}
