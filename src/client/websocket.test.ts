/** The whole client over real sockets: the choice of transport, falling back, and breaks by seed. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createClient } from "./index.ts";
import { type Sample, type Served, serve } from "./testing/server.ts";
import { fastEnvironment, seeded, until } from "./testing/tools.ts";
import type { Client, ClientOptions } from "./types.ts";

let server: Served;
const open: Client<Sample>[] = [];
beforeEach(async () => {
  server = await serve();
});
afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await server.stop();
});

function clientWith(options: ClientOptions = {}): Client<Sample> {
  const client = createClient<Sample>(server.url, { environment: fastEnvironment(() => 0.05), ...options });
  open.push(client);
  return client;
}

async function list<T>(items: AsyncIterable<T>, most = Number.POSITIVE_INFINITY): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) if (all.push(item) >= most) break;
  return all;
}

async function* from<T>(...items: T[]) {
  yield* items;
}

const upTo = (to: number) => Array.from({ length: to }, (_, i) => i + 1);

test("every kind of use over a WebSocket", async () => {
  const client = clientWith({ transport: "websocket" });
  expect(await client.sample.double({ n: 1 })).toEqual({ n: 2 });
  expect((await list(client.sample.count({ to: 400 }))).map(({ n }) => n)).toEqual(upTo(400));
  expect(await client.sample.sum(from(...upTo(500)))).toEqual({ sum: 125_250, items: 500 });
  expect(await list(client.sample.echo(from({ text: "x" })))).toEqual([{ text: "X", n: 0 }]);
  const news = client.topics.news.subscribe();
  const reading = list(news, 1);
  await until(() => news.verdict !== undefined);
  await client.topics.news.publish({ n: 1 }, { key: "k" });
  expect(await client.topics.news.publish({ n: 1 }, { key: "k" })).toMatchObject({ duplicate: true });
  expect(await reading).toMatchObject([{ data: { n: 1 } }]);
  const call = await client.sample.slow.start({ gate: "a" });
  server.gate("a").resolve();
  expect(await call.result).toEqual({ ok: true });
  expect((await list(call.events)).map(({ kind }) => kind)).toEqual(["open", "progress", "progress", "end"]);
  expect((await client.calls()).calls.length).toBeGreaterThan(3);
  await list(client.sample.endless({ gate: "b" }), 2);
  await server.gate("b").promise;
  expect(server.sockets.size).toBe(1);
});

test("auto: plain calls by POST until there is a WebSocket, then over it", async () => {
  const asked: string[] = [];
  const client = clientWith({
    fetch: (url, init) => {
      asked.push(`${init.method} ${new URL(url).pathname}`);
      return fetch(url, init);
    },
  });
  await client.sample.double({ n: 1 });
  expect(server.sockets.size).toBe(0);
  await list(client.sample.count({ to: 2 }));
  await client.sample.double({ n: 1 });
  expect(server.sockets.size).toBe(1);
  expect(asked).toEqual(["POST /sample/double"]);
  client.close();
  await until(() => server.sockets.size === 0);
});

test("auto: where no WebSocket gets through it goes on over SSE, without the user's knowing", async () => {
  class Blocked extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(String(url).replace("/ws", "/healthz"), protocols);
    }
  }
  const client = clientWith({ WebSocket: Blocked });
  expect(client.transport).toBe("websocket");
  expect((await list(client.sample.count({ to: 5 }))).map(({ n }) => n)).toEqual(upTo(5));
  expect(client.transport).toBe("sse");
});

test("a server that restarts: the reading waits, and goes on", async () => {
  const client = clientWith();
  const news = client.topics.news.subscribe();
  const reading = list(news, 2);
  await until(() => news.verdict !== undefined);
  await client.topics.news.publish({ n: 1 });
  await until(() => news.cursor?.endsWith("a1") === true);
  await server.restart();
  await client.topics.news.publish({ n: 2 });
  expect((await reading).map(({ data }) => data.n)).toEqual([1, 2]);
});

for (let seed = 1; seed <= 5; seed++) {
  test(`sockets that break by seed ${seed}: everything once and in order`, async () => {
    const random = seeded(seed);
    /** Breaks after some messages, before the last of them is heard. */
    class Breaking extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        let left = Math.floor(random() * 12);
        this.addEventListener("message", (event) => {
          if (left-- > 0) return;
          event.stopImmediatePropagation();
          this.close(4000);
        });
      }
    }
    const client = clientWith({ transport: "websocket", WebSocket: Breaking, attempts: 200 });
    const before = { ...server.runs };
    expect((await list(client.sample.count({ to: 200 }))).map(({ n }) => n)).toEqual(upTo(200));
    expect(server.runs.count - before.count).toBe(1);
    expect(await client.sample.add({}, { retry: true })).toEqual({ runs: before.add + 1 });
    expect(await client.sample.sum(from(...upTo(300)))).toEqual({ sum: 45_150, items: 300 });
    const texts = upTo(40).map((n) => ({ text: `t${n}` }));
    expect(await list(client.sample.echo(from(...texts)))).toEqual(upTo(40).map((n) => ({ text: `T${n}`, n: n - 1 })));
    const { cursor } = await client.topics.news.publish({ n: 0 });
    const reading = list(client.topics.news.subscribe({ after: cursor }), 20);
    for (const n of upTo(20)) await client.topics.news.publish({ n });
    expect((await reading).map(({ data }) => data.n)).toEqual(upTo(20));
  }, 60_000);
}
