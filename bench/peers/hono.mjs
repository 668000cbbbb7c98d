/** The same service on Hono, under Bun, with its zod validator. */
import { zValidator } from "@hono/zod-validator";
import { Hono } from "hono";
import { z } from "zod";
import { isPrime, ready } from "./shared.mjs";

const app = new Hono();
app.post("/bench/isPrime", zValidator("json", z.object({ n: z.int() })), (c) =>
  c.json({ prime: isPrime(c.req.valid("json").n) }),
);

const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch });
ready({ port: server.port });
