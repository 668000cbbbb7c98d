import { describe, expect, test } from "bun:test";
import { z } from "zod";
import {
  aborted,
  ackLost,
  diskFull,
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
import { clientStream, serverStream, service, topic, unary } from "../contract/index.ts";

const gates: Record<string, ReturnType<typeof latch>> = {};
let ran = 0;
const log = topic({ event: z.string() });
const sample = service("s", {
  run: unary({ input: z.any(), output: z.any() }, async (gate) => {
    ran++;
    if (gate) await gates[gate]!.opened;
    return "done";
  }),
  many: serverStream({ input: z.string(), item: z.number() }, async function* (gate) {
    yield 1;
    await gates[gate]!.opened;
    yield 2;
  }),
  // Ends well, whatever happens to what it said.
  deaf: serverStream({ input: z.string(), item: z.number() }, async function* () {
    yield 1;
  }),
  sum: clientStream({ input: z.number(), output: z.number() }, async (items, { signal }) => {
    let sum = 0;
    for await (const n of items) sum += n;
    if (sum < 0) await aborted(signal);
    return sum;
  }),
  log,
});

async function faulty() {
  const store = new FaultyStore();
  const lines: string[] = [];
  const logger = {
    calls: "defects" as const,
    call() {},
    note: (_: string, message: string) => void lines.push(message),
  };
  const core = await started(sample, { store, logger });
  return { store, core, lines };
}
const isEnd = (drafts: readonly { kind: string }[]) => drafts.some(({ kind }) => kind === "end" || kind === "fail");

describe("a store that cannot write", () => {
  test("the beginning: the caller hears it, no handler runs, no place is taken, and the key can be used again", async () => {
    const { store, core } = await faulty();
    ran = 0;
    store.mishap = () => diskFull;
    for (let i = 0; i < 3; i++) {
      expect((await faultOf(() => open(core, "s/run", { key: "k" }))).code).toBe("resource_exhausted");
    }
    store.mishap = () => undefined;
    expect(core.metrics.text()).toContain('backtalk_calls_running{method="s/run"} 0');
    expect(ran).toBe(0);
    const exchange = await open(core, "s/run", { key: "k" });
    expect(exchange.replayed).toBe(false);
    expect(await exchange.result()).toBe("done");
  });

  test("the log of the items alone: the call that was begun gets its end", async () => {
    const { store, core } = await faulty();
    store.mishap = (name) => (name.startsWith("inputs/") ? diskFull : undefined);
    expect((await faultOf(() => open(core, "s/sum", { key: "k" }))).code).toBe("resource_exhausted");
    store.mishap = () => undefined;
    const again = await open(core, "s/sum", { key: "k" });
    expect(again.replayed).toBe(true);
    expect((await faultOf(() => again.result())).code).toBe("resource_exhausted");
    expect(kinds(await transcript(again))).toEqual(["open", "fail"]);
  });

  test("in the middle: the call fails, also when the handler goes on and ends well", async () => {
    const { store, core } = await faulty();
    for (const method of ["many", "deaf"]) {
      gates["m"] = latch();
      store.mishap = (_, drafts) => (drafts.some(({ kind }) => kind === "item") ? diskFull : undefined);
      const exchange = await open(core, `s/${method}`, { input: "m" });
      gates["m"].open();
      expect((await faultOf(() => exchange.result())).code).toBe("resource_exhausted");
      expect(kinds(await transcript(exchange))).toEqual(["open", "fail"]);
    }
  });

  test("in the middle, and then nothing until it is mended: the end comes late, and only one", async () => {
    const { store, core, lines } = await faulty();
    gates["l"] = latch();
    const exchange = await open(core, "s/many", { input: "l" });
    await until(async () => (await eventsOf(exchange.read({ from: "start", follow: false }))).length === 2);
    store.mishap = () => diskFull;
    gates["l"].open();
    let heard = "";
    const result = faultOf(() => exchange.result()).then((fault) => (heard = fault.code));
    await until(() => lines.includes("the end of a call cannot be stored"));
    expect(heard).toBe("");
    expect(await exchange.state()).toMatchObject({ state: "running" });
    store.mishap = () => undefined;
    await result;
    expect(heard).toBe("resource_exhausted");
    expect(kinds(await transcript(exchange))).toEqual(["open", "item", "fail"]);
  });

  test("the end: a success is heard when it is stored and not before", async () => {
    const { store, core, lines } = await faulty();
    gates["e"] = latch();
    const exchange = await open(core, "s/run", { input: "e", keep: true });
    store.mishap = (_, drafts) => (isEnd(drafts) ? { ...ackLost!, when: "before" } : undefined);
    gates["e"].open();
    let heard: unknown;
    const result = Promise.resolve(exchange.result()).then((value) => (heard = value));
    await until(() => lines.length > 0);
    expect(heard).toBeUndefined();
    store.mishap = () => undefined;
    await result;
    expect(heard).toBe("done");
    expect(await exchange.state()).toMatchObject({ state: "done", result: "done" });
  });

  test("the end was stored but the answer lost: what is heard is what is stored", async () => {
    const { store, core } = await faulty();
    gates["a"] = latch();
    const exchange = await open(core, "s/run", { input: "a", keep: true });
    let lost = 0;
    store.mishap = (_, drafts) => (isEnd(drafts) && lost++ === 0 ? ackLost : undefined);
    gates["a"].open();
    expect(await exchange.result()).toBe("done");
    expect(lost).toBeGreaterThan(1);
    expect(kinds(await transcript(exchange))).toEqual(["open", "end"]);
  });

  test("a cancel while it is broken: heard when it is stored", async () => {
    const { store, core, lines } = await faulty();
    gates["c"] = latch();
    const exchange = await open(core, "s/run", { input: "c", keep: true });
    store.mishap = () => diskFull;
    let isOver = false;
    const cancelled = exchange.cancel().then(() => {
      isOver = true;
    });
    await until(() => lines.length > 0);
    expect(isOver).toBe(false);
    store.mishap = () => undefined;
    await cancelled;
    expect(await exchange.state()).toMatchObject({ state: "cancelled" });
  });

  test("the server goes meanwhile: closing does not wait for ever, and nobody hears an end that is not stored", async () => {
    const { store, core } = await faulty();
    gates["g"] = latch();
    const exchange = await open(core, "s/run", { input: "g", keep: true });
    const result = faultOf(() => exchange.result());
    store.mishap = () => diskFull;
    await core.close();
    expect(await result).toMatchObject({ code: "unavailable", retryable: true });
    store.mishap = () => undefined;
    const next = await started(sample, { store });
    const again = await open(next, `calls/${exchange.id}`);
    expect((await faultOf(() => again.result())).code).toBe("unavailable");
    expect(kinds(await transcript(again))).toEqual(["open", "fail"]);
  });

  test("items of the caller and events of a topic: acknowledged only when stored", async () => {
    const { store, core } = await faulty();
    const sum = await open(core, "s/sum");
    const events = await open(core, "topics/log");
    store.mishap = () => diskFull;
    expect((await faultOf(() => sum.append({ items: [1], seq: 0 }))).code).toBe("resource_exhausted");
    expect((await faultOf(() => events.append({ items: ["a"], key: "k" }))).code).toBe("resource_exhausted");
    store.mishap = (name) => (name.startsWith("inputs/") || name.startsWith("topics/") ? ackLost : undefined);
    await faultOf(() => sum.append({ items: [1], seq: 0 }));
    await faultOf(() => events.append({ items: ["a"], key: "k" }));
    store.mishap = () => undefined;
    expect(await sum.append({ items: [1, 2], seq: 0, end: true })).toMatchObject({ next: 2 });
    expect(await sum.result()).toBe(3);
    expect(await events.append({ items: ["a"], key: "k" })).toMatchObject({ duplicate: true });
    expect(await events.state()).toMatchObject({ events: 1 });
  });

  test("while it recovers at the start: the call is taken up when the store is back", async () => {
    const { store, core } = await faulty();
    gates["r"] = latch();
    const exchange = await open(core, "s/run", { input: "r", keep: true });
    store.mishap = () => diskFull;
    await core.close();
    let broken = true;
    store.mishap = (name) => (broken && name.startsWith("calls/") ? diskFull : undefined);
    const next = await started(sample, { store });
    const again = await open(next, `calls/${exchange.id}`);
    expect(await again.state()).toMatchObject({ state: "running" });
    broken = false;
    expect((await faultOf(() => again.result())).code).toBe("unavailable");
  });
});
