/** A whole server with Durable Streams, for these tests. */
import { z } from "zod";
import { type Authenticate, type Limits, service, topic } from "../../src/contract/index.ts";
import { durableStreamsPart } from "../../src/durable/part.ts";
import type { DurableStreamsOptions } from "../../src/durable/server.ts";
import type { Store } from "../../src/log/index.ts";
import { startServer } from "../../src/start.ts";
import { memoryStore } from "../../src/stores/memory/store.ts";

export const DEMO = service("demo", {
  ticks: topic({ event: z.object({ n: z.number() }) }),
  any: topic({ event: z.any() }),
  closed: topic({ event: z.any(), open: false }),
});

export interface ServeOptions extends Partial<Omit<DurableStreamsOptions, "store" | "count">> {
  readonly store?: Store;
  readonly limits?: Partial<Limits>;
  readonly authenticate?: Authenticate;
}

/** On a free port; `origins` are all, so that preflights are answered. */
export async function serveStreams({ store = memoryStore(), limits, authenticate, ...durable }: ServeOptions = {}) {
  const running = await startServer({
    services: [DEMO],
    store,
    hostname: "127.0.0.1",
    plain: { port: 0, isAsked: true },
    origins: "*",
    version: "0",
    drainMs: 200,
    ...(limits && { limits }),
    ...(authenticate && { authenticate }),
    parts: [durableStreamsPart({ store, ...durable })],
  });
  const { url } = running.listeners[0]!;
  return { running, url, streams: `${url}${durable.path ?? "/streams"}` };
}
