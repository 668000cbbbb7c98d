/** The properties of HTTP in its three versions, and of the ways to read a log over it. PROTOCOL.md §2. */
import type { Support, TransportProperties } from "../../contract/transport.ts";

const has = (how: string): Support => ({ has: true, how });

/** The same semantics in every version of HTTP (RFC 9110). */
const HTTP = {
  addressing: "a URI: scheme, host, port, then /service/method, /calls/ID or /topics/NAME (RFC 9110 §4.2)",
  routing:
    "by host and path; proxies, gateways and caches may stand between (RFC 9110 §3.7); passes NAT and firewalls from inside",
  capabilities: {
    unary: has("POST, and GET or QUERY where the method is safe; 200 with the output"),
    serverStream: has("the response: one NDJSON line for each event"),
    clientStream: has("the request body, an NDJSON line for each item; or numbered batches, POST /calls/ID/items"),
    bidi: has("items by POST /calls/ID/items while another request reads the events"),
    subscribe: has("GET /topics/NAME, one NDJSON line for each event"),
    resume: has("GET .../events?after=CURSOR; of items by their number, ?seq=N"),
  },
} as const;

const ERRORS =
  "status codes (RFC 9110 §15) and problem details (RFC 9457); Retry-After; a repeat under the same Idempotency-Key is the same call";

const http1: TransportProperties = {
  ...HTTP,
  name: "http1",
  summary: "HTTP/1.1: a request and its response",
  dataFormat: "text: header lines, then a JSON body by length or in chunks (RFC 9112 §6, §7)",
  transferMode:
    "messages over a byte stream; one exchange at a time on a connection, further ones open more connections",
  directionality: "the client asks, the server answers, in turns on a connection (RFC 9112 §9.3)",
  state: "none between requests (RFC 9110 §3.3); connections are kept for reuse (RFC 9112 §9.3)",
  flowAndCongestion: "TCP's window and congestion control (RFC 9293 §3.8, RFC 5681)",
  errorManagement: `${ERRORS}; TCP sends again what was lost`,
  ridesOn: "TCP (RFC 9293), with TLS 1.3 for https (RFC 8446)",
};

const http2: TransportProperties = {
  ...HTTP,
  name: "http2",
  summary: "HTTP/2: many exchanges on one connection",
  dataFormat: "binary frames, header fields compressed by HPACK (RFC 9113 §4, RFC 7541); the body is JSON",
  transferMode: "multiplexed streams of frames on one connection (RFC 9113 §5); a lost packet holds up all of them",
  directionality: "both ways at once on a stream, begun by the client (RFC 9113 §5.1)",
  state: "none between requests (RFC 9110 §3.3); the connection keeps HPACK tables, windows and settings",
  flowAndCongestion:
    "a window for each stream and one for all (RFC 9113 §5.2), over TCP's congestion control (RFC 5681)",
  errorManagement: `${ERRORS}; RST_STREAM ends one exchange, GOAWAY the connection (RFC 9113 §6.4, §6.8)`,
  ridesOn: "TCP with TLS, chosen by ALPN h2 (RFC 7301); without TLS by prior knowledge (RFC 9113 §3.3)",
};

const http3: TransportProperties = {
  ...HTTP,
  name: "http3",
  summary: "HTTP/3: many exchanges that do not hold each other up",
  dataFormat: "binary frames, header fields compressed by QPACK (RFC 9114 §7, RFC 9204); the body is JSON",
  transferMode: "QUIC streams (RFC 9000 §2); a lost packet holds up only the streams that it carried",
  directionality: "both ways at once on a stream, begun by the client (RFC 9114 §4.1)",
  state: "none between requests (RFC 9110 §3.3); the connection keeps QPACK tables, windows and connection IDs",
  routing: `${HTTP.routing}, where UDP is let through; found by Alt-Svc (RFC 7838); QUIC names a connection by its ID, not by addresses (RFC 9000 §5.1)`,
  flowAndCongestion: "windows for each stream and for all (RFC 9000 §4), congestion control in QUIC (RFC 9002 §7)",
  errorManagement: `${ERRORS}; RESET_STREAM ends one exchange, GOAWAY the connection (RFC 9114 §5.2, §8); QUIC sends again what was lost (RFC 9002)`,
  ridesOn: "QUIC over UDP, with TLS 1.3 inside (RFC 9000, RFC 9001)",
};

const sse: TransportProperties = {
  ...HTTP,
  name: "sse",
  summary: "server-sent events: one response that does not end",
  dataFormat: "UTF-8 text, text/event-stream: fields id, event, data (WHATWG HTML §9.2); data is JSON",
  transferMode: "one endless response; a comment after 15 s of silence shows that it lives",
  directionality: "from the server to the client; what the client says goes by further requests",
  state: "the client keeps the id of its last event (Last-Event-ID); the server keeps nothing",
  flowAndCongestion: "that of the HTTP version below; the server reads the log only as fast as the client takes it",
  errorManagement:
    "an EventSource comes back by itself after retry:; 204 ends it; the first event is the verdict: recovered, gap or reset",
  ridesOn: "HTTP/1.1, 2 or 3; over 1.1 browsers allow six connections to a host",
  capabilities: {
    ...HTTP.capabilities,
    unary: has("POST with Accept: text/event-stream; progress and the result come as events"),
    serverStream: has("each item is an event with its cursor as id"),
    clientStream: has("numbered batches beside it, POST /calls/ID/items"),
    subscribe: has("GET /topics/NAME with Accept: text/event-stream; also a plain EventSource"),
    resume: has("Last-Event-ID or ?after=CURSOR"),
  },
};

const POLLED: Pick<TransportProperties, "dataFormat" | "directionality" | "flowAndCongestion" | "ridesOn"> = {
  dataFormat: "JSON: a page of at most 300 events and the cursor of the next one",
  directionality: "the client asks, the server answers",
  flowAndCongestion: "the client asks for the next page when it has room; below it that of the HTTP version",
  ridesOn: "HTTP/1.1, 2 or 3",
};

const longPoll: TransportProperties = {
  ...HTTP,
  ...POLLED,
  name: "long-poll",
  summary: "long polling: a request held until something is new",
  transferMode: "a request for each page, held by Prefer: wait=N for at most 60 s (RFC 7240 §4.3)",
  state: "the client keeps the cursor; the server keeps only the request that it holds",
  errorManagement: `${ERRORS}; a request that breaks off is made again with the same cursor`,
  capabilities: {
    ...HTTP.capabilities,
    unary: has("POST with Prefer: respond-async, wait=N; then GET /calls/ID with Prefer: wait=N"),
    serverStream: has("GET /calls/ID/events?after=CURSOR with Prefer: wait=N, page by page"),
    clientStream: has("numbered batches, POST /calls/ID/items"),
    subscribe: has("GET /topics/NAME?after=CURSOR with Prefer: wait=N, page by page"),
  },
};

const poll: TransportProperties = {
  ...HTTP,
  ...POLLED,
  name: "poll",
  summary: "short polling: asking again and again",
  transferMode: "a request for each page, answered at once; Retry-After says when to ask again (RFC 9110 §10.2.3)",
  state: "the client keeps the cursor or the ETag; the server keeps nothing",
  errorManagement: `${ERRORS}; 304 when nothing is new (RFC 9110 §15.4.5); the next request makes up for a lost one`,
  capabilities: {
    ...HTTP.capabilities,
    unary: has("POST with Prefer: respond-async; then GET /calls/ID until it is done"),
    serverStream: has("GET /calls/ID/events?after=CURSOR, page by page, later than they happen"),
    clientStream: has("numbered batches, POST /calls/ID/items"),
    subscribe: has("GET /topics/NAME?after=CURSOR, page by page, later than they happen"),
  },
};

export const properties: readonly TransportProperties[] = [http1, http2, http3, sse, longPoll, poll];
