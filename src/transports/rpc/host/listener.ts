/**
 * gRPC: HTTP/2 with trailers, on a port of its own, since `Bun.serve` sends none. With a certificate over TLS
 * (ALPN h2), else by prior knowledge. Connect and gRPC-Web are answered here too: the handlers are the same.
 */
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { ConnectError } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { type Limits, TIMING, type Timing } from "../../../contract/index.ts";
import { type Access, hostCheck, isAllowedOrigin, OTHER_NAME, otherOrigin } from "../../../net/access.ts";
import type { Certificate } from "../../../net/certificate.ts";
import { checkCertificate, listenFault } from "../../../net/faults.ts";
import { headersOf } from "../shared.ts";
import { RequestBody } from "./body.ts";
import { callerValues, protocolOf } from "./caller.ts";
import { Connections } from "./connections.ts";
import { forbidden, notAllowed, notFound, unsupportedType } from "./refuse.ts";
import { Room } from "./room.ts";
import { byPath, type Handlers, hasOneInput } from "./router.ts";
import { chunksOf, fail, send, signalOf } from "./stream.ts";

export interface GrpcListenerOptions {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly tls?: Certificate | undefined;
  readonly handlers: Handlers;
  /** Connect is answered here too, which a page could speak: the same rules as on the HTTP listeners. */
  readonly access?: Access;
  readonly limits: Pick<
    Limits,
    "bodyBytes" | "bodyMs" | "connections" | "exchangesPerConnection" | "headerBytes" | "messageBytesPerConnection"
  >;
  /** After how long a connection without a call is closed, in milliseconds (default 300,000). */
  readonly idleMs?: number;
  /** How long a new connection may take to speak HTTP/2, in milliseconds (default 10,000). */
  readonly greetingMs?: number;
  /** When connections with calls are asked whether they live. */
  readonly timing?: Pick<Timing, "heartbeatMs" | "graceMs">;
  /** Hears of each connection that begins (1) and ends (-1). */
  readonly onConnection?: (by: 1 | -1) => void;
  /** Hears of what no handler has caught: a defect. */
  readonly onDefect?: (thrown: unknown, path: string) => void;
}

export interface GrpcListener {
  /** Such as `http://127.0.0.1:4402`. */
  readonly url: string;
  readonly port: number;
  /** Tells clients to go elsewhere (GOAWAY); what is under way may take `graceMs`, then it is cut. */
  stop(graceMs?: number): Promise<void>;
}

/** @throws Fault when the port cannot be opened, or the certificate cannot serve */
export async function grpcListener(options: GrpcListenerOptions): Promise<GrpcListener> {
  const { hostname, tls, limits, timing = TIMING } = options;
  if (tls) checkCertificate(tls, Date.now());
  const settings: http2.ServerOptions = {
    settings: {
      maxConcurrentStreams: limits.exchangesPerConnection,
      maxHeaderListSize: limits.headerBytes,
      enablePush: false,
    },
  };
  const server = tls
    ? http2.createSecureServer({ ...settings, cert: tls.cert, key: tls.key, allowHTTP1: false })
    : http2.createServer(settings);
  const connections = new Connections({
    most: limits.connections,
    idleMs: options.idleMs ?? 300_000,
    greetingMs: options.greetingMs ?? 10_000,
    ...timing,
    onChange: options.onConnection,
    now: Date.now,
  });
  const onStream = streamListener(options);
  server.on("connection", (socket: Socket) => connections.accept(socket, tls !== undefined));
  server.on("secureConnection", (socket: Socket) => connections.secure(socket));
  server.on("unknownProtocol", (socket: Socket) => socket.end(NOT_HTTP2));
  server.on("session", (session: http2.ServerHttp2Session) => connections.add(session));
  server.on("stream", (stream: http2.ServerHttp2Stream, fields: http2.IncomingHttpHeaders) => {
    connections.begin(stream);
    onStream(stream, fields);
  });
  // Of a connection that fails while it begins.
  server.on("sessionError", () => {});
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve, reject) => {
    server.once("error", (thrown) =>
      reject(listenFault(thrown, { hostname, port: options.port, option: tls ? "--grpc-tls-port" : "--grpc-port" })),
    );
    server.listen(options.port, hostname, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return {
    url: `${tls ? "https" : "http"}://${host}:${port}`,
    port,
    async stop(graceMs = 0) {
      server.close();
      await connections.stop(graceMs);
    },
  };
}

function streamListener(
  options: GrpcListenerOptions,
): (stream: http2.ServerHttp2Stream, fields: http2.IncomingHttpHeaders) => void {
  const { limits, onDefect, access = {} } = options;
  const methods = byPath(options.handlers);
  const scheme = options.tls ? "https" : "http";
  const rooms = new WeakMap<object, Room>();
  const roomOf = (session: object | undefined): Room | undefined => {
    if (!session) return undefined;
    const room = rooms.get(session) ?? new Room(limits.messageBytesPerConnection);
    rooms.set(session, room);
    return room;
  };
  const isHost = access.hosts && hostCheck(access.hosts);

  const answer = (handler: UniversalHandler, stream: http2.ServerHttp2Stream, fields: http2.IncomingHttpHeaders) => {
    const via = protocolOf(fields["content-type"]);
    const body = new RequestBody(chunksOf(stream), {
      isEnveloped: via !== "connect" || handler.method.methodKind !== "unary",
      maxBytes: limits.bodyBytes,
      isOne: hasOneInput(handler),
      withinMs: limits.bodyMs,
      room: roomOf(stream.session),
    });
    // Whoever reads it may have lost interest.
    stream.once("close", () => body.close());
    return handler({
      httpVersion: "2.0",
      method: fields[":method"]!,
      url: `${scheme}://${authorityOf(fields) || "localhost"}${fields[":path"]}`,
      header: headersOf(fields),
      body,
      signal: signalOf(stream),
      contextValues: callerValues({ address: stream.session?.socket.remoteAddress, via }),
    });
  };

  /** Who is refused is told at once; nothing of the body is read. */
  const refusal = (path: string, handler: UniversalHandler | undefined, fields: http2.IncomingHttpHeaders) => {
    const contentType = fields["content-type"];
    const method = fields[":method"]!;
    const authority = authorityOf(fields);
    const base = `${scheme}://${authority}`;
    if (isHost && !isHost(base)) return forbidden(421, OTHER_NAME, contentType);
    const { origin } = fields;
    if (origin !== undefined && !isAllowedOrigin(origin, authority, base, access.origins ?? []))
      return forbidden(403, otherOrigin(origin), contentType);
    if (!handler) return notFound(path, contentType);
    if (!handler.allowedMethods.includes(method)) return notAllowed(handler, method);
    if (method === "POST" && !handler.supportedContentType(contentType ?? ""))
      return unsupportedType(handler, contentType, SPOKEN);
    return undefined;
  };

  return (stream, fields) => {
    const path = pathOf(fields[":path"] ?? "");
    const handler = methods.get(path);
    const refused = refusal(path, handler, fields);
    // What goes wrong with a stream is told by its end.
    stream.on("error", () => {});
    const sent = refused ? send(refused, stream) : answer(handler!, stream, fields).then((each) => send(each, stream));
    sent.catch((thrown) => {
      if (!stream.destroyed && !(thrown instanceof ConnectError)) onDefect?.(thrown, path);
      fail(stream);
    });
  };
}

/** For who came over TLS and chose no protocol (ALPN): in the one that it is likely to speak. */
const NOT_HTTP2 =
  "HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nthis port speaks gRPC, over HTTP/2\n";

const SPOKEN = ["grpc", "grpc-web", "connect"] as const;

/** RFC 9113 §8.3.1 */
function authorityOf(fields: http2.IncomingHttpHeaders): string {
  return fields[":authority"] ?? fields.host ?? "";
}

function pathOf(target: string): string {
  const end = target.indexOf("?");
  return end < 0 ? target : target.slice(0, end);
}
