import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { call, eventsOf, faultOf, until } from "../../suites/core/kit.ts";
import { bidi, clientStream, serverStream, service, topic, unary } from "../contract/index.ts";
import { createCore, memoryStore } from "../server.ts";

const ticks = topic({
  event: z.object({ n: z.number() }),
  fold: { initial: 0, step: (sum, { n }) => sum + n },
  retain: { events: 5 },
});
const runs = { slow: 0 };
const gates = new Map<string, () => void>();
const sample = service("s", {
  double: unary({ input: z.object({ n: z.number() }), output: z.object({ n: z.number() }) }, ({ n }) => ({ n: 2 * n })),
  bad: unary(
    { input: z.object({}), output: z.object({ n: z.number() }) },
    () => ({ n: "no" }) as unknown as { n: number },
  ),
  throws: unary({ input: z.object({}), output: z.object({}) }, () => {
    throw new Error("secret text");
  }),
  slow: unary(
    {
      input: z.object({ gate: z.string() }),
      output: z.object({ ok: z.boolean() }),
      progress: z.number(),
      onRestart: "retry",
    },
    async ({ gate }, call) => {
      runs.slow++;
      call.progress(call.attempt);
      await new Promise<void>((resolve, reject) => {
        gates.set(gate, resolve);
        call.signal.addEventListener("abort", () => reject(call.signal.reason));
      });
      return { ok: true };
    },
  ),
  count: serverStream(
    { input: z.object({ to: z.number() }), item: z.number(), fold: { initial: 0, step: (sum: number, n) => sum + n } },
    async function* ({ to }) {
      for (let i = 1; i <= to; i++) yield i;
    },
  ),
  sum: clientStream({ input: z.number(), output: z.number() }, async (items) => {
    let sum = 0;
    for await (const n of items) sum += n;
    return sum;
  }),
  echo: bidi({ input: z.string(), item: z.string() }, async function* (items) {
    for await (const text of items) yield text.toUpperCase();
  }),
  ticks,
});

async function started(store = memoryStore(), options = {}) {
  const core = createCore(sample, { store, ...options });
  await core.start();
  return core;
}

describe("a unary call that nobody keeps", () => {
  test("gives its result without a promise and without a trace in the store", async () => {
    const store = memoryStore();
    const core = await started(store);
    const exchange = core.peer(call("s/double", { input: { n: 21 } }));
    expect(exchange).not.toBeInstanceOf(Promise);
    expect((exchange as { result(): unknown }).result()).toEqual({ n: 42 });
    expect((await store.list({ prefix: "calls/", limit: 10 })).logs).toEqual([]);
  });

  test("names each bad field", async () => {
    const core = await started();
    const fault = await faultOf(async () => (await core.peer(call("s/double", { input: { n: "x" } }))).result());
    expect(fault.code).toBe("invalid_argument");
    expect(fault.fields?.[0]?.path).toBe("n");
  });

  test("a defect of the handler is internal, and what it threw is not shown", async () => {
    const core = await started();
    for (const method of ["s/throws", "s/bad"]) {
      const fault = await faultOf(async () => (await core.peer(call(method, { input: {} }))).result());
      expect(fault.code).toBe("internal");
      expect(JSON.stringify(fault)).not.toContain("secret");
    }
  });

  test("fails at its deadline", async () => {
    const core = await started();
    const fault = await faultOf(async () =>
      (await core.peer(call("s/slow", { input: { gate: "d" }, deadline: Date.now() + 5 }))).result(),
    );
    expect(fault.code).toBe("deadline_exceeded");
  });

  test("an unknown method has a hint", async () => {
    const core = await started();
    const fault = await faultOf(() => core.peer(call("s/duoble")));
    expect(fault.code).toBe("not_found");
    expect(fault.hint).toContain("s/double");
  });
});

describe("a recorded call", () => {
  test("has an id, events, and one end", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/count", { input: { to: 3 } }));
    const events = await eventsOf(exchange.read({ from: "start", follow: true }));
    expect(events.map((event) => [event.kind, JSON.parse(event.json)])).toEqual([
      ["open", { id: exchange.id, method: "s/count", attempt: 1 }],
      ["item", 1],
      ["item", 2],
      ["item", 3],
      ["end", {}],
    ]);
    expect(await exchange.state()).toMatchObject({ state: "done", fold: 6, attempt: 1 });
  });

  test("hides the input from readers", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/double", { input: { n: 77_777 }, keep: true }));
    await exchange.result();
    expect(JSON.stringify(await eventsOf(exchange.read({ from: "start", follow: true })))).not.toContain("77777");
  });

  test("the same key attaches while it runs and replays after; another input is refused", async () => {
    const core = await started();
    runs.slow = 0;
    const open = (input: unknown) => core.peer(call("s/slow", { input, key: "k1" }));
    const [first, second] = await Promise.all([open({ gate: "k" }), open({ gate: "k" })]);
    expect(first.id).toBe(second.id);
    expect([first.replayed, second.replayed].sort()).toEqual([false, true]);
    await until(() => gates.has("k"));
    gates.get("k")!();
    expect(await first.result()).toEqual({ ok: true });
    expect(await second.result()).toEqual({ ok: true });
    expect(await (await open({ gate: "k" })).result()).toEqual({ ok: true });
    expect(runs.slow).toBe(1);
    const fault = await faultOf(() => open({ gate: "other" }));
    expect(fault.detail).toEqual({ key: "reused" });
  });

  test("cancel ends it once, whatever the handler does", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/slow", { input: { gate: "c" }, keep: true }));
    await exchange.cancel();
    await exchange.cancel();
    expect((await faultOf(() => exchange.result())).code).toBe("cancelled");
    const events = await eventsOf(exchange.read({ from: "start", follow: true }));
    expect(events.filter((event) => event.kind === "fail")).toHaveLength(1);
    expect(await exchange.state()).toMatchObject({ state: "cancelled" });
  });

  test("is not seen by another principal", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/count", { input: { to: 1 }, principal: { id: "ann" } }));
    const fault = await faultOf(() => core.peer(call(`calls/${exchange.id}`, { principal: { id: "bob" } })));
    expect(fault.code).toBe("not_found");
    const list = await core.peer(call("backtalk/calls", { input: {}, principal: { id: "bob" } }));
    expect(await list.result()).toEqual({ calls: [] });
  });

  test("holds a poll until something is new", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/slow", { input: { gate: "h" }, keep: true }));
    await until(() => gates.has("h"));
    await until(async () => "progress" in (await exchange.state()));
    const { cursor } = await exchange.state();
    const held = exchange.state({ after: cursor, waitMs: 60_000 });
    gates.get("h")!();
    expect(await held).toMatchObject({ state: "done", result: { ok: true }, progress: 1 });
  });
});

describe("streams of the caller", () => {
  test("items are numbered, skipped when known, refused when one is missing", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/sum"));
    expect(await exchange.append({ items: [1, 2], seq: 0 })).toMatchObject({ next: 2 });
    expect(await exchange.append({ items: [1, 2, 3], seq: 0 })).toMatchObject({ next: 3 });
    expect((await faultOf(() => exchange.append({ items: [9], seq: 5 }))).detail).toEqual({ next: 3 });
    expect((await faultOf(() => exchange.append({ items: [8], seq: 1 }))).detail).toMatchObject({ key: "reused" });
    expect((await faultOf(() => exchange.append({ items: [4, "x"] }))).code).toBe("invalid_argument");
    expect(await exchange.state()).toMatchObject({ received: { items: 3, ended: false } });
    await exchange.append({ items: [4], seq: 3, end: true });
    expect(await exchange.result()).toBe(10);
  });

  test("bidirectional: answers come while items go", async () => {
    const core = await started();
    const exchange = await core.peer(call("s/echo"));
    const seen: unknown[] = [];
    for await (const page of exchange.read({ from: "start", follow: true })) {
      for (const event of page.events) {
        seen.push(event.kind === "item" ? JSON.parse(event.json) : event.kind);
        if (event.kind === "open") await exchange.append({ items: ["a"] });
        if (seen.at(-1) === "A") await exchange.append({ items: ["b"], end: true });
      }
    }
    expect(seen).toEqual(["open", "A", "B", "end"]);
  });
});

describe("topics", () => {
  test("publish with a key once; another event with it is refused", async () => {
    const core = await started();
    const ticks = await core.peer(call("topics/ticks"));
    const first = await ticks.append({ items: [{ n: 1 }], key: "a" });
    expect(await ticks.append({ items: [{ n: 1 }], key: "a" })).toMatchObject({
      duplicate: true,
      cursor: first.cursor,
    });
    expect((await faultOf(() => ticks.append({ items: [{ n: 2 }], key: "a" }))).detail).toEqual({ key: "reused" });
  });
});

describe("a restart", () => {
  test("retries what may be retried and fails the rest", async () => {
    const store = memoryStore();
    const before = await started(store, { drainMs: 0 });
    const slow = await before.peer(call("s/slow", { input: { gate: "r" }, keep: true }));
    const sum = await before.peer(call("s/sum", { key: "up" }));
    await sum.append({ items: [1] });
    await until(() => gates.has("r"));
    gates.delete("r");
    await before.drain();
    const after = createCore(sample, { store });
    expect(await after.start()).toEqual({ retried: 1, failed: 0 });
    await until(() => gates.has("r"));
    gates.get("r")!();
    const again = await after.peer(call(`calls/${slow.id}`));
    expect(await again.result()).toEqual({ ok: true });
    const events = await eventsOf(again.read({ from: "start", follow: true }));
    expect(events.filter((event) => event.kind === "open").map((event) => JSON.parse(event.json).attempt)).toEqual([
      1, 2,
    ]);
    expect(await again.state()).toMatchObject({ state: "done", attempt: 2, result: { ok: true } });
    const ended = await after.peer(call(`calls/${sum.id}`));
    expect((await faultOf(() => ended.result())).code).toBe("unavailable");
  });
});
