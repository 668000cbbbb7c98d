import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { diskFull, FaultyStore, latch, open, started, until } from "../../suites/core/kit.ts";
import { type HandlerCall, type SubscriberOptions, service, subscriber, topic } from "../contract/index.ts";
import type { Store } from "../log/index.ts";
import { memoryStore } from "../server.ts";

type Handler = (event: number, call: HandlerCall) => unknown;

function sample(handler: Handler, options: SubscriberOptions = {}) {
  const numbers = topic({ event: z.number(), retain: { events: 3 } });
  return service("s", { numbers, reader: subscriber(numbers, handler as never, options) });
}

function noting() {
  const notes: { level: string; message: string; fields: unknown }[] = [];
  const logger = {
    calls: "defects" as const,
    call() {},
    note: (level: string, message: string, fields?: unknown) => void notes.push({ level, message, fields }),
  };
  return { notes, logger };
}

async function publish(core: Awaited<ReturnType<typeof started>>, ...items: number[]) {
  await (await open(core, "topics/numbers")).append({ items });
}

/** What is written down as its place. */
async function placeOf(store: Store) {
  const { logs } = await store.list({ prefix: "subscribers/s/reader", limit: 1 });
  return logs[0]?.last?.json;
}

describe("a subscriber", () => {
  test("gets every event in order, one at a time, and goes on from its own place after a restart", async () => {
    const store = memoryStore();
    const seen: number[] = [];
    let atOnce = 0;
    const handler = async (n: number) => {
      expect(++atOnce).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, n % 3));
      atOnce--;
      seen.push(n);
    };
    let core = await started(sample(handler), { store });
    await publish(core, 1, 2);
    await publish(core, 3);
    await until(() => seen.length === 3);
    await core.drain();
    core = await started(sample(handler), { store });
    await publish(core, 4, 5);
    await until(() => seen.length === 5);
    await core.drain();
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  test("that was killed before its place was stored gets the event again: at least once, never less", async () => {
    const store = memoryStore();
    const own = new FaultyStore(store);
    const first: number[] = [];
    own.mishap = (log, drafts) =>
      log.startsWith("subscribers/") && drafts.length > 0 && first.length === 2 ? diskFull : undefined;
    const core = await started(
      sample((n) => first.push(n)),
      { store: own },
    );
    await publish(core, 1, 2, 3);
    await until(() => first.length >= 2);
    own.slow = new Promise(() => {});
    await core.close();
    const second: number[] = [];
    const next = await started(
      sample((n) => second.push(n)),
      { store },
    );
    await until(() => second.length === 2);
    expect(first).toEqual([1, 2]);
    expect(second).toEqual([2, 3]);
    await next.close();
  });

  test("that fails gets the event again, later each time, and later events wait for it", async () => {
    const seen: [number, number][] = [];
    const core = await started(
      sample((n, { attempt }) => {
        seen.push([n, attempt]);
        if (n === 1 && attempt < 3) throw new Error("not yet");
      }),
      { random: () => -0.98 },
    );
    await publish(core, 1, 2);
    await until(() => seen.length === 4);
    expect(seen).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 1],
    ]);
    await core.close();
  });

  test("gives an event up after its attempts, says so, and goes on", async () => {
    const { notes, logger } = noting();
    const seen: number[] = [];
    const core = await started(
      sample(
        (n) => {
          seen.push(n);
          if (n === 1) throw new Error("never");
        },
        { maxAttempts: 2 },
      ),
      { random: () => -0.98, logger },
    );
    await publish(core, 1, 2);
    await until(() => seen.length === 3);
    expect(seen).toEqual([1, 1, 2]);
    expect(notes.map(({ message }) => message)).toEqual(["a subscriber gave up an event"]);
    expect(core.metrics.text()).toContain('backtalk_subscriber_failures_total{subscriber="s/reader"} 2');
    await core.close();
  });

  test("that was away for too long is told of the gap, and goes on with what is kept", async () => {
    const store = memoryStore();
    const { notes, logger } = noting();
    const seen: number[] = [];
    let core = await started(
      sample((n) => seen.push(n)),
      { store },
    );
    await publish(core, 1);
    await until(() => placeOf(store));
    await core.drain();
    const { cursor } = await store.append(
      "topics/numbers",
      [2, 3, 4, 5].map((n) => ({ kind: "item", json: String(n) })),
    );
    await store.append("topics/numbers", [{ kind: "item", json: "6" }]);
    await store.trim("topics/numbers", cursor);
    core = await started(
      sample((n) => seen.push(n)),
      { store, logger },
    );
    await until(() => seen.includes(6));
    expect(seen).toEqual([1, 6]);
    expect(notes).toMatchObject([{ level: "warn", message: "a subscriber missed events", fields: { verdict: "gap" } }]);
    await core.close();
  });

  test("from now: begins after what was there, also when it is restarted before its first event", async () => {
    const store = memoryStore();
    let core = await started(service("s", { numbers: topic({ event: z.number() }) }), { store });
    await publish(core, 1);
    await core.drain();
    const seen: number[] = [];
    const services = sample((n) => seen.push(n), { from: "now" });
    core = await started(services, { store });
    await until(() => placeOf(store));
    await core.drain();
    await store.append("topics/numbers", [{ kind: "item", json: "2" }]);
    core = await started(services, { store });
    await until(() => seen.length > 0);
    expect(seen).toEqual([2]);
    await core.close();
  });

  test("that is at work when the server drains may finish, and its place is stored", async () => {
    const store = memoryStore();
    const gate = latch();
    const seen: number[] = [];
    let isAborted: boolean | undefined;
    const handler = async (n: number, { signal }: HandlerCall) => {
      seen.push(n);
      if (n === 1) await gate.opened;
      isAborted = signal.aborted;
    };
    let core = await started(sample(handler), { store });
    await publish(core, 1, 2);
    await until(() => seen.length === 1);
    const drained = core.drain();
    gate.open();
    await drained;
    expect(isAborted).toBe(false);
    core = await started(sample(handler), { store });
    await until(() => seen.length === 2);
    expect(seen).toEqual([1, 2]);
    await core.close();
  });

  test("that ignores its signal does not keep the server from going", async () => {
    const core = await started(
      sample(() => new Promise(() => {})),
      { drainMs: 5 },
    );
    await publish(core, 1);
    await core.drain();
  });

  test("goes on when the store is back", async () => {
    const store = new FaultyStore();
    const { notes, logger } = noting();
    const seen: number[] = [];
    const core = await started(
      sample((n) => seen.push(n)),
      { store, logger },
    );
    await publish(core, 1);
    await until(() => placeOf(store));
    store.mishap = (log) => (log.startsWith("subscribers/") ? diskFull : undefined);
    await publish(core, 2, 3);
    await until(() => notes.length > 0);
    store.mishap = () => undefined;
    await until(() => seen.includes(3));
    expect(seen).toEqual([1, 2, 2, 3]);
    await core.close();
  });

  test("keeps little of its own log", async () => {
    const store = memoryStore();
    let seen = 0;
    const core = await started(
      sample(() => void seen++),
      { store },
    );
    await publish(core, ...Array.from({ length: 350 }, (_, i) => i));
    await until(() => seen === 350);
    await until(async () => (await store.list({ prefix: "subscribers/", limit: 1 })).logs[0]!.events <= 100);
    await core.close();
  });

  test("publishes to another topic, with a key once: a chain", async () => {
    const photos = topic({ event: z.string() });
    const small = topic({ event: z.string() });
    const seen: string[] = [];
    let tries = 0;
    const core = await started(
      service("s", {
        photos,
        small,
        compress: subscriber(photos, async (name, handlerCall) => {
          await handlerCall.publish(small, `${name}.webp`, { key: handlerCall.cursor });
          if (++tries === 1) throw new Error("after the effect");
        }),
        notify: subscriber(small, (name) => void seen.push(name)),
      }),
      { random: () => -0.98 },
    );
    await (await open(core, "topics/photos")).append({ items: ["a", "b"] });
    await until(() => seen.length === 2);
    expect(seen).toEqual(["a.webp", "b.webp"]);
    expect(tries).toBe(3);
    await core.close();
  });
});
