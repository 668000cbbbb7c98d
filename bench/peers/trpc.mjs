/** The same service on tRPC, under Node, with its standalone server and zod. */
import { initTRPC } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import { z } from "zod";
import { isPrime, ready } from "./shared.mjs";

const t = initTRPC.create();
const router = t.router({
  isPrime: t.procedure
    .input(z.object({ n: z.int() }))
    .output(z.object({ prime: z.boolean() }))
    .mutation(({ input }) => ({ prime: isPrime(input.n) })),
});

const server = createHTTPServer({ router });
server.listen(0, "127.0.0.1", () => ready({ port: server.address().port }));
