/**
 * A server process for the tests that need a real one: `bun server.ts '{"service":FILE,"store":PATH,...}'`.
 * Prints its ports as a line of JSON when it answers, and ends with its standard input.
 */
import type { CoreOptions } from "../../src/core/options.ts";
import { describeProto } from "../../src/describe/proto/index.ts";
import type { Certificate } from "../../src/net/certificate.ts";
import { serve } from "../../src/net/serve.ts";
import { type AnyService, createCore, memoryStore } from "../../src/server.ts";
import { sqliteStore } from "../../src/stores/sqlite/store.ts";
import { httpHandler } from "../../src/transports/http/server.ts";
import { grpcListener, rpcHandlers, rpcMount } from "../../src/transports/rpc/server.ts";
import { tcpListener } from "../../src/transports/tcp/server.ts";
import { websocketHandler } from "../../src/transports/websocket/server.ts";

export interface ServerArgs {
  /** A module whose default is a service. */
  readonly service: string;
  /** Of a SQLite file; in memory without it. */
  readonly store?: string;
  readonly port: number;
  readonly tlsPort: number;
  /** Of TCP (default any free one). */
  readonly tcpPort?: number;
  /** Of gRPC (default any free one). */
  readonly grpcPort?: number;
  readonly certificate?: Certificate;
  readonly limits?: CoreOptions["limits"];
  readonly timing?: CoreOptions["timing"];
  /** Seconds. */
  readonly idleSeconds?: number;
  /** A token is its principal. */
  readonly users?: boolean;
  /** Pages by path, for browsers: their HTML or script. */
  readonly pages?: Readonly<Record<string, { readonly type: string; readonly text: string }>>;
}

const args = JSON.parse(process.argv[2]!) as ServerArgs;
const { default: service } = (await import(args.service)) as { default: AnyService };
const store = args.store === undefined ? memoryStore() : await sqliteStore({ path: args.store });
const core = createCore(service, {
  store,
  ...(args.limits && { limits: args.limits }),
  ...(args.timing && { timing: args.timing }),
  ...(args.users && { authenticate: ({ bearer }) => ({ id: bearer ?? "" }) }),
});
await core.start();
const sockets = websocketHandler(core);
const handlers = rpcHandlers(core, describeProto(core.contract));
const mounts = [rpcMount(handlers, { limits: core.limits })];
const routes = new Map(
  Object.entries(args.pages ?? {}).map(([path, { type, text }]) => [
    path,
    () => new Response(text, { headers: { "content-type": type } }),
  ]),
);
// Beside the protocol: what the process itself holds, for the test that memory returns.
routes.set("/memory", () => {
  Bun.gc(true);
  return Response.json({ rss: process.memoryUsage.rss(), sockets: sockets.size });
});
const idle = args.idleSeconds === undefined ? {} : { idleSeconds: args.idleSeconds };
const { listeners } = await serve({
  hostname: "127.0.0.1",
  port: args.port,
  ...(args.certificate && { tls: { ...args.certificate, port: args.tlsPort } }),
  fetch: httpHandler(core, { websocket: sockets.upgrade, routes, mounts, ...idle }),
  websocket: sockets.websocket,
  limits: core.limits,
  ...idle,
});
const [plain, secure] = listeners;
const tcp = await tcpListener(core, { hostname: "127.0.0.1", port: args.tcpPort ?? 0 });
const grpc = await grpcListener({ hostname: "127.0.0.1", port: args.grpcPort ?? 0, handlers, limits: core.limits });
const ports = { port: plain!.port, tlsPort: secure?.port ?? 0, tcpPort: tcp.port, grpcPort: grpc.port };
process.stdout.write(`${JSON.stringify(ports)}\n`);

// The test has gone, however it went.
for await (const _ of process.stdin);
process.exit(0);
