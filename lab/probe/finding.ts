/** What a probe finds, as data: the schema of `--json`. Names and meanings change only with the number of the schema. */
import type { Reason } from "./reason.ts";

/** Goes up when a field changes its meaning or is gone; new fields may come at any time. */
export const SCHEMA = "backtalk.probe/1";

/** Each thing that is tried, in the order of the table. `--expect` takes these names. */
export const TRIED = {
  dns: "an address for the name (A, AAAA)",
  tcp: "a TCP connection",
  "tls1.0": "TLS 1.0, by a handshake",
  "tls1.1": "TLS 1.1, by a handshake",
  "tls1.2": "TLS 1.2, by a handshake",
  "tls1.3": "TLS 1.3, by a handshake",
  "post-quantum": "the group X25519MLKEM768 is chosen when it is offered",
  certificate: "a certificate that clients take",
  "tls1.2-resumption": "a session of TLS 1.2 goes on on another connection",
  "tls1.3-resumption": "a ticket of TLS 1.3 is taken on another connection",
  "0rtt-tcp": "early data of TLS 1.3 is taken and answered",
  h1: "HTTP/1.1",
  h2: "HTTP/2 over TLS",
  h2c: "HTTP/2 without TLS, by prior knowledge",
  h3: "HTTP/3, tried directly",
  "alt-svc": "the field Alt-Svc says truly where HTTP/3 is",
  "quic-resumption": "a session ticket is taken over QUIC",
  "0rtt-quic": "early data is taken over QUIC",
  "keep-alive": "a second request on the same connection",
  idle: "an idle connection is kept for the time of --idle",
  hsts: "Strict-Transport-Security",
  gzip: "a body that is compressed by gzip",
  br: "a body that is compressed by Brotli",
  zstd: "a body that is compressed by Zstandard",
  websocket: "a WebSocket opens",
  sse: "server-sent events",
  grpc: "gRPC is spoken",
  "grpc-health": "the health service of gRPC",
  "grpc-reflection": "the reflection service of gRPC",
  connect: "the Connect protocol",
  backtalk: "a Backtalk server",
} as const;

export type TriedName = keyof typeof TRIED;
export const TRIED_NAMES = Object.keys(TRIED) as readonly TriedName[];

export interface Finding {
  readonly name: TriedName;
  readonly isPresent: boolean;
  /** Of what is absent. */
  readonly reason?: Reason;
  /** What was seen, for people. */
  readonly text: string;
  /** What was seen, for programs. */
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly phases?: Phases;
}

/**
 * When a request got how far, in milliseconds since its start: the words of curl's `-w` without `time_`. h1,
 * h2, h2c and h3 were tried one after another with nothing beside them; the others share the line.
 * A phase that was not there (TLS of a plain connection) is absent.
 */
export interface Phases {
  /** The name had its address. All requests share one look-up. */
  readonly namelookup: number;
  /** TCP was connected; of QUIC there is none. */
  readonly connect?: number;
  /** TLS was ready; of QUIC: the handshake. */
  readonly appconnect?: number;
  /** The first byte of the answer. */
  readonly starttransfer?: number;
  readonly total?: number;
  /**
   * Round trips that were seen until the first byte, the look-up excluded. Over QUIC they follow from the time of
   * the handshake, and are absent where one takes less than 10 ms.
   */
  readonly roundTrips?: number;
}

export interface Report {
  readonly schema: typeof SCHEMA;
  readonly target: {
    readonly url: string;
    readonly host: string;
    readonly port: number;
    /** All that the name has; the first is the one that was used over TCP. */
    readonly addresses: readonly string[];
    /** How HTTP is spoken there over TCP. */
    readonly speaks: "tls" | "plain" | "nothing";
  };
  readonly startedAt: string;
  readonly durationMs: number;
  readonly findings: readonly Finding[];
  /** All that was sent and got, with the headers of TLS and QUIC, without those of TCP, UDP and IP. */
  readonly cost: {
    readonly tcpConnections: number;
    readonly quicConnections: number;
    readonly requests: number;
    readonly bytesSent: number;
    readonly bytesReceived: number;
  };
  /** Whether anything was spoken; else why not. */
  readonly spoke: boolean;
  readonly reason?: Reason;
}

export function found(name: TriedName, text: string, more: Pick<Finding, "facts" | "phases"> = {}): Finding {
  return { name, isPresent: true, text, ...more };
}

export function absent(
  name: TriedName,
  reason: Reason,
  text = "",
  more: Pick<Finding, "facts" | "phases"> = {},
): Finding {
  return { name, isPresent: false, reason, text, ...more };
}

/** Nothing was sent for it. */
export function notTried(name: TriedName, why: string): Finding {
  return absent(name, { code: "not_tried", detail: why });
}
