/** The ways, what theory says of each in round trips to the first byte of the response, and what a variant changes. */
import type { VERSION } from "../../tls/openssl.ts";

export interface Way {
  readonly name: string;
  readonly isQuic: boolean;
  readonly version: keyof typeof VERSION;
  readonly fastOpen: boolean;
  /** The request of the second visit is early data. */
  readonly early: boolean;
  /** The second request is sent on the connection of the first. */
  readonly isReused: boolean;
  readonly first: number;
  readonly again: number;
  readonly source: string;
  readonly explain: string;
}

const TCP = { isQuic: false, version: "1.3", fastOpen: false, early: false, isReused: false } as const;
const QUIC = { ...TCP, isQuic: true } as const;

export const WAYS: readonly Way[] = [
  {
    ...TCP,
    name: "TCP + TLS 1.2",
    version: "1.2",
    first: 4,
    again: 3,
    source: "RFC 5246 §7.3",
    explain:
      "One round trip opens the connection, two agree on keys, one carries the request. With a session ticket (RFC 5077) the server speaks first of the last words: the handshake takes one round trip, and needs no certificate.",
  },
  {
    ...TCP,
    name: "TCP + TLS 1.3",
    first: 3,
    again: 3,
    source: "RFC 8446 §2",
    explain:
      "The client guesses the group and sends its key share with the ClientHello, so one round trip agrees on keys. Resumption saves the certificate and its signature, not a round trip.",
  },
  {
    ...QUIC,
    name: "QUIC + HTTP/3",
    first: 2,
    again: 2,
    source: "RFC 9000 §7, RFC 9001 §4",
    explain:
      "The first datagram opens the connection and carries the ClientHello: transport and keys in one round trip.",
  },
  {
    ...TCP,
    name: "TCP Fast Open + TLS 1.3",
    fastOpen: true,
    first: 3,
    again: 2,
    source: "RFC 7413 §3",
    explain:
      "The first SYN asks for a cookie. From then on the ClientHello goes with the SYN, as far as it fits into one segment, and the opening of the connection costs no round trip of its own.",
  },
  {
    ...TCP,
    name: "TCP + TLS 1.3 0-RTT",
    early: true,
    first: 3,
    again: 2,
    source: "RFC 8446 §2.3",
    explain:
      "A ticket that allows early data lets the request go with the ClientHello, under a key of the earlier session. Whoever has seen the flight can send it again (RFC 8446 §8): see the experiment replay.",
  },
  {
    ...QUIC,
    name: "QUIC 0-RTT",
    early: true,
    first: 2,
    again: 1,
    source: "RFC 9001 §4.6",
    explain:
      "The request goes with the first datagrams, in 0-RTT packets; the response comes with the server's handshake.",
  },
  {
    ...TCP,
    name: "TCP Fast Open + TLS 1.3 0-RTT",
    fastOpen: true,
    early: true,
    first: 3,
    again: 1,
    source: "RFC 7413 §3, RFC 8446 §2.3",
    explain:
      "SYN, ClientHello and request are one packet. Both halves may be played again by the network: RFC 7413 §2.1 and RFC 8446 §8.",
  },
  {
    ...TCP,
    name: "a connection that is open",
    isReused: true,
    first: 3,
    again: 1,
    source: "RFC 9112 §9.3",
    explain: "Nothing is left to agree on: a request, a response. No way to open a connection is faster than none.",
  },
];

export const VARIANTS = {
  pq: "a ClientHello larger than a SYN, as with a post-quantum key share (X25519MLKEM768)",
  chain: "a certificate chain of 6 KB: leaf, two intermediates, root",
  hrr: "the server wants another group: HelloRetryRequest",
  "ticket-only": "tickets that do not allow early data, and a client that claims it",
  retry: "a QUIC server that has each address proven first: Retry",
} as const;

export type Variant = keyof typeof VARIANTS;

/** What theory says, with what the variant changes. */
export function expectation(
  way: Way,
  variant: Variant | undefined,
): { readonly first: number; readonly again: number } {
  const { isQuic, version, fastOpen, early, isReused } = way;
  let { first, again } = way;
  // The rest of the hello waits for the SYN-ACK: Fast Open has gained nothing.
  if (variant === "pq" && fastOpen) again++;
  // RFC 9000 §8.1: three times what the client has sent, until its address is proven.
  if (variant === "chain" && isQuic) {
    first++;
    // Without a ticket the certificate comes again.
    if (!early) again++;
  }
  if (variant === "hrr" && version === "1.3") {
    first++;
    if (!isReused) again++;
    // RFC 8446 §4.2.10: a server that asks for another hello has refused the early data.
    if (early) again++;
  }
  if (variant === "ticket-only" && early) again++;
  if (variant === "retry" && isQuic) {
    first++;
    again++;
  }
  return { first, again };
}
