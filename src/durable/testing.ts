/** For the tests of this folder: the facade over a core, without sockets. */
import { z } from "zod";
import { type Authenticate, type Authorize, type Limits, service, topic } from "../contract/index.ts";
import { createCore } from "../create.ts";
import type { Store } from "../log/index.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { type DurableStreamsOptions, durableStreams } from "./server.ts";

const DEMO = service("demo", {
  ticks: topic({ event: z.object({ n: z.number() }) }),
  closed: topic({ event: z.any(), open: false }),
});

export interface FacadeOptions extends Partial<Omit<DurableStreamsOptions, "store" | "count">> {
  readonly store?: Store;
  readonly limits?: Partial<Limits>;
  readonly authenticate?: Authenticate;
  readonly authorize?: Authorize;
  readonly commentMs?: number;
  readonly now?: () => number;
}

/** Callers are who they say: `Authorization: Bearer alice`. */
export const NAMES: Authenticate = ({ bearer }) => ({ id: bearer ?? "" });

export async function facade(options: FacadeOptions = {}) {
  const { store = memoryStore(), limits, authenticate, authorize, now, commentMs = 15_000, ...rest } = options;
  const core = createCore([DEMO], {
    store,
    timing: { commentMs },
    drainMs: 100,
    ...(limits && { limits }),
    ...(authenticate && { authenticate }),
    ...(authorize && { authorize }),
    ...(now && { now }),
  });
  await core.start();
  const mount = durableStreams(core, { store, create: true, ...rest });
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request, server) => {
      try {
        return await mount.fetch(request, server);
      } catch (thrown) {
        const { code } = thrown as { code?: string };
        return Response.json(
          { title: code, detail: String(thrown) },
          { status: code === "permission_denied" ? 403 : 500 },
        );
      }
    },
  });
  const send = (method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${server.port}/streams/${path}`, { method, ...(body !== undefined && { body }), headers });
  return {
    core,
    store,
    mount,
    send,
    get: (path: string, headers?: Record<string, string>) => send("GET", path, undefined, headers),
    async stop() {
      await core.close();
      await server.stop(true);
    },
  };
}

export const TEXT = { "content-type": "text/plain" };
export const JSON_TYPE = { "content-type": "application/json" };

export function producer(id: string, epoch: number, seq: number): Record<string, string> {
  return { "producer-id": id, "producer-epoch": String(epoch), "producer-seq": String(seq) };
}
