/** A sample service behind the real core and the real HTTP half; and answers that break off. */
import { z } from "zod";
import { bidi, clientStream, serverStream, service, topic, unary } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { createCore, memoryStore } from "../../server.ts";
import type { Fetch } from "../../transports/http/client-request.ts";
import { httpHandler } from "../../transports/http/server.ts";
import { type SocketData, websocketHandler } from "../../transports/websocket/server.ts";

export function makeSample() {
  const runs = { count: 0, add: 0 };
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const gate = (name: string) => {
    const one = gates.get(name) ?? Promise.withResolvers<void>();
    gates.set(name, one);
    return one;
  };
  const sample = service("sample", {
    double: unary({ input: z.object({ n: z.number() }), output: z.object({ n: z.number() }), safe: true }, ({ n }) => ({
      n: 2 * n,
    })),
    add: unary({ input: z.object({}), output: z.object({ runs: z.number() }) }, () => ({ runs: ++runs.add })),
    fail: unary({ input: z.object({ code: z.string() }), output: z.object({}) }, () => {
      throw new Fault("unavailable", "of the handler", { retryAfterMs: 1 });
    }),
    slow: unary(
      {
        input: z.object({ gate: z.string() }),
        output: z.object({ ok: z.boolean() }),
        progress: z.object({ step: z.number() }),
      },
      async (input, call) => {
        call.progress({ step: 1 });
        call.signal.addEventListener("abort", () => gate(input.gate).reject(call.signal.reason));
        await gate(input.gate).promise;
        call.progress({ step: 2 });
        return { ok: true };
      },
    ),
    count: serverStream(
      { input: z.object({ to: z.number() }), item: z.object({ n: z.number() }) },
      async function* ({ to }) {
        runs.count++;
        for (let n = 1; n <= to; n++) {
          yield { n };
          if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      },
    ),
    endless: serverStream({ input: z.object({ gate: z.string() }), item: z.number() }, async function* (input, call) {
      call.signal.addEventListener("abort", () => gate(input.gate).resolve());
      for (let n = 0; !call.signal.aborted; n++) {
        yield n;
        if (n === 2) await gate(input.gate).promise;
      }
    }),
    sum: clientStream(
      { input: z.number(), output: z.object({ sum: z.number(), items: z.number() }) },
      async (items) => {
        let [sum, count] = [0, 0];
        for await (const n of items) {
          if (n === -1) return { sum, items: count };
          sum += n;
          count++;
        }
        return { sum, items: count };
      },
    ),
    echo: bidi(
      { input: z.object({ text: z.string() }), item: z.object({ text: z.string(), n: z.number() }) },
      async function* (items) {
        let n = 0;
        for await (const { text } of items) yield { text: text.toUpperCase(), n: n++ };
      },
    ),
    news: topic({ event: z.object({ n: z.number() }), retain: { events: 1000 } }),
    few: topic({ event: z.object({ n: z.number() }), retain: { events: 3 } }),
  });
  return { sample, runs, gate };
}

export type Sample = ReturnType<typeof makeSample>["sample"];

/** A real core behind HTTP and WebSocket. Its address is `http://server` for whoever uses its `fetch`. */
export async function serve() {
  const made = makeSample();
  const core = createCore(made.sample, { store: memoryStore(), retention: { everyMs: 5 } });
  await core.start();
  const sockets = websocketHandler(core);
  const handler = httpHandler<Bun.Server<SocketData>>(core, { websocket: sockets.upgrade });
  const listen = (port: number) =>
    Bun.serve<SocketData>({
      port,
      hostname: "127.0.0.1",
      fetch: (request, server) => handler(request, server) as Response | Promise<Response>,
      websocket: sockets.websocket,
    });
  let listener = listen(0);
  const url = listener.url.href.slice(0, -1);
  const fetch: Fetch = (to, init) => globalThis.fetch(to.replace("http://server", url), init);
  /** Cuts every connection, and listens again. */
  const restart = async () => {
    const port = listener.port!;
    await listener.stop(true);
    listener = listen(port);
  };
  const stop = async () => {
    await core.close();
    await listener.stop(true);
  };
  return { ...made, core, url, sockets, fetch, restart, stop };
}

export type Served = Awaited<ReturnType<typeof serve>>;

/** Gives so many bytes, then breaks. */
function piped(body: ReadableStream<Uint8Array>, bytes: number): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = bytes;
  return new ReadableStream({
    async pull(controller) {
      // Not with the last bytes: an error throws away what has not been read yet.
      if (left <= 0) {
        controller.error(new TypeError("network error"));
        return reader.cancel().catch(() => {});
      }
      const { done, value } = await reader.read();
      if (done) return controller.close();
      controller.enqueue(value.subarray(0, left));
      left -= value.length;
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

export interface Cuts {
  /** How many bytes of the next answer's body come; undefined for all. Negative: not even its header. */
  next(url: string, init: RequestInit): number | undefined;
}

/** The server is reached, and its answer breaks off. */
export function cutting(fetch: Fetch, cuts: Cuts): Fetch {
  return async (url, init) => {
    const bytes = cuts.next(url, init);
    const response = await fetch(url, init);
    if (bytes === undefined) return response;
    if (bytes < 0) {
      await response.body?.cancel().catch(() => {});
      throw new TypeError("network error");
    }
    return response.body ? new Response(piped(response.body, bytes), response) : response;
  };
}
