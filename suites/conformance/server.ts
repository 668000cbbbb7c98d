/**
 * The server under test: reads what is wanted of it from its standard input, and says on its standard output
 * where it is reached. It is a whole Backtalk server: the mount is on its listeners, gRPC is a part.
 */
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { createConnectRouter } from "@connectrpc/connect";
import { LIMITS } from "../../src/contract/index.ts";
import type { Certificate } from "../../src/net/certificate.ts";
import { startServer } from "../../src/start.ts";
import { memoryStore } from "../../src/stores/memory/store.ts";
import { grpcListener } from "../../src/transports/rpc/host/listener.ts";
import { rpcMount } from "../../src/transports/rpc/host/mount.ts";
import { like, routerOptions } from "../../src/transports/rpc/host/router.ts";
import { answerUnary, type UnaryRequest } from "../../src/transports/rpc/host/unary.ts";
import { loadProtos } from "./protos.ts";
import { conformanceRoutes, PACKAGE } from "./service.ts";

type Wanted = Message & {
  readonly protocol: number;
  readonly useTls: boolean;
  readonly messageReceiveLimit: number;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
};

const GRPC = 2;
const HOST = "127.0.0.1";

const files = ["service", "server_compat"].map((name) => `connectrpc/conformance/v1/${name}.proto`);
const registry = loadProtos(files, process.argv[2]!);
const wanted = fromBinary(registry.getMessage(`${PACKAGE}.ServerCompatRequest`)!, await readMessage()) as Wanted;

const limits = { ...LIMITS, ...(wanted.messageReceiveLimit > 0 && { bodyBytes: wanted.messageReceiveLimit }) };
const shared = routerOptions(limits);
const router = createConnectRouter({ ...shared, jsonOptions: { registry } });
const unary = conformanceRoutes(router, registry);
// The short way of unary methods is tried by the same cases.
const handlers = router.handlers.map((handler) => {
  const { method } = handler;
  const run = unary.get(method);
  if (!run) return handler;
  const options = { run, method, most: limits.bodyBytes, packings: shared.acceptCompression, otherwise: handler };
  return like(handler, (request) => answerUnary(request as UnaryRequest, options));
});

const tls: Certificate | undefined = wanted.useTls
  ? { cert: text(wanted.serverCreds!.cert), key: text(wanted.serverCreds!.key) }
  : undefined;
// Over its own listener for gRPC, and, when asked so, for the others too.
const onListener = wanted.protocol === GRPC || process.argv[3] === "listener";
const port = await (onListener ? ownPort() : httpPort());

const response = toBinary(
  registry.getMessage(`${PACKAGE}.ServerCompatResponse`)!,
  create(registry.getMessage(`${PACKAGE}.ServerCompatResponse`)!, {
    host: HOST,
    port,
    ...(tls && { pemCert: wanted.serverCreds!.cert }),
  }),
);
const size = new Uint8Array(4);
new DataView(size.buffer).setUint32(0, response.length);
await Bun.write(Bun.stdout, Buffer.concat([size, response]));

async function ownPort(): Promise<number> {
  return (await grpcListener({ hostname: HOST, port: 0, tls, handlers, limits, onDefect: say })).port;
}

async function httpPort(): Promise<number> {
  const free = { port: 0, isAsked: true };
  const running = await startServer({
    services: [],
    store: memoryStore(),
    hostname: HOST,
    ...(tls ? { tls: { ...free, ...tls } } : { plain: free }),
    parts: [{ mounts: () => [rpcMount(handlers, { limits, onDefect: say })] }],
    version: "0",
  });
  return running.listeners[0]!.port;
}

function say(thrown: unknown, path: string): void {
  console.error(path, thrown);
}

async function readMessage(): Promise<Uint8Array> {
  let read = Buffer.alloc(0);
  for await (const chunk of Bun.stdin.stream()) {
    read = Buffer.concat([read, chunk]);
    if (read.length >= 4 && read.length >= 4 + read.readUInt32BE(0)) break;
  }
  return read.subarray(4, 4 + read.readUInt32BE(0));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

// The runner ends it; should the runner be killed, it ends by itself.
setTimeout(() => process.exit(1), 150_000);
