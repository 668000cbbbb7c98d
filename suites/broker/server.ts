/** A server with a broker, as a process that can be killed. Prints its port as JSON. */
import { fileURLToPath } from "node:url";
import { amqp, sqliteStore, startServer } from "../../src/server.ts";
import { httpPeer } from "../../src/transports/http/client.ts";
import { type Spawned, type Surroundings, spawn } from "./spawn.ts";

export interface ServerArgs {
  readonly url: string;
  readonly prefix: string;
  readonly store: string;
  readonly port: number;
  readonly topics?: readonly string[];
  readonly graceMs?: number;
}

/** Starts it; resolves when it takes calls. */
export async function serverProcess(args: ServerArgs, at: Surroundings): Promise<Spawned & { readonly port: number }> {
  const child = await spawn(fileURLToPath(import.meta.url), args, at);
  return { ...child, port: (child.said as { port: number }).port };
}

export function peerOf(port: number) {
  return httpPeer({ url: `http://127.0.0.1:${port}`, mode: "ndjson", protocol: "http1.1" });
}

if (import.meta.main) {
  const { url, prefix, store, port, topics, graceMs } = JSON.parse(process.argv[2]!) as ServerArgs;
  const shop = (await import("./service.ts")).default;
  const note = (level: string, message: string, fields?: unknown) =>
    console.error("server", level, message, JSON.stringify(fields ?? {}));
  const running = await startServer({
    services: [shop],
    store: await sqliteStore({ path: store }),
    hostname: "127.0.0.1",
    plain: { port, isAsked: true },
    version: "0",
    drainMs: 200,
    logger: { calls: "defects", call() {}, note: process.env["BACKTALK_NOTES"] ? note : () => {} },
    parts: [amqp({ url, prefix, topics, graceMs })],
  });
  console.log(JSON.stringify({ port: Number(new URL(running.listeners[0]!.url).port) }));
  process.on("SIGTERM", () => void running.stop().then(() => process.exit(0)));
}
