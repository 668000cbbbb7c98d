/** The properties of gRPC, gRPC-Web and Connect. PROTOCOL.md §4. */
import type { Support, TransportProperties } from "../../contract/transport.ts";

const has = (how: string): Support => ({ has: true, how });

const COMMON = {
  directionality: "both ways at once on a stream, begun by the client",
  state:
    "none between calls; metadata goes with each; cursors are in trailers, and in a field of each message if asked for",
  addressing: "/package.Service/Method (such as /todo.Todo/Create), found by reflection or the .proto file",
  capabilities: {
    unary: has("a method with messages of its own, or backtalk.v1.Backtalk/Call"),
    serverStream: has("a method that streams, or Backtalk/Read, where each message is a page of events"),
    clientStream: has("a method whose caller streams, or numbered batches by Backtalk/Append"),
    bidi: has("a method that streams both ways, or Append beside Read"),
    subscribe: has("a method SubscribeTOPIC, or Backtalk/Read"),
    resume: has("the same method with the metadata backtalk-call and backtalk-after, or Read after a cursor"),
  },
} as const;

const WEB = {
  ...COMMON,
  directionality:
    "both ways over HTTP/2 and 3; from a browser one way at a time (Fetch §2.2.5: a body is sent before the response is read)",
  routing: "by host and path, through whatever passes HTTP; a browser's page needs CORS",
  flowAndCongestion: "that of the HTTP version below",
  ridesOn: "HTTP/1.1, 2 or 3, on the same port as the rest",
  capabilities: {
    ...COMMON.capabilities,
    clientStream: has("over HTTP/2 and 3 a method whose caller streams; in a browser batches by Backtalk/Append"),
    bidi: has("over HTTP/2 and 3 a method that streams both ways; in a browser Append beside Read"),
  },
} as const;

const grpc: TransportProperties = {
  ...COMMON,
  name: "grpc",
  summary: "gRPC: methods with Protobuf messages over HTTP/2",
  dataFormat: "Protobuf, each message with five bytes before it (flags, length), gzip by grpc-encoding",
  transferMode: "messages on a stream of HTTP/2; many calls on one connection",
  routing: "by :authority and :path; only proxies that pass HTTP/2 with trailers",
  flowAndCongestion:
    "a window for each stream and one for all (RFC 9113 §5.2), over TCP's congestion control (RFC 5681)",
  errorManagement:
    "grpc-status with the 16 codes and google.rpc details in trailers; deadlines by grpc-timeout; PING shows that a connection lives; RetryInfo and a cursor when a stream is to be read on",
  ridesOn: "HTTP/2 over TCP, with TLS (ALPN h2) or by prior knowledge (RFC 9113 §3.3)",
};

const grpcWeb: TransportProperties = {
  ...WEB,
  name: "grpc-web",
  summary: "gRPC-Web: gRPC's messages where trailers do not pass",
  dataFormat: "Protobuf in gRPC's frames; the trailers are a last frame of the body",
  transferMode: "a request and its response for each call; the response may stream",
  errorManagement: "as gRPC, in the last frame; a response without it was cut",
};

const connect: TransportProperties = {
  ...WEB,
  name: "connect",
  summary: "the Connect protocol: Protobuf methods that curl can call",
  dataFormat:
    "a unary call is a plain POST with JSON or Protobuf; streams are messages with five bytes before each (flags, length)",
  transferMode: "a request and its response for each call; the response may stream; GET where a method has no effects",
  errorManagement: "status codes of HTTP and JSON with code and details for unary calls, a last message for streams",
};

export const properties: readonly TransportProperties[] = [grpc, grpcWeb, connect];
