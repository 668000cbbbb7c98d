/** A service with one effect: a comment is added to a list. It counts how often each handler ran. */
import { z } from "zod";
import { service, unary } from "../../../src/index.ts";
import { createCore, httpHandler, memoryStore, serve } from "../../../src/server.ts";
import { serveProgram } from "../../wire/program.ts";

const comments: string[] = [];
let reads = 0;

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
    const { listeners } = await serve({ hostname: address, port: 0, fetch: httpHandler(core), limits: core.limits });
    return Number(new URL(listeners[0]!.url).port);
  },
  /** How often what ran since the last time. */
  ran() {
    const told = { comments: comments.splice(0).length, reads };
    reads = 0;
    return told;
  },
});
