/** Topics of the contract by Durable Streams: the same events, cursors and policy as anywhere else. */
import { afterEach, describe, expect, test } from "bun:test";
import { TOPICS } from "../contract/index.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { type FacadeOptions, facade, JSON_TYPE, NAMES, producer, TEXT } from "./testing.ts";

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function open(options?: FacadeOptions) {
  const opened = await facade(options);
  stops.push(opened.stop);
  return opened;
}

const ticks = (...numbers: number[]) => JSON.stringify(numbers.map((n) => ({ n })));

describe("a topic", () => {
  test("is created by PUT without an effect, and is no other stream", async () => {
    const { send } = await open();
    const put = await send("PUT", "ticks", undefined, JSON_TYPE);
    expect([put.status, put.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect((await send("PUT", "ticks")).status).toBe(200);
    expect((await send("PUT", "ticks", undefined, TEXT)).status).toBe(409);
    expect((await send("PUT", "ticks", undefined, { ...JSON_TYPE, "stream-ttl": "5" })).status).toBe(409);
    expect((await send("PUT", "ticks", "[]", JSON_TYPE)).status).toBe(409);
    expect((await send("DELETE", "ticks")).status).toBe(405);
    expect((await send("POST", "ticks", undefined, { "stream-closed": "true" })).status).toBe(405);
  });

  test("has its own cursors as offsets, and its schema", async () => {
    const { send, get, store } = await open();
    const posted = await send("POST", "ticks", ticks(1, 2), JSON_TYPE);
    expect(posted.status).toBe(204);
    const { logs } = await store.list({ prefix: `${TOPICS}ticks`, exact: true, limit: 1 });
    expect(posted.headers.get("stream-next-offset")).toBe(logs[0]!.head);
    await send("POST", "ticks", '{"n":3}', JSON_TYPE);
    const rest = await get(`ticks?offset=${logs[0]!.head}`);
    expect([await rest.json(), rest.headers.get("stream-up-to-date")]).toEqual([[{ n: 3 }], "true"]);
    expect(await (await get("ticks")).json()).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    const bad = await send("POST", "ticks", '[{"n":4},{"n":"five"}]', JSON_TYPE);
    expect(bad.status).toBeGreaterThanOrEqual(400);
    expect(await (await get("ticks")).json()).toHaveLength(3);
    expect((await send("POST", "closed", "[1]", JSON_TYPE)).status).toBe(403);
  });

  test("says 410 for what is no longer kept, and for a cursor of another log", async () => {
    const { send, get, store } = await open();
    const one = (await send("POST", "ticks", ticks(1), JSON_TYPE)).headers.get("stream-next-offset")!;
    const two = (await send("POST", "ticks", ticks(2), JSON_TYPE)).headers.get("stream-next-offset")!;
    await send("POST", "ticks", ticks(3), JSON_TYPE);
    await store.trim(`${TOPICS}ticks`, two as never);
    expect((await get(`ticks?offset=${one}`)).status).toBe(410);
    expect((await get("ticks?offset=zzzzzzzz-a1")).status).toBe(410);
    expect((await get("ticks?offset=start")).status).toBe(400);
    expect(await (await get("ticks?offset=-1")).json()).toEqual([{ n: 3 }]);
  });

  test("asks authorize, for each verb", async () => {
    const { send, get } = await open({
      authenticate: NAMES,
      authorize: ({ id }, { verb }) => id === "writer" || verb === "read",
    });
    const as = (name: string) => ({ ...JSON_TYPE, authorization: `Bearer ${name}` });
    expect((await send("POST", "ticks", ticks(1), as("writer"))).status).toBe(204);
    expect((await send("POST", "ticks", ticks(1), as("reader"))).status).toBe(403);
    expect((await get("ticks", as("reader"))).status).toBe(200);
  });
});

describe("producers of a topic", () => {
  test("are kept over a restart, each principal's own", async () => {
    const store = memoryStore();
    const first = await open({ store, authenticate: NAMES });
    const as = (name: string, epoch: number, seq: number) => ({
      ...JSON_TYPE,
      authorization: `Bearer ${name}`,
      ...producer("p", epoch, seq),
    });
    expect((await first.send("POST", "ticks", ticks(0), as("a", 0, 0))).status).toBe(200);
    expect((await first.send("POST", "ticks", ticks(1), as("a", 0, 1))).status).toBe(200);
    expect((await first.send("POST", "ticks", ticks(7), as("b", 3, 0))).status).toBe(200);
    const second = await open({ store, authenticate: NAMES });
    const again = await second.send("POST", "ticks", ticks(1), as("a", 0, 1));
    expect([again.status, again.headers.get("producer-seq")]).toEqual([204, "1"]);
    const gap = await second.send("POST", "ticks", ticks(9), as("a", 0, 5));
    expect([gap.status, gap.headers.get("producer-expected-seq")]).toEqual([409, "2"]);
    const old = await second.send("POST", "ticks", ticks(9), as("b", 2, 0));
    expect([old.status, old.headers.get("producer-epoch")]).toEqual([403, "3"]);
    expect(await (await second.get("ticks")).json()).toEqual([{ n: 0 }, { n: 1 }, { n: 7 }]);
  });

  test("write once when the server ended between the event and the producer's number", async () => {
    const store = memoryStore();
    const first = await open({ store });
    // What is there after such an end: the event with its key, and no number.
    const exchange = await first.core.peer({ to: `${TOPICS}ticks`, principal: { id: "" }, via: "test" });
    await exchange.append({ items: [{ n: 0 }], key: "producer/p/0/0" });
    expect((await first.send("POST", "ticks", ticks(0), { ...JSON_TYPE, ...producer("p", 0, 0) })).status).toBe(200);
    const other = await first.send("POST", "ticks", ticks(1), { ...JSON_TYPE, ...producer("p", 0, 1) });
    expect(other.status).toBe(200);
    expect(await (await first.get("ticks")).json()).toEqual([{ n: 0 }, { n: 1 }]);
  });

  test("are remembered by records that do not grow without end", async () => {
    const store = memoryStore();
    const { send } = await open({ store });
    for (let seq = 0; seq < 600; seq++)
      await send("POST", "ticks", ticks(seq), { ...JSON_TYPE, ...producer("p", 0, seq) });
    const { logs } = await store.list({ prefix: "streams-writers/ticks/", exact: true, limit: 1 });
    expect(logs[0]!.events).toBeLessThan(300);
    const again = await open({ store });
    const duplicate = await again.send("POST", "ticks", ticks(599), { ...JSON_TYPE, ...producer("p", 0, 599) });
    expect([duplicate.status, duplicate.headers.get("producer-seq")]).toEqual([204, "599"]);
  });

  test("are limited for each principal, by producersPerStream, and so is Stream-Seq", async () => {
    const { send } = await open({ authenticate: NAMES, limits: { producersPerStream: 1 } });
    const as = (name: string, more: Record<string, string>) => ({
      ...JSON_TYPE,
      authorization: `Bearer ${name}`,
      ...more,
    });
    expect((await send("POST", "ticks", ticks(1), as("a", producer("p", 0, 0)))).status).toBe(200);
    expect((await send("POST", "ticks", ticks(1), as("a", producer("q", 0, 0)))).status).toBe(429);
    expect((await send("POST", "ticks", ticks(1), as("b", producer("q", 0, 0)))).status).toBe(200);
    expect((await send("POST", "ticks", ticks(1), as("a", { "stream-seq": "9" }))).status).toBe(204);
    expect((await send("POST", "ticks", ticks(1), as("a", { "stream-seq": "5" }))).status).toBe(409);
    expect((await send("POST", "ticks", ticks(1), as("b", { "stream-seq": "5" }))).status).toBe(204);
  });

  test("of very many principals are kept, though not all in memory", async () => {
    const { send } = await open({ authenticate: NAMES });
    const write = (n: number) =>
      send("POST", "ticks", ticks(n), { ...JSON_TYPE, authorization: `Bearer u${n}`, ...producer("p", 0, 0) });
    for (let n = 0; n < 1_050; n++) expect((await write(n)).status).toBe(200);
    for (const n of [0, 500, 1_049]) expect((await write(n)).status).toBe(204);
  }, 60_000);
});
