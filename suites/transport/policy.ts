/** Who may, how much, and what happens when readers or the server go. The same on every transport. */
import { expect } from "bun:test";
import { getEventListeners } from "node:events";
import { Fault } from "../../src/log/index.ts";
import type { Case } from "./case.ts";
import { faultOf, items, open, page, publish, read, readThrough, state, until } from "./world.ts";

export const policyCases: readonly Case[] = [
  {
    name: "owner: the call of another principal is not found, whatever is asked of it",
    options: { users: true },
    async run(world) {
      const ann = await open(world.peer("ann"), "t/gate", { input: { source: "a" }, keep: true });
      const sum = await open(world.peer("ann"), "t/sum", { keep: true });
      await sum.append({ items: [1], seq: 0 });
      for (const peer of [world.peer("bob"), world.peer()]) {
        const attach = (id = ann.id) => open(peer, `calls/${id}`);
        await faultOf(async () => (await attach()).result(), "not_found");
        await faultOf(async () => page(await attach()), "not_found");
        await faultOf(async () => read(await attach()), "not_found");
        await faultOf(async () => state(await attach()), "not_found");
        await faultOf(async () => (await attach()).cancel(), "not_found");
        await faultOf(async () => (await attach(sum.id)).append({ items: [2], seq: 1 }), "not_found");
        const mine = await faultOf(async () => state(await attach()), "not_found");
        const never = await faultOf(async () => state(await attach(`c${"0".repeat(26)}`)), "not_found");
        const words = ({ message, hint }: Fault, id: string) => [message.replace(id, ""), hint];
        expect(words(mine, ann.id!)).toEqual(words(never, `c${"0".repeat(26)}`));
      }
      expect(await state(ann)).toMatchObject({ state: "running" });
      expect(await state(sum)).toMatchObject({ received: { items: 1 } });
    },
  },
  {
    name: "auth: a bad token is unauthenticated everywhere",
    options: { users: true },
    async run(world) {
      const bad = world.peer("bad");
      await faultOf(async () => (await open(bad, "t/echo", { input: 1 })).result(), "unauthenticated");
      await faultOf(async () => read(await open(bad, "t/count", { input: { to: 1 } })), "unauthenticated");
      await faultOf(async () => page(await open(bad, "topics/ticks")), "unauthenticated");
      await faultOf(async () => publish(await open(bad, "topics/ticks"), { n: 1 }), "unauthenticated");
    },
  },
  {
    name: "authorize: is asked for each thing, and a no is permission_denied",
    options: {
      users: true,
      authorize: ({ id }, { verb }) => id.split("+").includes(verb),
    },
    async run(world) {
      const as = (...verbs: string[]) => world.peer(verbs.join("+"));
      await faultOf(async () => (await open(as("read"), "t/echo", { input: 1 })).result(), "permission_denied");
      expect(await (await open(as("call"), "t/echo", { input: 1 })).result()).toBe(1);
      const kept = await open(as("call"), "t/gate", { input: { source: "z" }, keep: true });
      await until(() => world.control.started("z") === 1, "the handler");
      const attached = () => open(as("call"), `calls/${kept.id}`);
      await faultOf(async () => state(await attached()), "permission_denied");
      await faultOf(async () => page(await attached()), "permission_denied");
      await faultOf(async () => (await attached()).cancel(), "permission_denied");
      await faultOf(async () => page(await open(as("publish"), "topics/ticks")), "permission_denied");
      await faultOf(async () => publish(await open(as("read"), "topics/ticks"), { n: 1 }), "permission_denied");
      await publish(await open(as("publish"), "topics/ticks"), { n: 1 });
      expect(items((await page(await open(as("read"), "topics/ticks"))).events)).toEqual([{ n: 1 }]);
    },
  },
  {
    name: "limit: calls at once for one caller",
    options: { users: true, limits: { callsPerPrincipal: 2 } },
    async run(world) {
      const ann = world.peer("ann");
      const one = await open(ann, "t/gate", { input: { source: "1" }, keep: true });
      await open(ann, "t/gate", { input: { source: "2" }, keep: true });
      for (const rest of [{}, { keep: true }]) {
        const fault = await faultOf(
          async () => (await open(ann, "t/echo", { input: 1, ...rest })).result(),
          "resource_exhausted",
        );
        expect(fault).toMatchObject({ limit: "callsPerPrincipal", retryable: true });
        expect(fault.retryAfterMs).toBeGreaterThan(0);
      }
      expect(await (await open(world.peer("bob"), "t/echo", { input: 1 })).result()).toBe(1);
      await one.cancel();
      expect(await (await open(ann, "t/echo", { input: 1 })).result()).toBe(1);
    },
  },
  {
    name: "limit: calls at once in all",
    options: { users: true, limits: { callsInFlight: 1 } },
    async run(world) {
      await open(world.peer("ann"), "t/gate", { input: { source: "1" }, keep: true });
      const fault = await faultOf(
        async () => (await open(world.peer("bob"), "t/echo", { input: 1 })).result(),
        "resource_exhausted",
      );
      expect(fault.limit).toBe("callsInFlight");
    },
  },
  {
    name: "limit: requests a second",
    options: { users: true, limits: { ratePerSecond: 5 }, now: () => 1_700_000_000_000 },
    async run(world) {
      const ann = world.peer("ann");
      const fault = await faultOf(async () => {
        for (let n = 0; n < 6; n++) await (await open(ann, "t/echo", { input: n })).result();
      }, "resource_exhausted");
      expect(fault).toMatchObject({ limit: "ratePerSecond", retryable: true });
      expect(fault.retryAfterMs).toBeGreaterThan(0);
      expect(await (await open(world.peer("bob"), "t/echo", { input: 1 })).result()).toBe(1);
    },
  },
  {
    name: "limit: bytes of an input",
    options: { limits: { bodyBytes: 20_000 } },
    async run(world) {
      expect(await world.result("t/echo", "x".repeat(15_000))).toBeString();
      const fault = await faultOf(() => world.result("t/echo", "x".repeat(30_000)), "resource_exhausted");
      expect(fault).toMatchObject({ limit: "bodyBytes", retryable: false });
      expect(await world.result("t/echo", 1)).toBe(1);
    },
  },
  {
    name: "limit: bytes of an item, an event and a result",
    options: { limits: { itemBytes: 1_000 } },
    async run(world) {
      const sum = await world.open("t/shout", { keep: true });
      const item = await faultOf(() => sum.append({ items: ["x".repeat(2_000)], seq: 0 }), "resource_exhausted");
      expect(item.limit).toBe("itemBytes");
      const topic = await world.open("topics/notes");
      const event = await faultOf(() => publish(topic, { text: "x".repeat(2_000) }), "resource_exhausted");
      expect(event.limit).toBe("itemBytes");
      const big = await world.open("t/echo", { input: "ü".repeat(600), keep: true });
      expect((await faultOf(() => big.result(), "resource_exhausted")).limit).toBe("itemBytes");
    },
  },
  {
    name: "limit: depth of JSON",
    options: { limits: { jsonDepth: 20 } },
    async run(world) {
      const deep = (levels: number) => JSON.parse("[".repeat(levels) + "]".repeat(levels)) as unknown;
      expect(await world.result("t/echo", deep(10))).toEqual(deep(10));
      const fault = await faultOf(() => world.result("t/echo", deep(40)), "invalid_argument");
      expect(fault.limit).toBe("jsonDepth");
    },
  },
  {
    name: "limit: characters of a key",
    options: { limits: { keyChars: 10 } },
    async run(world) {
      expect(await world.result("t/echo", 1, { key: "0123456789" })).toBe(1);
      const fault = await faultOf(() => world.result("t/echo", 1, { key: "01234567890" }), "invalid_argument");
      expect(fault.limit).toBe("keyChars");
      const topic = await world.open("topics/ticks");
      expect((await faultOf(() => publish(topic, { n: 1 }, "01234567890"), "invalid_argument")).limit).toBe("keyChars");
    },
  },
  {
    name: "limit: bytes of the log of one call",
    options: { limits: { callBytes: 20_000 } },
    async run(world) {
      const exchange = await world.open("t/big", { input: { items: 100, bytes: 1_000 }, keep: true });
      const fault = await faultOf(() => exchange.result(), "resource_exhausted");
      expect(fault.limit).toBe("callBytes");
      const { events } = await read(exchange);
      expect(events.at(-1)!.kind).toBe("fail");
    },
  },
  {
    name: "limit: bytes that one caller has stored",
    options: { users: true, limits: { storedBytesPerPrincipal: 5_000 } },
    async run(world) {
      const ann = world.peer("ann");
      const echo = (user = ann) => open(user, "t/echo", { input: "x".repeat(1_000), keep: true });
      const fault = await faultOf(async () => {
        for (let n = 0; n < 10; n++) await (await echo()).result();
      }, "resource_exhausted");
      expect(fault.limit).toBe("storedBytesPerPrincipal");
      expect(await (await echo(world.peer("bob"))).result()).toBeString();
    },
  },
  {
    name: "quiet: a stream that says nothing for many heartbeats goes on",
    options: { timing: { commentMs: 20, heartbeatMs: 20, graceMs: 10_000 } },
    async run(world) {
      const { exchange, source } = await world.stream("q");
      const reading = exchange.read({ from: "start", follow: true })[Symbol.asyncIterator]();
      // The verdict and the first event may come as two pages.
      for (let seen = 0; seen === 0; ) seen = (await reading.next()).value!.events.length;
      let isThere = false;
      const next = reading.next().finally(() => {
        isThere = true;
      });
      const until = performance.now() + 400;
      while (performance.now() < until && !isThere) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(isThere).toBe(false);
      source.push("at last");
      expect(items((await next).value!.events)).toEqual(["at last"]);
      await reading.return?.();
    },
  },
  {
    name: "abort: 1,000 readings that are given up leave nothing behind",
    timeout: 120_000,
    async run(world) {
      const { id, source } = await world.stream("l");
      source.push(1);
      const peer = world.peer();
      const listeners = () => getEventListeners(world.core.draining, "abort").length;
      const outer = new AbortController();
      const cycle = async (n: number) => {
        const exchange = await open(peer, n % 2 ? `calls/${id}` : "topics/ticks");
        const abort = new AbortController();
        const reading = exchange.read({ from: "start", follow: true, signal: abort.signal })[Symbol.asyncIterator]();
        await reading.next();
        const waiting = n % 3 ? reading.next() : undefined;
        if (n % 5) abort.abort();
        else void reading.return?.();
        abort.abort();
        await waiting;
      };
      await cycle(0);
      await until(() => world.store.reading === 0, "the first reading to end");
      const before = listeners();
      for (let n = 0; n < 1_000; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => cycle(n + i)));
      await until(() => world.store.reading === 0, `${world.store.reading} readings to end`);
      expect(listeners()).toBeLessThanOrEqual(before + 2);
      expect(getEventListeners(outer.signal, "abort")).toHaveLength(0);
    },
  },
  {
    name: "drain: readers are told to come back, spread over time, and none is told an end",
    options: { timing: { spreadMs: 5_000 }, drainMs: 0 },
    async run(world) {
      const { id, source } = await world.stream("g");
      source.push(1);
      const faults = Array.from({ length: 12 }, async () => {
        const exchange = await open(world.peer(), `calls/${id}`);
        return faultOf(async () => {
          for await (const { ended } of exchange.read({ from: "start", follow: true })) if (ended) return "ended";
        }, "unavailable");
      });
      await until(() => world.store.pages >= 12, "the readers");
      const draining = world.core.drain();
      if (world.isPolled) await draining.then(() => world.unplug());
      const told = await Promise.all(faults);
      await draining;
      for (const fault of told) expect(fault.retryable).toBe(true);
      if (world.isPolled) return;
      const delays = told.map(({ retryAfterMs }) => retryAfterMs ?? Number.NaN);
      expect(new Set(delays).size).toBeGreaterThan(6);
      for (const ms of delays) expect(ms).toBeLessThanOrEqual(6_000);
    },
  },
  {
    name: "drain: new calls are unavailable with a delay",
    options: { drainMs: 5_000 },
    async run(world) {
      const running = await world.open("t/gate", { input: { source: "r" }, keep: true });
      await until(() => world.control.started("r") === 1, "the handler");
      const draining = world.core.drain();
      const fault = await faultOf(() => world.result("t/echo", 1), "unavailable");
      expect(fault.retryable).toBe(true);
      world.control.source("r").push("finished");
      await draining;
      const { last } = (await world.store.list({ prefix: `calls/${running.id}`, limit: 1 })).logs[0]!;
      expect(JSON.parse(last!.json)).toEqual({ result: "finished" });
    },
  },
  {
    name: "restart: everybody comes back with their cursors, and a call that may goes on",
    timeout: 60_000,
    async run(world) {
      const { id, source } = await world.stream("s");
      source.push(1, 2, 3);
      const peers = Array.from({ length: 8 }, () => world.peer());
      const readers = peers.map((peer) => readThrough(() => peer, `calls/${id}`));
      await until(() => world.store.pages >= 8, "the readers");
      await world.restart();
      source.push(4);
      await until(() => world.control.started("s") === 2, "the second attempt");
      source.end();
      for (const { events, verdicts } of await Promise.all(readers)) {
        expect(items(events)).toEqual([1, 2, 3, 4]);
        expect(new Set(verdicts)).toEqual(new Set(["recovered"]));
        const opens = events.filter(({ kind }) => kind === "open");
        expect(opens.map(({ json }) => (JSON.parse(json) as { attempt: number }).attempt)).toEqual([1, 2]);
      }
    },
  },
  {
    name: "restart: a key is remembered",
    async run(world) {
      expect(await world.result("t/echo", { a: 1 }, { key: "k" })).toEqual({ a: 1 });
      await world.restart();
      let isThere = false;
      await until(async () => {
        try {
          const again = await open(world.peer(), "t/echo", { input: { a: 1 }, key: "k" });
          expect(await again.result()).toEqual({ a: 1 });
          isThere = again.replayed;
          return true;
        } catch (thrown) {
          if (thrown instanceof Fault && thrown.code === "unavailable") return false;
          throw thrown;
        }
      }, "the server");
      expect(isThere).toBe(true);
    },
  },
];
