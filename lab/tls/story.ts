/** What was said on a connection and when, as the packets show it: the same words for TLS over TCP and for QUIC. */
import type { HandshakeMessage } from "./handshake.ts";

export interface Event {
  /** At the client's port, in nanoseconds: when it came from the client, or left for it. */
  readonly at: number;
  readonly isClient: boolean;
  readonly what:
    | { readonly kind: "handshake"; readonly message: HandshakeMessage }
    /** Bytes of the application; `isEarly`: under the keys of early data (0-RTT). */
    | { readonly kind: "data"; readonly bytes: number; readonly isEarly: boolean; readonly stream: number }
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
  /** `address:port` of the client. */
  readonly client: string;
  /** What got through, in order of time at the client's port. */
  readonly packets: readonly Packet[];
  readonly events: readonly Event[];
}
