/** A server over the real core and the memory store, for the tests of the server half. */
import { z } from "zod";
import { bidi, clientStream, serverStream, service, topic, unary } from "../../contract/index.ts";
import { type CoreOptions, createCore, memoryStore } from "../../server.ts";
import { type HttpOptions, type HttpServer, httpHandler } from "./server.ts";

const number = z.object({ n: z.number() });

export async function serve(options: Partial<CoreOptions> & { http?: HttpOptions } = {}) {
  /** Handlers that wait, by name: call to let one go on. */
  const gates = new Map<string, () => void>();
  const gate = (name: string) => new Promise<void>((resolve) => gates.set(name, resolve));
  const seen = { aborted: 0, runs: 0, trace: "" };
  const lab = service("lab", {
    double: unary({ input: number, output: number, safe: true }, ({ n }) => ({ n: 2 * n })),
    later: unary({ input: number, output: number }, async ({ n }) => ({ n: 2 * n })),
    greet: unary({ input: z.object({ name: z.string().default("you") }), output: z.string() }, ({ name }) => name),
    broken: unary({ input: z.object({}), output: z.object({}) }, () => {
      throw new Error("a secret");
    }),
    slow: unary({ input: z.object({ gate: z.string() }), output: number, progress: number }, async (input, call) => {
      seen.runs++;
      seen.trace = call.trace?.traceparent ?? "";
      call.signal.addEventListener("abort", () => seen.aborted++);
      call.progress({ n: 1 });
      await gate(input.gate);
      return { n: 42 };
    }),
    count: serverStream(
      { input: z.object({ to: z.number(), size: z.number().default(0) }), item: z.unknown() },
      function* (input) {
        for (let n = 1; n <= input.to; n++) yield input.size > 0 ? { n, text: "x".repeat(input.size) } : { n };
      },
    ),
    drip: serverStream({ input: z.object({ gate: z.string() }), item: number }, async function* (input) {
      yield { n: 1 };
      await gate(input.gate);
      yield { n: 2 };
    }),
    sum: clientStream({ input: number, output: number }, async (items) => {
      let sum = 0;
      for await (const { n } of items) sum += n;
      return { n: sum };
    }),
    first: clientStream({ input: number, output: number }, async (items) => {
      for await (const item of items) return item;
      return { n: -1 };
    }),
    echo: bidi({ input: number, item: number }, async function* (items) {
      for await (const { n } of items) yield { n: -n };
    }),
    ticks: topic({ event: number }),
    closed: topic({ event: number, open: false }),
  });
  const { http, ...rest } = options;
  const store = rest.store ?? memoryStore();
  const core = createCore(lab, { store, ...rest });
  await core.start();
  const handler = httpHandler(core, http);
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 10,
    maxRequestBodySize: 1024 ** 3,
    // Without WebSocket there is always a response.
    fetch: (request, server) => handler(request, server as HttpServer) as Response | Promise<Response>,
  });
  const url = `http://127.0.0.1:${server.port}`;
  const post = (path: string, body?: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  const get = (path: string, headers: Record<string, string> = {}, init: RequestInit = {}) =>
    fetch(url + path, { headers, ...init });
  const release = async (name: string) => {
    await until(() => gates.has(name));
    gates.get(name)!();
    gates.delete(name);
  };
  const metric = (line: string): number => {
    const found = core.metrics
      .text()
      .split("\n")
      .find((each) => each.startsWith(`${line} `));
    return Number(found?.slice(line.length + 1) ?? 0);
  };
  const stop = async () => {
    for (const open of gates.values()) open();
    await core.close();
    await server.stop(true);
  };
  return { core, store, server, port: server.port!, url, post, get, gates, release, seen, metric, stop };
}

export type Served = Awaited<ReturnType<typeof serve>>;

/** Waits for a condition; fails after 30 s. */
export async function until(condition: () => unknown | Promise<unknown>, what = condition.toString()): Promise<void> {
  const end = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited 30 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Collects a body as it comes. */
export function reading(response: Response) {
  const utf8 = new TextDecoder();
  const reader = response.body!.getReader();
  const got = { text: "", done: false, error: undefined as unknown, cancel: () => reader.cancel() };
  const run = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      got.text += utf8.decode(value, { stream: true });
    }
  };
  run()
    .catch((error) => {
      got.error = error;
    })
    .finally(() => {
      got.done = true;
    });
  return got;
}

/** A socket that sends what it is told, and nothing else. */
export async function rawSocket(port: number) {
  const got = { text: "", closed: false };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, data) {
        got.text += data.toString();
      },
      close() {
        got.closed = true;
      },
      error() {},
    },
  });
  return { got, send: (text: string) => socket.write(text), end: () => socket.terminate(), socket };
}
