/**
 * Failures that broke other systems, each a test: those that are cases of the suite by their names, the rest
 * here, over every transport.
 */
import { describe, expect, test } from "bun:test";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { z } from "zod";
import { ANONYMOUS, service, topic } from "../../src/contract/index.ts";
import { type Cursor, type Draft, Fault, type Store } from "../../src/log/index.ts";
import { createCore, memoryStore } from "../../src/server.ts";
import { allLinks, httpLink } from "./links.ts";
import { cases } from "./suite.ts";
import { items, open, page, publish, read, readThrough, state, tick, until, World } from "./world.ts";

test("what the suite shows for every transport has its case", () => {
  const names = new Set(cases.map(({ name }) => name));
  const rows = {
    "reconnect before anything was received; a second recovery in one session":
      "detach: before anything was received, and again and again",
    "replay asked by another principal": "owner: the call of another principal is not found, whatever is asked of it",
    "a reconnect without cursor to a 28 MB log": "long log: a read without a cursor is paged, bounded, and complete",
    "the same idempotent request twice before the first answer is stored":
      "key: the same request many times before the first answer is stored is one call",
    "a listener left behind after 1,000 connect/abort cycles":
      "abort: 1,000 readings that are given up leave nothing behind",
    "policy that differs between the transports of one handler":
      "authorize: is asked for each thing, and a no is permission_denied",
    "server restart, then everybody resumes":
      "restart: everybody comes back with their cursors, and a call that may goes on",
  };
  for (const [row, name] of Object.entries(rows)) expect([row, names.has(name)]).toEqual([row, true]);
});

for (const [name, link] of Object.entries(allLinks())) {
  describe(name, () => {
    const inWorld = async (run: (world: World) => Promise<void>, options = {}) => {
      const world = await new World(link, options).start();
      try {
        await run(world);
      } finally {
        await world.close();
      }
    };

    test(
      "resume from a recent cursor after more than 10,000 stored events",
      () =>
        inWorld(async (world) => {
          const draft = (n: number): Draft => ({ kind: "item", json: JSON.stringify({ n }) });
          for (let n = 0; n < 12_000; n += 500) {
            await world.store.append(
              "topics/ticks",
              Array.from({ length: 500 }, (_, i) => draft(n + i)),
            );
          }
          const last = await page(await world.open("topics/ticks"), "now");
          const cursor = (await world.store.append("topics/ticks", [draft(12_000)])).cursor;
          await world.store.append("topics/ticks", [draft(12_001), draft(12_002)]);
          const before = world.store.pages;
          const back = await read(await world.open("topics/ticks"), cursor, (events) => events.length >= 2);
          expect(back.verdict.verdict).toBe("recovered");
          expect(items(back.events)).toEqual([{ n: 12_001 }, { n: 12_002 }]);
          const earlier = await read(await world.open("topics/ticks"), last.cursor, (events) => events.length >= 3);
          expect(items(earlier.events)).toHaveLength(3);
          expect(world.store.pages - before).toBeLessThan(20);
        }),
      60_000,
    );

    test(
      "an event appended between the read of the history and the live tail",
      () =>
        inWorld(async (world) => {
          const topic = await world.open("topics/ticks");
          await publish(topic, { n: 0 });
          let n = 0;
          world.store.inner = appendingBetween(world.store.inner, "topics/ticks", () =>
            n < 40 ? { kind: "item", json: JSON.stringify({ n: ++n }) } : undefined,
          );
          const peer = world.peer();
          const { events } = await readThrough(
            () => peer,
            "topics/ticks",
            "start",
            (all) => all.length >= 41,
          );
          expect(items(events)).toEqual(Array.from({ length: 41 }, (_, i) => ({ n: i })));
        }),
      60_000,
    );

    test(
      "the last event was emitted while the client was away, and the server restarted since",
      () =>
        inWorld(async (world) => {
          const { exchange, id, source } = await world.stream("last");
          source.push(1);
          const { cursor } = await read(exchange, "start", (events) => items(events).length === 1);
          source.push(2);
          source.end();
          await until(
            async () => (await world.store.list({ prefix: `calls/${id}`, limit: 1 })).logs[0]?.last?.kind === "end",
          );
          await world.restart();
          const { events } = await readThrough(() => world.peer(), `calls/${id}`, cursor);
          expect(items(events)).toEqual([2]);
          expect(events.at(-1)!.kind).toBe("end");
        }),
      60_000,
    );

    test(
      "a restart, and hundreds of readers that resume at once",
      () =>
        inWorld(
          async (world) => {
            const { id, source } = await world.stream("many");
            source.push(1);
            const peers = Array.from({ length: 10 }, () => world.peer());
            const readers = Array.from({ length: 200 }, (_, i) => readThrough(() => peers[i % 10]!, `calls/${id}`));
            await until(() => world.store.pages >= 200, "the readers");
            await world.restart();
            source.push(2);
            source.end();
            for (const { events } of await Promise.all(readers)) expect(items(events)).toEqual([1, 2]);
          },
          { drainMs: 0, timing: { spreadMs: 50 } },
        ),
      120_000,
    );

    test("resume more than five minutes later, on a call that still runs", () => {
      let skew = 0;
      return inWorld(
        async (world) => {
          const { exchange, id, source } = await world.stream("long");
          source.push(1);
          const { cursor } = await read(exchange, "start", (events) => items(events).length === 1);
          skew = 6 * 60_000;
          source.push(2);
          const back = await open(world.peer(), `calls/${id}`);
          expect(await state(back)).toMatchObject({ state: "running" });
          const more = await read(back, cursor, (events) => items(events).length === 1);
          expect(more.verdict.verdict).toBe("recovered");
          expect(items(more.events)).toEqual([2]);
        },
        { now: () => Date.now() + skew },
      );
    }, 60_000);

    test(
      "a log that was made anew under its readers is told of by reset",
      () =>
        inWorld(async (world) => {
          const topic = await world.open("topics/ticks");
          await publish(topic, { n: 1 });
          const seen: unknown[] = [];
          const verdicts: string[] = [];
          let place: Cursor | "start" = "start";
          const reader = (async () => {
            for (let tries = 0; tries < 500; tries++) {
              try {
                for await (const each of (await open(world.peer(), "topics/ticks")).read({
                  from: place,
                  follow: true,
                })) {
                  if (each.verdict) verdicts.push(each.verdict.verdict);
                  seen.push(...items(each.events));
                  place = each.cursor;
                  if (seen.length === 2) return;
                }
              } catch (thrown) {
                if (!(thrown instanceof Fault)) throw thrown;
              }
              await tick(10);
            }
          })();
          await until(() => seen.length === 1, "the first event");
          world.store.lose(memoryStore());
          await until(async () => {
            await publish(await open(world.peer(), "topics/ticks"), { n: 2 }, "once");
            return true;
          });
          await reader;
          expect(seen).toEqual([{ n: 1 }, { n: 2 }]);
          expect(verdicts[0]).toBe("recovered");
          expect(verdicts.at(-1)).toBe("reset");
        }),
      60_000,
    );
  });
}

test("a cursor that was trimmed comes back with the state that stands for what is missing, on every transport", async () => {
  const sums = topic({
    event: z.object({ n: z.number() }),
    fold: { initial: 0, step: (total: number, { n }) => total + n },
    retain: { events: 5 },
  });
  const store = memoryStore();
  const core = createCore(service("s", { sums }), { store, retention: { everyMs: 5 } });
  await core.start();
  const links = allLinks();
  try {
    const direct = await core.peer({ to: "topics/sums", principal: ANONYMOUS, via: "test" });
    const first = await publish(direct, { n: 1 });
    for (let n = 2; n <= 40; n++) await publish(direct, { n });
    await until(async () => ((await state(direct)) as unknown as { events: number }).events <= 5, "the trimming");
    for (const [name, link] of Object.entries(links)) {
      await link.serve(core);
      const back = await read(await open(link.peer(), "topics/sums"), first.cursor, (events) => events.length >= 5);
      const kept = (items(back.events) as { n: number }[]).reduce((sum, { n }) => sum + n, 0);
      expect([name, back.verdict.verdict, Number(back.verdict.state) + kept]).toEqual([name, "gap", (40 * 41) / 2]);
    }
  } finally {
    await core.close();
    for (const link of Object.values(links)) await link.stop();
  }
}, 60_000);

test("an upload whose network dropped without a word does not hold up the one who goes on with it", async () => {
  const link = httpLink({ protocol: "http1.1", mode: "sse" });
  const world = await new World(link).start();
  try {
    const socket = connect(link.port!, "127.0.0.1");
    socket.on("error", () => {});
    const head = ["POST /t/sum HTTP/1.1", "Host: x", "Idempotency-Key: up", "Content-Type: application/x-ndjson"];
    // Chunks of two items; then nothing comes any more, and nobody closes.
    socket.write(`${head.join("\r\n")}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n`);
    const logs = async () => (await world.store.list({ prefix: "inputs/", limit: 1 })).logs[0];
    await until(async () => (await logs())?.events === 2, "two items");
    const again = await open(world.peer(), "t/sum", { key: "up" });
    expect(await again.append({ items: [1, 2, 3], seq: 0, end: true })).toMatchObject({ next: 3 });
    expect(await again.result()).toBe(6);
    expect(again.replayed).toBe(true);
    socket.destroy();
  } finally {
    await world.close();
  }
}, 60_000);

test("a stalled reader of 28 MB costs the server a few pages, over HTTP/1.1 and 2", async () => {
  for (const protocol of ["http1.1", "http2"] as const) {
    const link = httpLink({ protocol, mode: "sse" });
    const world = await new World(link).start();
    try {
      const exchange = await world.open("t/big", { input: { items: 448, bytes: 65_536 }, keep: true });
      await until(async () => (await state(exchange)).state === "done", "28 MB");
      const before = world.store.bytes;
      const path = `/calls/${exchange.id}/events`;
      const stalled = protocol === "http1.1" ? stall1(link.port!, path) : stall2(link.port!, path);
      let bytes = -1;
      for (let still = 0; still < 50 || bytes === before; still = bytes === world.store.bytes ? still + 1 : 0) {
        bytes = world.store.bytes;
        await tick(10);
      }
      expect(bytes - before).toBeLessThan(12 * 1024 * 1024);
      stalled.destroy();
      await until(() => world.store.reading === 0, "the reading to end");
    } finally {
      await world.close();
    }
  }
}, 120_000);

test("a stream that is quiet for longer than a listener's idle timeout lives on, on every transport", async () => {
  const links = allLinks();
  // No heartbeat within the time: nothing but the server's care keeps the connections.
  const timing = { commentMs: 60_000, heartbeatMs: 60_000 };
  const worlds = await Promise.all(Object.values(links).map((link) => new World(link, { timing }).start()));
  try {
    const readings = await Promise.all(
      worlds.map(async (world) => {
        const { exchange, source } = await world.stream("q");
        const reading = exchange.read({ from: "start", follow: true })[Symbol.asyncIterator]();
        for (let seen = 0; seen === 0; ) seen = (await reading.next()).value!.events.length;
        return { reading, source };
      }),
    );
    const began = performance.now();
    // Bun's own timeout is 10 s, and coarse: it closed at 12 to 14 s.
    await until(() => performance.now() - began > 15_000, "15 s");
    for (const { reading, source } of readings) {
      source.push("at last");
      source.end();
      const seen: unknown[] = [];
      while (seen.length === 0) seen.push(...items((await reading.next()).value!.events));
      expect(seen).toEqual(["at last"]);
      await reading.return?.();
    }
  } finally {
    await Promise.all(worlds.map((world) => world.close()));
  }
}, 60_000);

/** Appends one event after each page that is read of the log: always in the gap between two reads. */
function appendingBetween(store: Store, log: string, next: () => Draft | undefined): Store {
  return {
    ...{ name: store.name, durability: store.durability },
    append: (...args) => store.append(...args),
    trim: (...args) => store.trim(...args),
    list: (...args) => store.list(...args),
    close: () => store.close(),
    async *read(name, at) {
      for await (const each of store.read(name, at)) {
        const draft = name === log ? next() : undefined;
        if (draft) await store.append(log, [draft]);
        yield each;
      }
    },
  };
}

function stall1(port: number, path: string) {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.once("data", () => socket.pause());
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`);
  return socket;
}

function stall2(port: number, path: string) {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on("error", () => {});
  const stream = session.request({ ":path": path, accept: "text/event-stream" });
  stream.on("error", () => {});
  stream.once("data", () => stream.pause());
  return { destroy: () => session.destroy() };
}
