/** The properties of TCP and of Unix sockets. PROTOCOL.md §5. */
import type { TransportProperties } from "../../contract/transport.ts";

/** Unless another is given. */
export const TCP_PORT = 4460;
export const TLS_PORT = 4461;

const capabilities: TransportProperties["capabilities"] = {
  unary: { has: true, how: "call, answered by result" },
  serverStream: { has: true, how: "call with credit, answered by events" },
  clientStream: { has: true, how: "call, then numbered items, each acknowledged by ack" },
  bidi: { has: true, how: "items and events at the same time, on the same id" },
  subscribe: { has: true, how: "subscribe with credit" },
  resume: { has: true, how: "attach or subscribe after a cursor" },
};

const common = {
  dataFormat: "JSON, one object in each frame: its length in four bytes (big-endian), then UTF-8",
  transferMode: "messages over one lasting connection, many exchanges told apart by their id",
  directionality: "both ways at once, at any time",
  state: "the connection keeps the open exchanges and their credit; calls and cursors outlive it",
  errorManagement:
    "a fault for each exchange; a last message with a close code; ping after 25 s of silence; a client that comes back reads on from its cursor",
  capabilities,
};

export const properties: readonly TransportProperties[] = [
  {
    name: "tcp",
    summary: "many calls and subscriptions over one connection, without HTTP",
    ...common,
    addressing:
      "tcp://host:port (4460) or tls://host:port (4461); inside it each message names a method, a call or a topic",
    routing: "one fixed connection; proxies of bytes pass it on, those of HTTP do not",
    flowAndCongestion:
      "credit: one for each event that may be sent, 64 unacknowledged items the other way; below it TCP (RFC 9293 §3.8, RFC 5681)",
    ridesOn: "TCP, with TLS for tls://",
  },
  {
    name: "unix",
    summary: "the same between processes of one machine, over a file",
    ...common,
    addressing: "unix:/path of at most 107 bytes; who may connect is decided by the rights of the file",
    routing: "the kernel of one machine",
    flowAndCongestion:
      "credit: one for each event that may be sent, 64 unacknowledged items the other way; below it the buffer of the socket (unix(7))",
    ridesOn: "a Unix domain stream socket",
  },
];
