/** A service with one effect: a comment is added to a list. It counts how often each handler ran. */
import { z } from "zod";
import { service, unary } from "../../../src/index.ts";
import { createCore, httpHandler, memoryStore, serve } from "../../../src/server.ts";
import { serveProgram } from "../../wire/program.ts";

export interface Ran {
  readonly comments: number;
  readonly reads: number;
  readonly requests: number;
}

const comments: string[] = [];
let reads = 0;
let requests = 0;
/** How long the next answer is kept back, in milliseconds: the handler has run by then. */
let lateMs = 0;

const blog = service("blog", {
  comment: unary({ input: z.object({ text: z.string() }), output: z.object({ number: z.int() }) }, ({ text }) => {
    comments.push(text);
    return { number: comments.length };
  }),
  list: unary({ input: z.object({}), output: z.array(z.string()), safe: true }, () => {
    reads++;
    return comments;
  }),
});

serveProgram({
  async serve(address: string): Promise<number> {
    const core = createCore([blog], { store: memoryStore() });
    await core.start();
    const handle = httpHandler(core);
    const { listeners } = await serve({
      hostname: address,
      port: 0,
      limits: core.limits,
      async fetch(request, server) {
        requests++;
        const response = await handle(request, server);
        const ms = lateMs;
        lateMs = 0;
        await Bun.sleep(ms);
        return response;
      },
    });
    return Number(new URL(listeners[0]!.url).port);
  },
  keepBack(ms: number): void {
    lateMs = ms;
  },
  /** How often what ran since the last time, and how many requests came. */
  ran(): Ran {
    const told = { comments: comments.splice(0).length, reads, requests };
    [reads, requests] = [0, 0];
    return told;
  },
});
