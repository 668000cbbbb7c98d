/** A program with the echo service on a listener and on the HTTP listeners' mount; its ports go to standard output. */
import { LIMITS } from "../../../../contract/index.ts";
import type { HttpServer } from "../../../../net/mount.ts";
import { serve } from "../../../../net/serve.ts";
import { grpcListener } from "../listener.ts";
import { rpcMount } from "../mount.ts";
import { echoHandlers } from "./echo.ts";

export interface Ports {
  readonly grpc: number;
  readonly http: number;
}

const limits = { ...LIMITS, bodyBytes: 1024 * 1024, exchangesPerConnection: 100 };
const handlers = echoHandlers(limits);
const listener = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits });
const mount = rpcMount(handlers, { limits });
const served = await serve<undefined>({
  hostname: "127.0.0.1",
  port: 0,
  limits,
  fetch: (request, server) => mount.fetch(request, server as unknown as HttpServer),
});
const ports: Ports = { grpc: listener.port, http: served.listeners[0]!.port };
console.log(JSON.stringify(ports));
// The test ends it; should the test be killed, it ends by itself.
setTimeout(() => process.exit(1), 180_000);
