/**
 * HTTP/2 clients that cancel what they send: those of `node:http2` end the stream first and reset it then (RFC 9113
 * §8.1), so half of a body looks whole until the reset comes. It must not be taken for all of it.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { clientStream, service, unary, upload } from "../../src/index.ts";
import { durableStreamsPart, memoryStore, startServer, uploads } from "../../src/server.ts";
import type { Running } from "../../src/start.ts";
import { until } from "../transport/world.ts";

const STREAMS = 50;
const folder = mkdtempSync(join(tmpdir(), "backtalk-reset-test-"));
let running: Running;
let session: ClientHttp2Session;
let base: string;
/** What the handlers took for whole. */
const taken: unknown[] = [];

beforeAll(async () => {
  const store = memoryStore();
  const seen = service("s", {
    sum: clientStream({ input: z.int(), output: z.int() }, async (items) => {
      let sum = 0;
      for await (const item of items) sum += item;
      taken.push(sum);
      return sum;
    }),
    size: unary({ input: upload(), output: z.int() }, ({ size }) => {
      taken.push(size);
      return size;
    }),
  });
  running = await startServer({
    services: [seen],
    store,
    hostname: "127.0.0.1",
    plain: { port: 0, isAsked: true },
    version: "0",
    drainMs: 100,
    parts: [uploads({ directory: join(folder, "uploads") }), durableStreamsPart({ store, create: true })],
  });
  base = `http://127.0.0.1:${running.listeners[0]!.port}`;
  session = connect(base);
  await new Promise((resolve) => session.once("connect", resolve));
});

beforeEach(() => {
  taken.length = 0;
});

afterAll(async () => {
  session?.destroy();
  await running?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends half of a body on many streams, and cancels them when the server has it. */
async function cancelled(
  method: string,
  path: (n: number) => string,
  type: string,
  half: string,
  more: Record<string, string> = {},
): Promise<void> {
  const streams = Array.from({ length: STREAMS }, (_, n) => {
    const stream = session.request({ ":method": method, ":path": path(n), "content-type": type, ...more });
    stream.on("error", () => {});
    stream.write(half);
    return stream;
  });
  await answeredPing();
  const closed = streams.map((stream) => new Promise((resolve) => stream.once("close", resolve)));
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  await Promise.all(closed);
  await answeredPing();
}

const RESUMABLE = { "upload-complete": "?1", "upload-draft-interop-version": "8" };

/** All that was sent before has arrived. */
const answeredPing = () => new Promise<void>((resolve) => session.ping(() => resolve()));

/** That of a stream, which is whole when it was ended without a reset. */
async function whole(path: string, type: string, body: string): Promise<number> {
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
  const status = new Promise<number>((resolve) => stream.once("response", (fields) => resolve(fields[":status"]!)));
  stream.resume();
  stream.end(body);
  return await status;
}

test("items: the call waits for the rest", async () => {
  await cancelled("POST", () => "/s/sum", "application/x-ndjson", "1\n2\n");
  await cancelled("POST", () => "/s/sum", "application/x-ndjson", "1\n2");
  expect(taken).toEqual([]);
  const { calls } = (await (await fetch(`${base}/calls`)).json()) as { calls: { state: string; received: unknown }[] };
  expect(new Set(calls.map(({ state }) => state))).toEqual(new Set(["running"]));
});

test("a file in a raw body, in a resumable one, and as an upload of its own", async () => {
  const files = () => readdirSync(join(folder, "uploads")).length;
  const before = files();
  await cancelled("POST", () => "/s/size", "text/plain", "half");
  await cancelled("POST", () => "/uploads", "text/plain", "half");
  await cancelled("POST", () => "/s/size", "text/plain", "half", RESUMABLE);
  await until(() => files() === before);
  expect(taken).toEqual([]);
});

test("an append of Durable Streams", async () => {
  const path = (n: number) => `/streams/half${n}`;
  for (let n = 0; n < STREAMS; n++)
    await fetch(base + path(n), { method: "PUT", headers: { "content-type": "text/plain" } });
  await cancelled("POST", path, "text/plain", "half");
  for (let n = 0; n < STREAMS; n++) expect(await (await fetch(`${base}${path(n)}?offset=-1`)).text()).toBe("");
});

test("what is ended and not reset is whole", async () => {
  expect(await whole("/s/sum", "application/x-ndjson", "1\n2")).toBe(200);
  expect(await whole("/s/size", "text/plain", "whole")).toBe(200);
  expect(await whole("/streams/half0", "text/plain", "whole")).toBe(204);
  expect(taken).toEqual([3, 5]);
});
