import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { aborted, eventsOf, open, started, until } from "../../suites/core/kit.ts";
import { serverStream, service, topic, unary } from "../contract/index.ts";
import type { Cursor, LogEvent, Page } from "../log/index.ts";
import { memoryStore } from "../server.ts";

const sample = service("s", {
  count: serverStream({ input: z.number(), item: z.number() }, async function* (to, { signal }) {
    for (let i = 1; i <= to; i++) yield i;
    if (to % 2 === 1) await aborted(signal);
  }),
  wait: unary({ input: z.any(), output: z.any() }, (_, { signal }) => aborted(signal)),
  log: topic({ event: z.number() }),
});

const numbers = (events: readonly LogEvent[]) =>
  events.filter(({ kind }) => kind === "item").map(({ json }) => Number(json));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("after 10,000 events a reader resumes from a recent one, and from any", async () => {
  const core = await started(sample);
  const exchange = await open(core, "s/count", { input: 10_000 });
  const events = await eventsOf(exchange.read({ from: "start", follow: true }));
  expect(numbers(events)).toEqual(range(1, 10_000));
  for (const n of [1, 299, 300, 301, 5000, 9999, 10_000]) {
    const event = events.find(({ json, kind }) => kind === "item" && json === String(n))!;
    const again = await open(core, `calls/${exchange.id}`);
    expect(numbers(await eventsOf(again.read({ from: event.cursor, follow: true })))).toEqual(range(n + 1, 10_000));
  }
});

test("events that come between the history and the live tail are neither lost nor doubled", async () => {
  const core = await started(sample);
  const log = await open(core, "topics/log");
  await log.append({ items: range(1, 1000) });
  const readers = Array.from({ length: 20 }, async (_, i) => {
    const seen: number[] = [];
    for await (const page of log.read({ from: "start", follow: true, pageEvents: 7 + i })) {
      seen.push(...numbers(page.events));
      if (seen.at(-1) === 2000) return seen;
    }
    return seen;
  });
  for (let n = 1001; n <= 2000; n++) await log.append({ items: [n] });
  for (const seen of await Promise.all(readers)) expect(seen).toEqual(range(1, 2000));
});

test("a reader that comes back after five minutes to a call that still runs misses nothing", async () => {
  let now = 1_000_000;
  const store = memoryStore({ now: () => now });
  const core = await started(sample, { store, now: () => now, retention: { everyMs: 1, callMs: 60_000 } });
  const exchange = await open(core, "s/count", { input: 501 });
  await until(async () => (await store.list({ prefix: "calls/", limit: 1 })).logs[0]!.events === 502);
  const cut = new AbortController();
  let cursor: Cursor | undefined;
  for await (const page of exchange.read({ from: "start", follow: true, signal: cut.signal, pageEvents: 100 })) {
    cursor = page.cursor;
    cut.abort();
  }
  now += 5 * 60_000;
  const again = await open(core, `calls/${exchange.id}`);
  const [page] = (await Array.fromAsync(again.read({ from: cursor!, follow: false, pageEvents: 1000 }))) as [Page];
  expect(page.verdict?.verdict).toBe("recovered");
  expect(numbers(page.events)).toEqual(range(100, 501));
  await again.cancel();
  expect(await exchange.state()).toMatchObject({ state: "cancelled" });
  await core.close();
});

test("readers that do not read cost no memory", async () => {
  const core = await started(service("s", { log: topic({ event: z.string(), retain: { events: 10 } }) }), {
    retention: { everyMs: 1 },
  });
  const log = await open(core, "topics/log");
  const cut = new AbortController();
  const readers = Array.from({ length: 50 }, () =>
    log.read({ from: "now", follow: true, signal: cut.signal })[Symbol.asyncIterator](),
  );
  for (const reader of readers) await reader.next();
  const publish = async (rounds: number) => {
    for (let i = 0; i < rounds; i++) await log.append({ items: [String(i) + "x".repeat(100_000)] });
    await until(async () => ((await log.state()) as { events: number }).events <= 10);
    Bun.gc(true);
    return process.memoryUsage().heapUsed;
  };
  const before = await publish(20);
  const after = await publish(400);
  // 40 MB were published; the ten newest are 1 MB.
  expect(after - before).toBeLessThan(10_000_000);
  const behind = await readers[0]!.next();
  expect((behind.value as Page).verdict?.verdict).toBe("gap");
  cut.abort();
  for (const reader of readers) await reader.next();
  await core.close();
});

describe("held polls", () => {
  test("are answered by news, by the end of the time, by the caller's leaving, and at once when there is news already", async () => {
    const core = await started(sample);
    const log = await open(core, "topics/log");
    const { cursor } = await log.state();
    const news = log.state({ after: cursor, waitMs: 60_000 });
    await log.append({ items: [1] });
    expect(await news).toMatchObject({ events: 1 });
    expect(await log.state({ after: cursor, waitMs: 60_000 })).toMatchObject({ events: 1 });
    expect(await log.state({ waitMs: 1 })).toMatchObject({ events: 1 });
    const leave = new AbortController();
    const left = log.state({ waitMs: 60_000, signal: leave.signal });
    leave.abort();
    expect(await left).toMatchObject({ events: 1 });
    const call = await open(core, "s/wait", { keep: true });
    const ended = call.state({ waitMs: 60_000 });
    await call.cancel();
    expect(await ended).toMatchObject({ state: "cancelled" });
    expect(await call.state({ after: (await call.state()).cursor, waitMs: 60_000 })).toMatchObject({
      state: "cancelled",
    });
  });

  test("are held for no longer than the server's limit", async () => {
    const core = await started(sample, { limits: { waitMs: 2 } });
    const call = await open(core, "s/wait", { keep: true });
    expect(await call.state({ waitMs: 2 ** 40 })).toMatchObject({ state: "running" });
    expect(await (await open(core, "topics/log")).state({ waitMs: 2 ** 40 })).toMatchObject({ events: 0 });
  });
});
