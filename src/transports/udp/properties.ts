/** The properties of UDP. PROTOCOL.md §6. */
import type { TransportProperties } from "../../contract/transport.ts";

/** The port when none is said. */
export const UDP_PORT = 4470;

const ONE = "one datagram is one question or one answer: there is no stream to put items into";

export const properties: readonly TransportProperties[] = [
  {
    name: "udp",
    summary: "one datagram asks, one answers",
    dataFormat: "a header of 12 bytes and a token, then a JSON object; at most 1,200 bytes (RFC 8085 §3.2)",
    transferMode: "single datagrams; the client sends one again until it is answered (RFC 8085 §3.3)",
    addressing: "udp://host:port; inside the datagram service/method or the id of a call",
    directionality: "the client asks, the server answers",
    state:
      "no connection; the client keeps a token that proves its address, the server the answers of 150 s, by client and question",
    routing: "by address and port, each datagram by itself; passes NAT from inside, where UDP is let through",
    flowAndCongestion:
      "a window of questions, halved at a loss, and exponential backoff with jitter (RFC 8085 §3.1.1, RFC 6298, RFC 5681); rates for each address",
    errorManagement:
      "a fault in the answer; a copy of a question gets the same answer and runs nothing (RFC 7252 §4.5); no answer to 6 datagrams is unavailable; an address that has shown nothing gets at most three times its bytes (RFC 9000 §8.1)",
    ridesOn: "UDP (RFC 768), without encryption",
    capabilities: {
      unary: { has: true, how: "ask, answered by result; running says that it takes longer" },
      serverStream: { has: false, why: ONE },
      clientStream: { has: false, why: ONE },
      bidi: { has: false, why: ONE },
      subscribe: { has: false, why: "nothing would tell a publisher that its reader is slow or has gone" },
      resume: {
        has: false,
        why: "events are not read here; the state of a call is, and its events over any other transport by its id",
      },
    },
  },
];
