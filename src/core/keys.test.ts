import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { FaultyStore, faultOf, latch, open, started } from "../../suites/core/kit.ts";
import { clientStream, service, topic, unary } from "../contract/index.ts";
import { memoryStore } from "../server.ts";

let ran = 0;
const run = unary({ input: z.any(), output: z.any() }, (input) => {
  ran++;
  return input;
});
const sample = service("s", {
  run,
  other: run,
  sum: clientStream({ input: z.number(), output: z.number() }, async (items) => {
    let sum = 0;
    for await (const n of items) sum += n;
    return sum;
  }),
  log: topic({ event: z.object({ text: z.string() }) }),
});
const [ann, bob] = [{ id: "ann" }, { id: "bob" }];

describe("an idempotency key", () => {
  test("belongs to one principal and one method", async () => {
    const core = await started(sample);
    const ids = new Set<string | undefined>();
    for (const principal of [ann, bob]) {
      for (const method of ["s/run", "s/other"]) {
        const exchange = await open(core, method, { principal, key: "k", input: principal.id + method });
        expect(exchange.replayed).toBe(false);
        expect(await exchange.result()).toBe(principal.id + method);
        ids.add(exchange.id);
      }
    }
    expect(ids.size).toBe(4);
  });

  test("cannot be made to mean another principal's", async () => {
    const core = await started(sample);
    const first = await open(core, "s/run", { principal: { id: "a" }, key: "x\0s/run\0y", input: "secret" });
    const second = await open(core, "s/run", { principal: { id: "a\0s/run\0x" }, key: "y", input: "secret" });
    expect(second.replayed).toBe(false);
    expect(second.id).not.toBe(first.id);
    const [one, two] = [
      await open(core, "topics/log", { principal: { id: "a" } }),
      await open(core, "topics/log", { principal: { id: "a\0b" } }),
    ];
    await one.append({ items: [{ text: "mine" }], key: "b\0c" });
    expect(await two.append({ items: [{ text: "mine" }], key: "c" })).toMatchObject({ duplicate: false });
  });

  test("used by 50 callers at once runs the handler once", async () => {
    const store = new FaultyStore();
    const slow = latch();
    const core = await started(sample, { store });
    store.slow = slow.opened;
    ran = 0;
    const all = Array.from({ length: 50 }, () => open(core, "s/run", { key: "k", input: 1 }));
    slow.open();
    const exchanges = await Promise.all(all);
    expect(await Promise.all(exchanges.map((each) => each.result()))).toEqual(Array(50).fill(1));
    expect(exchanges.filter((each) => !each.replayed)).toHaveLength(1);
    expect(ran).toBe(1);
    expect(core.metrics.text()).toContain('running{method="s/run"} 0');
  });

  test("with another body is refused: while it runs, after, and after a restart; with members in another order it is the same", async () => {
    const store = memoryStore();
    let core = await started(sample, { store });
    await (await open(core, "s/run", { key: "k", input: { a: 1, b: [2] } })).result();
    for (let i = 0; i < 2; i++) {
      const fault = await faultOf(() => open(core, "s/run", { key: "k", input: { a: 1, b: [3] } }));
      expect(fault).toMatchObject({ code: "invalid_argument", detail: { key: "reused" } });
      const same = await open(core, "s/run", { key: "k", input: { b: [2], a: 1 } });
      expect(same.replayed).toBe(true);
      expect(await same.result()).toEqual({ a: 1, b: [2] });
      await core.close();
      core = await started(sample, { store });
    }
  });

  test("of any text: emoji, lone surrogates, line ends; too long or empty is refused", async () => {
    const core = await started(sample);
    const keys = ["ключ", "🔑", "a\nb", "a b", '"', "\ud800", "\udfff", "k".repeat(255)];
    const ids = new Set<string | undefined>();
    for (const key of keys) {
      const exchange = await open(core, "s/run", { key, input: key.length });
      expect(await exchange.result()).toBe(key.length);
      expect((await open(core, "s/run", { key, input: key.length })).replayed).toBe(true);
      ids.add(exchange.id);
    }
    expect(ids.size).toBe(keys.length);
    const topicExchange = await open(core, "topics/log");
    for (const key of ["", "k".repeat(256)]) {
      expect((await faultOf(() => open(core, "s/run", { key }))).limit).toBe("keyChars");
      expect((await faultOf(() => topicExchange.append({ items: [{ text: "a" }], key }))).limit).toBe("keyChars");
    }
  });

  test("is answered although there is no room for another call", async () => {
    const core = await started(sample, { limits: { storedBytesPerPrincipal: 60 } });
    const first = await open(core, "s/run", { key: "k", input: "x".repeat(100) });
    await first.result();
    expect((await faultOf(() => open(core, "s/run", { key: "new" }))).limit).toBe("storedBytesPerPrincipal");
    const again = await open(core, "s/run", { key: "k", input: "x".repeat(100) });
    expect(again.replayed).toBe(true);
    expect(await again.result()).toBe("x".repeat(100));
  });

  test("of a stream of the caller: sent again from its first item, also after it ended", async () => {
    const core = await started(sample);
    const first = await open(core, "s/sum", { key: "up" });
    await first.append({ items: [1, 2], seq: 0 });
    const second = await open(core, "s/sum", { key: "up" });
    expect(second.replayed).toBe(true);
    expect(await second.append({ items: [1, 2, 3], seq: 0, end: true })).toMatchObject({ next: 3 });
    expect(await second.result()).toBe(6);
    const third = await open(core, "s/sum", { key: "up" });
    expect(await third.append({ items: [1, 2, 3], seq: 0, end: true })).toMatchObject({ next: 3, duplicate: true });
    expect(await third.result()).toBe(6);
    expect((await faultOf(() => third.append({ items: [4], seq: 3 }))).code).toBe("failed_precondition");
    expect((await faultOf(() => third.append({ items: [9], seq: 0 }))).detail).toMatchObject({ key: "reused" });
  });
});

describe("a key of a published event", () => {
  test("holds after a restart, and until its event is trimmed", async () => {
    const store = memoryStore();
    let core = await started(sample, { store });
    const publish = async (text: string) =>
      (await open(core, "topics/log", { principal: ann })).append({ items: [{ text }], key: "🔑" });
    const first = await publish("a");
    await core.close();
    core = await started(sample, { store });
    expect(await publish("a")).toEqual({ ...first, duplicate: true });
    expect((await faultOf(() => publish("b"))).detail).toEqual({ key: "reused" });
    await store.trim("topics/log", first.cursor);
    expect(await publish("b")).toMatchObject({ duplicate: false });
  });

  test("of many events at once", async () => {
    const core = await started(sample);
    const events = await open(core, "topics/log");
    const items = Array.from({ length: 400 }, (_, i) => ({ text: String(i) }));
    const first = await events.append({ items, key: "k" });
    await events.append({ items: [{ text: "later" }] });
    expect(await events.append({ items, key: "k" })).toEqual({ ...first, duplicate: true });
    const fault = await faultOf(() => events.append({ items: items.with(399, { text: "no" }), key: "k" }));
    expect(fault.detail).toEqual({ key: "reused" });
  });
});

test("a publication larger than a page can be sent again", async () => {
  const core = await started(sample);
  const events = await open(core, "topics/log");
  const items = Array.from({ length: 3 }, () => ({ text: "x".repeat(700_000) }));
  await events.append({ items, key: "k" });
  expect(await events.append({ items, key: "k" })).toMatchObject({ duplicate: true });
});

test("events that are published one after the other keep their order, however many at once", async () => {
  const core = await started(sample);
  const events = await open(core, "topics/log");
  const many = events.append({ items: Array.from({ length: 50 }, (_, i) => ({ text: String(i) })) });
  const one = events.append({ items: [{ text: "50" }] });
  expect((await many).cursor < (await one).cursor).toBe(true);
});
