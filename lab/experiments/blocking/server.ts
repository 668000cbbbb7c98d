/** A Backtalk service whose method `work` computes for a while, in three ways; `hello` answers at once. */
import { z } from "zod";
import { service, unary } from "../../../src/index.ts";
import { createCore, httpHandler, memoryStore, serve } from "../../../src/server.ts";
import { serveProgram } from "../../wire/program.ts";
import { compute } from "./compute.ts";

const worker = new Worker(new URL("./worker.ts", import.meta.url));

const ways = {
  /** Until it is done. */
  blocks: (ms: number) => compute(ms),
  /** A slice at a time. */
  async yields(ms: number) {
    for (let done = 0; done < ms; done += SLICE_MS) {
      compute(SLICE_MS);
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
  thread(ms: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.onmessage = () => resolve();
    worker.postMessage(ms);
    return promise;
  },
};
const SLICE_MS = 5;

const input = z.object({ way: z.enum(["blocks", "yields", "thread"]), ms: z.number() });
const crowd = service("crowd", {
  hello: unary({ input: z.object({}), output: z.string(), safe: true }, () => "hello"),
  work: unary({ input, output: z.string() }, async ({ way, ms }) => {
    await ways[way](ms);
    return way;
  }),
});

serveProgram({
  async serve(address: string): Promise<number> {
    const core = createCore([crowd], { store: memoryStore() });
    await core.start();
    const { listeners } = await serve({ hostname: address, port: 0, fetch: httpHandler(core), limits: core.limits });
    return Number(new URL(listeners[0]!.url).port);
  },
});
