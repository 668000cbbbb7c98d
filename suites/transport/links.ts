/** The transports, as the suites use them. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Call, Exchange, Host, Peer } from "../../src/contract/index.ts";
import { describeProto } from "../../src/describe/proto/index.ts";
import { Fault, type Page, type ReadAt } from "../../src/log/index.ts";
import { amqpLink } from "../../src/transports/amqp/testing.ts";
import { type HttpMode, httpPeer } from "../../src/transports/http/client.ts";
import { httpHandler } from "../../src/transports/http/server.ts";
import { memoryPeer } from "../../src/transports/memory/client.ts";
import { connectPeer, grpcWebPeer } from "../../src/transports/rpc/client.ts";
import { grpcPeer } from "../../src/transports/rpc/client-grpc.ts";
import { type GrpcListener, grpcListener, rpcHandlers, rpcMount } from "../../src/transports/rpc/server.ts";
import { tcpPeer } from "../../src/transports/tcp/client.ts";
import { type TcpListener, tcpListener } from "../../src/transports/tcp/server.ts";
import { websocketPeer } from "../../src/transports/websocket/client.ts";
import { type SocketData, websocketHandler } from "../../src/transports/websocket/server.ts";
import { noBroker, startBroker, type TestBroker } from "../broker/broker.ts";
import { testCertificate } from "./certificate.ts";
import { type Cutter, cutter } from "./cutter.ts";
import type { Link } from "./world.ts";

/** A client whose connection is cut after about so many bytes from the server: then it works no more. */
export interface CutLink extends Link {
  /** Where it listens, if it does. */
  readonly port?: number;
  cutPeer(bytes: number): Promise<Peer>;
}

export function memoryLink(): CutLink {
  let host: Host | undefined;
  const peer = (user?: string): Peer => {
    return (call) => {
      if (!host) throw new Fault("unavailable", "there is no server");
      return memoryPeer(host, user === undefined ? {} : { token: user })(call);
    };
  };
  return {
    async serve(next) {
      host = next;
    },
    peer,
    cutPeer: async (bytes) => cutByAbort(peer(), bytes),
    async stop() {
      host = undefined;
    },
  };
}

export interface HttpLinkOptions {
  readonly protocol: "http1.1" | "http2" | "http3";
  readonly mode: HttpMode;
  /** Silence after which a reading counts as broken, in milliseconds. */
  readonly silenceMs?: number;
}

export function httpLink({ protocol, mode, silenceMs }: HttpLinkOptions): CutLink {
  const listener = listen(protocol !== "http1.1", (host) => ({
    fetch: httpHandler(host),
    websocket: websocketHandler(host).websocket,
  }));
  const peerAt = (port: number, user?: string): Peer =>
    httpPeer({
      url: `${protocol === "http1.1" ? "http" : "https"}://127.0.0.1:${port}`,
      mode,
      protocol,
      pollMs: 10,
      ...(protocol !== "http1.1" && { tls: { rejectUnauthorized: false } }),
      ...(silenceMs !== undefined && { silenceMs }),
      ...(user !== undefined && { token: user }),
    });
  return {
    serve: listener.serve,
    stop: listener.stop,
    get port() {
      return listener.port;
    },
    isPolled: mode === "poll" || mode === "long-poll",
    peer: (user) => peerAt(listener.port, user),
    // QUIC has no connection that a proxy of bytes could reset: the request is aborted instead.
    cutPeer: async (bytes) =>
      protocol === "http3" ? cutByAbort(peerAt(listener.port), bytes) : peerAt(await listener.cutPort(bytes)),
  };
}

export function websocketLink(): CutLink {
  const listener = listen(false, (host) => {
    const { upgrade, websocket } = websocketHandler(host);
    return { fetch: upgrade, websocket };
  });
  const peerAt = (port: number, user?: string): Peer =>
    websocketPeer({ url: `http://127.0.0.1:${port}`, ...(user !== undefined && { token: user }) });
  return {
    serve: listener.serve,
    stop: listener.stop,
    peer: (user) => peerAt(listener.port, user),
    cutPeer: async (bytes) => peerAt(await listener.cutPort(bytes)),
  };
}

export type RpcProtocol = "grpc" | "grpc-web" | "connect";

/** gRPC on a listener of its own, the other two beside everything else on that of HTTP. */
export function rpcLink(protocol: RpcProtocol, isTls = false): CutLink {
  return protocol === "grpc" ? grpcLink() : mountedLink(protocol, isTls);
}

function mountedLink(protocol: "grpc-web" | "connect", isTls: boolean): CutLink {
  const listener = listen(isTls, (host) => {
    const mount = rpcMount(rpcHandlers(host, describeProto(host.contract)), { limits: host.limits });
    return { fetch: httpHandler(host, { mounts: [mount] }), websocket: websocketHandler(host).websocket };
  });
  const make = protocol === "connect" ? connectPeer : grpcWebPeer;
  const peerAt = (port: number, user?: string): Peer =>
    make({
      url: `${isTls ? "https" : "http"}://127.0.0.1:${port}`,
      ...(isTls && { tls: { rejectUnauthorized: false } }),
      ...(user !== undefined && { token: user }),
    });
  return {
    serve: listener.serve,
    stop: listener.stop,
    get port() {
      return listener.port;
    },
    peer: (user) => peerAt(listener.port, user),
    cutPeer: async (bytes) => peerAt(await listener.cutPort(bytes)),
  };
}

function grpcLink(): CutLink {
  let listener: GrpcListener | undefined;
  let port = 0;
  let cutters: Cutter[] = [];
  const peerAt = (at: number, user?: string): Peer => {
    return grpcPeer({ url: `http://127.0.0.1:${at}`, ...(user !== undefined && { token: user }) });
  };
  return {
    async serve(host) {
      const handlers = rpcHandlers(host, describeProto(host.contract));
      listener = await grpcListener({ hostname: "127.0.0.1", port, handlers, limits: host.limits });
      port = listener.port;
    },
    get port() {
      return port;
    },
    peer: (user) => peerAt(port, user),
    async cutPeer(bytes) {
      const proxy = await cutter(port);
      proxy.cutAfter(bytes);
      cutters.push(proxy);
      return peerAt(proxy.port);
    },
    async stop() {
      await Promise.all(cutters.map((each) => each.close()));
      cutters = [];
      await listener?.stop();
      listener = undefined;
    },
  };
}

/** A Unix socket has no network to fail: what is cut is what lies between, a socket of its own. */
export function tcpLink(kind: "tcp" | "tls" | "unix"): CutLink {
  const path = join(tmpdir(), `bt-${crypto.randomUUID()}`);
  let listener: TcpListener | undefined;
  let cutters: Cutter[] = [];
  let port = 0;
  const peerAt = (at: number | string, user?: string): Peer =>
    tcpPeer({
      url: typeof at === "string" ? `unix:${at}` : `${kind}://127.0.0.1:${at}`,
      ...(kind === "tls" && { tls: { rejectUnauthorized: false } }),
      ...(user !== undefined && { token: user }),
    });
  return {
    async serve(host) {
      const tls = kind === "tls" ? testCertificate() : undefined;
      listener = await tcpListener(host, kind === "unix" ? { unix: path } : { hostname: "127.0.0.1", port, tls });
      port = listener.port ?? 0;
    },
    peer: (user) => peerAt(kind === "unix" ? path : port, user),
    async cutPeer(bytes) {
      const proxy = await cutter(kind === "unix" ? path : port, kind === "unix" ? `${path}.cut${cutters.length}` : 0);
      proxy.cutAfter(bytes);
      cutters.push(proxy);
      return peerAt(kind === "unix" ? proxy.path! : proxy.port);
    },
    async stop() {
      await Promise.all(cutters.map((each) => each.close()));
      cutters = [];
      await listener?.stop(0);
      listener = undefined;
    },
  };
}

/** With a broker of its own, from the first use to the end of the process. */
export function brokerLink(): CutLink {
  let broker: TestBroker | undefined;
  const link = amqpLink(() => broker!.url);
  return {
    async serve(host) {
      broker ??= await startBroker();
      await link.serve(host);
    },
    peer: link.peer,
    // The broker stands between: what breaks is a client's connection to it, in the middle of a page.
    cutPeer: async (bytes) => cutByAbort(link.peer(), bytes),
    stop: link.stop,
  };
}

/** One of each, for what is tested across transports. */
export function allLinks(): Readonly<Record<string, CutLink>> {
  return {
    memory: memoryLink(),
    "http1.1 sse": httpLink({ protocol: "http1.1", mode: "sse" }),
    "http1.1 ndjson": httpLink({ protocol: "http1.1", mode: "ndjson" }),
    "http1.1 long-poll": httpLink({ protocol: "http1.1", mode: "long-poll" }),
    "http1.1 poll": httpLink({ protocol: "http1.1", mode: "poll" }),
    "http2 sse": httpLink({ protocol: "http2", mode: "sse" }),
    "http3 sse": httpLink({ protocol: "http3", mode: "sse" }),
    websocket: websocketLink(),
    grpc: rpcLink("grpc"),
    "grpc-web": rpcLink("grpc-web"),
    connect: rpcLink("connect"),
    ...(noBroker() === undefined && { amqp: brokerLink() }),
  };
}

interface Served {
  fetch(request: Request, server: Bun.Server<SocketData>): ReturnType<ReturnType<typeof httpHandler>>;
  readonly websocket: Bun.WebSocketHandler<SocketData>;
}

/** A listener that comes back at the same port. */
export function listen(isTls: boolean, handlers: (host: Host) => Served) {
  let server: Bun.Server<SocketData> | undefined;
  let cutters: Cutter[] = [];
  const listener = {
    port: 0,
    async serve(host: Host) {
      server = Bun.serve<SocketData>({
        hostname: "127.0.0.1",
        port: listener.port,
        // The server's own limits are to say no, not the listener's.
        maxRequestBodySize: 2 ** 30,
        ...(isTls && { tls: testCertificate(), http2: true, http3: true }),
        ...handlers(host),
      } as Bun.Serve.Options<SocketData>);
      listener.port = server.port!;
    },
    /** A port that resets its connections after so many bytes. */
    async cutPort(bytes: number): Promise<number> {
      const proxy = await cutter(listener.port);
      proxy.cutAfter(bytes);
      cutters.push(proxy);
      return proxy.port;
    },
    async stop() {
      await Promise.all(cutters.map((each) => each.close()));
      cutters = [];
      await server?.stop(true);
      server = undefined;
    },
  };
  return {
    get port() {
      return listener.port;
    },
    serve: listener.serve,
    cutPort: listener.cutPort,
    stop: listener.stop,
  };
}

/** Cuts where no connection can be: the reading breaks off in the middle of a page. */
function cutByAbort(peer: Peer, bytes: number): Peer {
  let left = bytes;
  const broken = () => new Fault("unavailable", "the connection was cut");
  return async (call: Call): Promise<Exchange> => {
    if (left <= 0) throw broken();
    const exchange = await peer(call);
    const read = (at: ReadAt) => cutReading(exchange.read(at));
    return new Proxy(exchange, {
      get(target, name) {
        if (name === "read") return read;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  async function* cutReading(pages: AsyncIterable<Page>): AsyncGenerator<Page> {
    for await (const page of pages) {
      let taken = 0;
      while (taken < page.events.length && left > 0) left -= page.events[taken++]!.json.length + 60;
      if (left > 0) yield page;
      else {
        const events = page.events.slice(0, taken - 1);
        const cursor = events.at(-1)?.cursor;
        if (cursor) yield { ...page, events, cursor, more: true, ended: false };
        throw broken();
      }
    }
  }
}
