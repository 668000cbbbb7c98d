/** The ways of hearing of events, and what theory says of each. */

/** How the client does it: which half of the project it uses. */
export type Follow = "wait" | "poll" | "long-poll" | "sse" | "websocket" | "grpc" | "topic" | "tcp";

/** Who speaks first for an event: the client at the end, by its own clock, or always again; or the server. */
export type Theory = "wait" | "poll" | "held" | "push";

/** What a connection carries, to count what is asked on it. */
export type Carrier = "http1" | "websocket" | "http2" | "frames";

export interface Way {
  readonly name: string;
  readonly follow: Follow;
  readonly theory: Theory;
  readonly carrier: Carrier;
  /** What must be in the bytes of the connection, in small letters, for it to be this way. */
  readonly sign: string;
  readonly source: string;
  readonly explain: string;
  /** What goes over it while nothing happens, and how often each of it does by default, in milliseconds. */
  readonly idle: { readonly what: string; readonly timersMs: readonly number[] };
}

/** The pause between two polls, and how long a request is held by default, in milliseconds. */
export const POLL_MS = 1_000;
export const HELD_MS = 25_000;
/** How long it is held on the connections that stand idle, where it would be too long to look at. */
export const SHORT_HELD_MS = 3_000;
/** The other timers are so much faster there. */
export const FASTER = 10;

/** Those of `TIMING` (src/contract/host.ts). */
const [COMMENT_MS, HEARTBEAT_MS] = [15_000, 25_000];

export const WAYS: readonly Way[] = [
  {
    name: "request/response",
    follow: "wait",
    theory: "wait",
    carrier: "http1",
    sign: "post /studio/develop http/1.1",
    source: "RFC 9110 §3.4",
    explain:
      "One request, and its answer when the job has ended: all events in one body, so nothing is cheaper, and nothing is heard before. For jobs that end within seconds. Nothing passes while it waits: boxes on the way forget quiet connections after some minutes, and when one breaks, the answer is lost unless the call has an id to come back with.",
    idle: { what: "nothing: it waits", timersMs: [] },
  },
  {
    name: "short polling",
    follow: "poll",
    theory: "poll",
    carrier: "http1",
    sign: "/events?after=",
    source: "RFC 9110 §9.3.1",
    explain:
      "The client asks by its own clock, whether there is something or not: late by half the pause and a round trip, and the cost is of time, not of events. With many events for each poll it is among the cheapest; with few it is the dearest. For caches and simple clients, when late is good enough, or when nothing else passes.",
    idle: { what: "a request and an empty answer each second", timersMs: [POLL_MS] },
  },
  {
    name: "long polling",
    follow: "long-poll",
    theory: "held",
    carrier: "http1",
    sign: "prefer: wait=",
    source: "RFC 6202 §2, RFC 7240 §4.3",
    explain:
      "The server holds the request until there is something. An event that finds one held is there in half a round trip; one that just missed it waits for the answer to arrive and the next request to come: three halves. Each answer costs a request with all its fields. When events come faster than a round trip, one answer brings several, and it becomes cheap. Passes everything that passes HTTP.",
    idle: { what: "a request that is held for 25 s", timersMs: [HELD_MS] },
  },
  {
    name: "server-sent events",
    follow: "sse",
    theory: "push",
    carrier: "http1",
    sign: "content-type: text/event-stream",
    source: "WHATWG HTML §9.2",
    explain:
      "One request, and an answer that does not end: the server speaks when it has something, half a round trip away. An event costs a chunk, its id and its name. One direction, text, through every proxy that does not collect answers; browsers reconnect by themselves with the last id. The first choice when only the server has something to say.",
    idle: { what: "a comment each 15 s", timersMs: [COMMENT_MS] },
  },
  {
    name: "WebSocket",
    follow: "websocket",
    theory: "push",
    carrier: "websocket",
    sign: "upgrade: websocket",
    source: "RFC 6455 §5.2",
    explain:
      "Two to four bytes of frame around a message, in both directions, half a round trip away. What is around the event here is the message that names its exchange and cursor. For clients that speak as often as they listen; many calls share one connection, and a credit now and then keeps a slow reader from being flooded.",
    idle: { what: "a ping and a pong each 25 s", timersMs: [HEARTBEAT_MS] },
  },
  {
    name: "gRPC stream",
    follow: "grpc",
    theory: "push",
    carrier: "http2",
    sign: "pri * http/2.0",
    source: "RFC 9113 §6.1, gRPC over HTTP/2",
    explain:
      "A message of protobuf in a DATA frame, half a round trip away: 5 + 9 bytes around the message, and in it beside the event its cursor, kind and time, in binary. Many streams share one connection. HTTP/2 says besides what was consumed (WINDOW_UPDATE), and some servers ask whether the client lives (PING). Between services; browsers cannot speak it.",
    idle: { what: "an empty message each 15 s and a PING each 25 s", timersMs: [COMMENT_MS, HEARTBEAT_MS] },
  },
  {
    name: "publish/subscribe",
    follow: "topic",
    theory: "push",
    carrier: "websocket",
    sign: '"kind":"item"',
    source: "RFC 6455 §5.2",
    explain:
      "The reader names a topic, not a job: whoever publishes, all who subscribe hear, half a round trip from the server (and the way of the publisher to it, here none: the handler publishes). On the wire it is a push like any other, once for each subscriber. For many readers, or when who speaks is not known beforehand.",
    idle: { what: "a ping and a pong each 25 s", timersMs: [HEARTBEAT_MS] },
  },
  {
    name: "TCP frames",
    follow: "tcp",
    theory: "push",
    carrier: "frames",
    sign: "backtalk.v1\n",
    source: "RFC 9293 §3.1",
    explain:
      "The same messages with four bytes of length before each, on bare TCP: what the others cost is what they have beyond this. No browser, no proxy, no address by path: for programs on one's own network.",
    idle: { what: "a ping and a pong each 25 s", timersMs: [HEARTBEAT_MS] },
  },
];

/** Events a second, and how many of them for each run. */
export interface Rate {
  readonly perSecond: number;
  readonly events: number;
  /** When they begin, in milliseconds from the start (default 0): not all at once. */
  readonly afterMs?: number;
}

export const RATES: readonly Rate[] = [
  { perSecond: 0.2, events: 4 },
  { perSecond: 1, events: 20 },
  { perSecond: 10, events: 60, afterMs: 1_000 },
  { perSecond: 50, events: 200, afterMs: 8_000 },
];
/** The line of the table is at this rate. */
export const MAIN_RATE = 1;

/** One client that follows one job or topic, on a port of its own, so that the capture can be told apart by it. */
export interface Flow {
  readonly follow: Follow;
  /** Whether the job says nothing and timers are fast: to see what passes then. */
  readonly isIdle: boolean;
  /** How many events it will be told. */
  readonly events: number;
}

/** What is in the JSON of an event, and nowhere else on the connection. */
export function markOf(flow: number, event: number): string {
  return `f${String(flow).padStart(2, "0")}-${String(event).padStart(5, "0")}`;
}

/** After it nothing is on its way any more, nor held back: a delayed ACK waits for 40 ms. */
export function graceMs(rttMs: number): number {
  return rttMs + 60;
}
