/** The client of Durable Streams on a topic and on streams of its own: the same events as by any other way. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { FOLDER, testInstalled } from "./installed.ts";
import { serveStreams } from "./serving.ts";
import { serviceClient } from "./typed.ts";

/** What is used of @durable-streams/client. */
interface DurableStream {
  append(body: string | Uint8Array): Promise<void>;
  close(options?: object): Promise<unknown>;
}
interface StreamResponse {
  json<T>(): Promise<T[]>;
  textStream(): ReadableStream<string>;
  readonly offset: string;
  jsonStream(): ReadableStream<unknown>;
}
interface Library {
  readonly DurableStream: {
    create(options: { url: string; contentType: string; body?: string }): Promise<DurableStream>;
    connect(options: { url: string }): Promise<DurableStream>;
  };
  readonly IdempotentProducer: new (
    stream: DurableStream,
    id: string,
    options?: object,
  ) => { append(body: string): void; flush(): Promise<void>; close(): Promise<unknown>; detach?(): Promise<void> };
  stream(options: { url: string; offset?: string; live?: boolean | "sse" | "long-poll" }): Promise<StreamResponse>;
}

let library: Library;
let server: Awaited<ReturnType<typeof serveStreams>>;

beforeAll(async () => {
  server = await serveStreams({ create: true });
  library = (await import(join(FOLDER, "node_modules/@durable-streams/client/dist/index.js")).catch(
    () => undefined,
  )) as Library;
});
afterAll(() => server.running.stop());

describe("@durable-streams/client", () => {
  testInstalled("writes to a topic, and Backtalk's own readers and its SSE get the same", async () => {
    const url = `${server.streams}/ticks`;
    const stream = await library.DurableStream.connect({ url });
    const live = await library.stream({ url, offset: "-1", live: "sse" });
    const reader = live.jsonStream().getReader();
    const got: unknown[] = [];
    for (let n = 0; n < 20; n++) {
      await stream.append(JSON.stringify({ n }));
      got.push((await reader.read()).value);
    }
    await reader.cancel();
    const own = serviceClient(server.url);
    const page = await own("ticks");
    expect(page.map(({ data }) => data)).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })));
    expect(got).toEqual(page.map(({ data }) => data));
    const all = await library.stream({ url, offset: "-1", live: false });
    expect(await all.json<{ n: number }>()).toEqual(page.map(({ data }) => data as { n: number }));
    // An offset of the client is a cursor of Backtalk.
    expect(all.offset).toBe(page.at(-1)!.cursor);
  });

  testInstalled("its idempotent producer writes each event once", async () => {
    const url = `${server.streams}/any`;
    const stream = await library.DurableStream.connect({ url });
    const producer = new library.IdempotentProducer(stream, "writer-1", { autoClaim: true });
    for (let n = 0; n < 50; n++) producer.append(JSON.stringify({ n }));
    await producer.flush();
    const all = await library.stream({ url, offset: "-1", live: false });
    expect(await all.json<{ n: number }>()).toEqual(Array.from({ length: 50 }, (_, n) => ({ n })));
  });

  testInstalled("makes a stream, writes it, closes it, and reads to its end by long polling", async () => {
    const url = `${server.streams}/notes/today`;
    const stream = await library.DurableStream.create({ url, contentType: "text/plain" });
    const live = await library.stream({ url, offset: "-1", live: "long-poll" });
    const reading = Array.fromAsync(live.textStream() as unknown as AsyncIterable<string>);
    await stream.append("one ");
    await stream.append("two");
    await stream.close();
    expect((await reading).join("")).toBe("one two");
  });
});

test("pages of other origins may send and see the fields of Durable Streams", async () => {
  const origin = "https://page.example";
  const url = `${server.streams}/ticks`;
  const preflight = await fetch(url, {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "PUT", "access-control-request-headers": "producer-id" },
  });
  expect(preflight.headers.get("access-control-allow-methods")).toContain("PUT");
  expect(preflight.headers.get("access-control-allow-headers")).toContain("producer-id");
  for (const response of [
    await fetch(url, { headers: { origin } }),
    await fetch(`${url}?offset=a`, { headers: { origin } }),
  ]) {
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("access-control-expose-headers")).toContain("stream-next-offset");
  }
});
