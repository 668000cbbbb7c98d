import { describe, expect, test } from "bun:test";
import { z } from "zod";
import {
  aborted,
  eventsOf,
  FaultyStore,
  faultOf,
  kinds,
  latch,
  open,
  started,
  transcript,
  until,
} from "../../suites/core/kit.ts";
import { clientStream, type MethodOptions, serverStream, service, unary } from "../contract/index.ts";
import type { Store } from "../log/index.ts";
import { createCore, memoryStore } from "../server.ts";

/** As `kill -9`: from then on nothing that the process says reaches the store. */
function lost(store: Store): { store: FaultyStore; kill: () => void } {
  const faulty = new FaultyStore(store);
  return { store: faulty, kill: () => (faulty.slow = new Promise(() => {})) };
}

function sample(options: MethodOptions, handler: (input: never, call: never) => unknown) {
  return service("s", {
    run: unary({ input: z.any(), output: z.any(), progress: z.any(), ...options }, handler as never),
  });
}
const retry = { onRestart: "retry" } as const;
const stuck = (_: unknown, { signal }: { signal: AbortSignal }) => aborted(signal);

/** A call that a process left behind when it was killed. */
async function leftBehind(store: Store, options: MethodOptions, rest = {}) {
  const { store: own, kill } = lost(store);
  const core = await started(sample(options, stuck as never), { store: own });
  const exchange = await open(core, "s/run", { keep: true, ...rest });
  kill();
  return `calls/${exchange.id}`;
}

describe("what a killed process left", () => {
  test("two that start at once on one store start a call once", async () => {
    const store = memoryStore();
    const id = await leftBehind(store, retry, { input: "in" });
    let ran = 0;
    const services = sample(retry, (input) => {
      ran++;
      return input;
    });
    const cores = [createCore(services, { store }), createCore(services, { store })];
    const counts = await Promise.all(cores.map((core) => core.start()));
    expect(counts.map((each) => each.retried).sort()).toEqual([0, 1]);
    expect(counts.map((each) => each.failed)).toEqual([0, 0]);
    for (const core of cores) expect(await (await open(core, id)).result()).toBe("in");
    expect(ran).toBe(1);
    expect(kinds(await transcript(await open(cores[0]!, id)))).toEqual(["open", "open", "end"]);
  });

  test("two at once on a call that may not be retried: one end", async () => {
    const store = memoryStore();
    const id = await leftBehind(store, {});
    const cores = [1, 2].map(() => createCore(sample({}, stuck as never), { store }));
    const counts = await Promise.all(cores.map((core) => core.start()));
    expect(counts.map((each) => each.failed).sort()).toEqual([0, 1]);
    expect(kinds(await transcript(await open(cores[0]!, id)))).toEqual(["open", "fail"]);
  });

  test("maxAttempts: it is given up, with the number of the attempt", async () => {
    const store = memoryStore();
    const options = { ...retry, maxAttempts: 3 };
    const id = await leftBehind(store, options);
    for (const attempt of [2, 3]) {
      const { store: own, kill } = lost(store);
      const core = createCore(sample(options, stuck as never), { store: own });
      expect(await core.start()).toEqual({ retried: 1, failed: 0 });
      expect(await (await open(core, id)).state()).toMatchObject({ state: "running", attempt });
      kill();
    }
    const core = await started(sample(options, stuck as never), { store });
    const exchange = await open(core, id);
    expect(await faultOf(() => exchange.result())).toMatchObject({
      code: "unavailable",
      limit: "maxAttempts",
      retryable: false,
    });
    expect(await exchange.state()).toMatchObject({ state: "failed", attempt: 3 });
  });

  test("its deadline passed meanwhile", async () => {
    let now = Date.now();
    const store = memoryStore();
    const id = await leftBehind(store, { ...retry, deadlineMs: 60_000 });
    now += 60_001;
    const core = await started(sample(retry, stuck as never), { store, now: () => now });
    const exchange = await open(core, id);
    expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
  });

  test("its method is gone, or takes its input no more", async () => {
    const store = memoryStore();
    const ids = [await leftBehind(store, retry, { input: "text" })];
    const none = service("s", {});
    let core = await started(none, { store });
    expect(await faultOf(async () => (await open(core, ids[0]!)).result())).toMatchObject({
      code: "unavailable",
      retryable: false,
    });
    const id = await leftBehind(store, retry, { input: "text" });
    core = await started(service("s", { run: unary({ input: z.number(), output: z.any(), ...retry }, () => 1) }), {
      store,
    });
    expect((await faultOf(async () => (await open(core, id)).result())).code).toBe("invalid_argument");
  });

  test("more of them than may run at once: all are started, and new ones wait for room", async () => {
    const store = memoryStore();
    const { store: own, kill } = lost(store);
    const before = await started(sample(retry, stuck as never), { store: own });
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(`calls/${(await open(before, "s/run", { keep: true, input: i })).id}`);
    kill();
    const gate = latch();
    const core = createCore(
      sample(retry, async (input) => {
        await gate.opened;
        return input;
      }),
      { store, limits: { callsInFlight: 2 } },
    );
    expect(await core.start()).toEqual({ retried: 5, failed: 0 });
    expect((await faultOf(() => open(core, "s/run", { keep: true }))).limit).toBe("callsInFlight");
    gate.open();
    expect(await Promise.all(ids.map(async (id) => (await open(core, id)).result()))).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("a second attempt", () => {
  test("sees what the first has said, and goes on", async () => {
    const store = memoryStore();
    const { store: own, kill } = lost(store);
    const stream = (until: number) =>
      service("s", {
        run: serverStream(
          { input: z.number(), item: z.number(), progress: z.string(), ...retry },
          async function* (to, handlerCall) {
            let from = 0;
            for await (const { kind, data } of handlerCall.history()) if (kind === "item") from = data as number;
            handlerCall.progress(`from ${from}`);
            for (let i = from + 1; i <= to; i++) {
              if (i > until) await aborted(handlerCall.signal);
              yield i;
            }
          },
        ),
      });
    const first = await open(await started(stream(400), { store: own }), "s/run", { input: 1000 });
    await until(async () => (await store.list({ prefix: `calls/${first.id}`, limit: 1 })).logs[0]!.events >= 402);
    kill();
    const core = await started(stream(1000), { store });
    const exchange = await open(core, `calls/${first.id}`);
    const events = await transcript(exchange);
    expect(events.filter(({ kind }) => kind === "item").map(({ json }) => Number(json))).toEqual(
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    expect(events.filter(({ kind }) => kind === "progress").map(({ json }) => json)).toEqual([
      '"from 0"',
      '"from 400"',
    ]);
    expect(JSON.parse(events.at(-1)!.json)).toEqual({ attempt: 2 });
  });

  test("counts what the first has said against callBytes", async () => {
    const store = memoryStore();
    const noisy = (limit: number) =>
      service("s", {
        run: serverStream({ input: z.any(), item: z.string(), ...retry }, async function* (_, { signal, attempt }) {
          for (let i = 0; attempt === 1 ? i < limit : true; i++) yield "x".repeat(100);
          await aborted(signal);
        }),
      });
    const { store: own, kill } = lost(store);
    const first = await open(await started(noisy(15), { store: own }), "s/run");
    await until(async () => (await store.list({ prefix: `calls/${first.id}`, limit: 1 })).logs[0]!.events >= 16);
    kill();
    const core = await started(noisy(0), { store, limits: { callBytes: 2000 } });
    const exchange = await open(core, `calls/${first.id}`);
    expect((await faultOf(() => exchange.result())).limit).toBe("callBytes");
    const events = await transcript(exchange);
    expect(events.filter(({ kind }) => kind === "item").length).toBeLessThan(20);
  });

  test("reads the items of the caller from the first, and the caller goes on sending", async () => {
    const store = memoryStore();
    const sum = service("s", {
      run: clientStream({ input: z.number(), output: z.array(z.number()), ...retry }, async (items) => {
        const seen: number[] = [];
        for await (const n of items) seen.push(n);
        return seen;
      }),
    });
    // Both ways for a process to go: killed, and drained.
    for (const isKilled of [true, false]) {
      const { store: own, kill } = lost(store);
      const before = await started(sum, { store: own, drainMs: 0 });
      const first = await open(before, "s/run", { key: String(isKilled) });
      await first.append({ items: [1, 2], seq: 0 });
      if (isKilled) kill();
      else await before.drain();
      const core = await started(sum, { store });
      const again = await open(core, "s/run", { key: String(isKilled) });
      expect(again.replayed).toBe(true);
      expect(await again.state()).toMatchObject({ state: "running", received: { items: 2, ended: false } });
      expect(await again.append({ items: [2, 3], seq: 1, end: true })).toMatchObject({ next: 3 });
      expect(await again.result()).toEqual([1, 2, 3]);
      await core.close();
    }
  });
});

test("a reader over a restart: nothing lost, nothing twice, by its cursor", async () => {
  const store = memoryStore();
  const id = await leftBehind(store, retry, { input: "in" });
  const core = createCore(
    sample(retry, (input) => input),
    { store },
  );
  const early = await eventsOf(store.read(id, { from: "start", follow: false }));
  await core.start();
  const exchange = await open(core, id);
  const rest = await eventsOf(exchange.read({ from: early.at(-1)!.cursor, follow: true }));
  expect([...kinds(early), ...kinds(rest)]).toEqual(["open", "open", "end"]);
});
