import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { aborted, FaultyStore, faultOf, latch, open, started, until } from "../../suites/core/kit.ts";
import { clientStream, service, type TopicOptions, topic, unary } from "../contract/index.ts";
import type { Cursor, Page, Store } from "../log/index.ts";
import { memoryStore } from "../server.ts";

function clocked(retention = { callMs: 1000, everyMs: 1 }) {
  const clock = { at: 1_000_000 };
  const now = () => clock.at;
  const store = memoryStore({ now });
  return { clock, store, options: { store, now, retention } };
}

const calls = service("s", {
  run: unary({ input: z.any(), output: z.any() }, (input, { signal }) => (input === "wait" ? aborted(signal) : input)),
  never: unary({ input: z.any(), output: z.any(), recorded: "never" }, (input) => input),
  sum: clientStream({ input: z.number(), output: z.number() }, async (items) => {
    let sum = 0;
    for await (const n of items) sum += n;
    return sum;
  }),
});

async function logsOf(store: Store) {
  return (await store.list({ prefix: "", limit: 1000 })).logs.map(({ log }) => log);
}

describe("ended calls", () => {
  test("are kept for their time and no longer, with all that belongs to them; running ones stay", async () => {
    const { clock, store, options } = clocked();
    const core = await started(calls, options);
    const running = await open(core, "s/run", { keep: true, input: "wait" });
    const done = await open(core, "s/run", { key: "k", input: 1 });
    const volatile = await open(core, "s/never", { key: "k", input: 1 });
    const sum = await open(core, "s/sum");
    await sum.append({ items: [1, 2], end: true });
    await Promise.all([done, volatile, sum].map((each) => each.result()));
    expect(await done.state()).toMatchObject({ endedAt: clock.at, expiresAt: clock.at + 1000 });
    clock.at += 999;
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await logsOf(store)).toHaveLength(4);
    clock.at += 1;
    await until(async () => (await logsOf(store)).length === 1);
    expect(await logsOf(store)).toEqual([`calls/${running.id}`]);
    await until(async () => (await volatile.state().catch(() => undefined)) === undefined);
    for (const gone of [done, volatile, sum]) {
      expect((await faultOf(() => gone.result())).code).toBe("not_found");
      expect((await faultOf(() => open(core, `calls/${gone.id}`))).code).toBe("not_found");
    }
    expect((await open(core, "s/run", { key: "k", input: "other" })).replayed).toBe(false);
    await core.close();
  });

  test("more than a page of them", async () => {
    const { clock, store, options } = clocked();
    const core = await started(calls, options);
    for (let i = 0; i < 450; i++) await (await open(core, "s/run", { keep: true })).result();
    clock.at += 1000;
    await until(async () => (await logsOf(store)).length === 0);
    expect(core.metrics.text()).toContain('backtalk_trimmed_total{what="calls"} 450');
    await core.close();
  });

  test("a store that fails to remove is asked again, one question at a time", async () => {
    const { clock, store, options } = clocked();
    const faulty = new FaultyStore(store);
    const core = await started(calls, { ...options, store: faulty });
    await (await open(core, "s/run", { keep: true })).result();
    const { trim } = faulty;
    let asked = 0;
    let atOnce = 0;
    const slow = latch();
    faulty.trim = async (log, before) => {
      expect(++atOnce).toBe(1);
      if (++asked === 1) await slow.opened;
      atOnce--;
      if (asked <= 2) throw new Error("busy");
      return trim(log, before);
    };
    clock.at += 1000;
    await until(() => asked === 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    slow.open();
    await until(async () => (await logsOf(store)).length === 0);
    await core.close();
  });
});

describe("topics", () => {
  async function publishing(retain: NonNullable<TopicOptions["retain"]>) {
    const { clock, store, options } = clocked({ callMs: 1000, everyMs: 1 });
    const core = await started(service("s", { log: topic({ event: z.string(), retain }) }), options);
    const log = await open(core, "topics/log");
    const publish = async (...items: string[]) => (await log.append({ items })).cursor;
    const kept = async () => {
      const [page] = await Array.fromAsync(store.read("topics/log", { from: "start", follow: false }));
      return page!.events.map(({ json }) => JSON.parse(json) as string);
    };
    return { clock, core, log, publish, kept };
  }

  test("by count", async () => {
    const { core, publish, kept } = await publishing({ events: 3 });
    await publish("a", "b", "c", "d", "e");
    await until(async () => (await kept()).length === 3);
    expect(await kept()).toEqual(["c", "d", "e"]);
    await core.close();
  });

  test("by bytes of UTF-8, the newest that fit", async () => {
    const { core, publish, kept } = await publishing({ bytes: 50 });
    const items = Array.from({ length: 10 }, (_, i) => `${i}${"ü".repeat(8)}`);
    await publish(...items);
    // Each is 19 bytes.
    await until(async () => (await kept()).length < 10);
    expect(await kept()).toEqual(items.slice(-2));
    await core.close();
  });

  test("by age; all of them when all are too old, and the log goes on", async () => {
    const { clock, core, publish, kept, log } = await publishing({ ageMs: 100 });
    const first = await publish("a");
    clock.at += 60;
    await publish("b");
    clock.at += 60;
    await until(async () => (await kept()).length === 1);
    expect(await kept()).toEqual(["b"]);
    clock.at += 60;
    await until(async () => (await kept()).length === 0);
    const next = await publish("c");
    expect(next > first).toBe(true);
    const [page] = (await Array.fromAsync(log.read({ from: first, follow: false }))) as [Page];
    expect(page.verdict).toMatchObject({ verdict: "gap", from: first });
    expect(page.events.map(({ json }) => json)).toEqual(['"c"']);
    await core.close();
  });

  test("a reader at the edge: what came after its cursor is all there, or it is told", async () => {
    const { core, publish, kept, log } = await publishing({ events: 2 });
    const cursors: Cursor[] = [];
    for (const text of ["a", "b", "c", "d"]) cursors.push(await publish(text));
    await until(async () => (await kept()).length === 2);
    const read = async (from: Cursor) => {
      const [page] = (await Array.fromAsync(log.read({ from, follow: false }))) as [Page];
      return [page.verdict!.verdict, page.events.map(({ json }) => JSON.parse(json)).join("")];
    };
    expect(await Promise.all(cursors.map(read))).toEqual([
      ["gap", "cd"],
      ["recovered", "cd"],
      ["recovered", "d"],
      ["recovered", ""],
    ]);
    await core.close();
  });
});
