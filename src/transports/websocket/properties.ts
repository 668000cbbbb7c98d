/** The properties of the WebSocket transport. PROTOCOL.md §3. */
import type { TransportProperties } from "../../contract/transport.ts";

export const properties: readonly TransportProperties[] = [
  {
    name: "websocket",
    summary: "many calls and subscriptions over one socket",
    dataFormat:
      "JSON, one object in each text message (RFC 6455 §5.6), subprotocol backtalk.v1; deflate by option (RFC 7692)",
    transferMode: "messages over one lasting connection, many exchanges told apart by their id",
    addressing: "ws:// or wss://, /ws (RFC 6455 §3); inside it each message names a method, a call or a topic",
    directionality: "both ways at once, at any time",
    state: "the connection keeps the open exchanges and their credit; calls and cursors outlive it",
    routing:
      "the handshake is an HTTP/1.1 Upgrade (RFC 6455 §4), so proxies must pass it on; then one fixed connection",
    flowAndCongestion:
      "credit: one for each event that may be sent, 64 unacknowledged items the other way; below it TCP (RFC 9293 §3.8, RFC 5681)",
    errorManagement:
      "a fault for each exchange; close codes (RFC 6455 §7.4); ping after 25 s of silence; a client that comes back reads on from its cursor",
    ridesOn: "HTTP/1.1 for the handshake, then TCP, with TLS for wss",
    capabilities: {
      unary: { has: true, how: "call, answered by result" },
      serverStream: { has: true, how: "call with credit, answered by events" },
      clientStream: { has: true, how: "call, then numbered items, each acknowledged by ack" },
      bidi: { has: true, how: "items and events at the same time, on the same id" },
      subscribe: { has: true, how: "subscribe with credit" },
      resume: { has: true, how: "attach or subscribe after a cursor" },
    },
  },
];
