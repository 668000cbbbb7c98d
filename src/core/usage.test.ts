import { expect, test } from "bun:test";
import { z } from "zod";
import { aborted, call, diskFull, FaultyStore, open, started, transcript, until } from "../../suites/core/kit.ts";
import { clientStream, LIMITS, serverStream, service, unary } from "../contract/index.ts";
import type { Store } from "../log/index.ts";
import { type Core, memoryStore } from "../server.ts";
import { Usage } from "./usage.ts";

const sample = service("s", {
  run: unary({ input: z.any(), output: z.any(), progress: z.any() }, async (input, handlerCall) => {
    handlerCall.progress(input);
    return input === "wait" ? aborted(handlerCall.signal) : input;
  }),
  again: unary({ input: z.any(), output: z.any(), onRestart: "retry" }, (input, { signal, attempt }) =>
    attempt === 1 ? aborted(signal) : input,
  ),
  many: serverStream({ input: z.any(), item: z.any() }, function* (input) {
    yield input;
    yield input;
  }),
  sum: clientStream({ input: z.any(), output: z.any() }, async (items) => {
    for await (const _ of items);
    return "жук";
  }),
});

async function bytesIn(store: Store): Promise<number> {
  const usage = new Usage(LIMITS.storedBytesPerPrincipal);
  await usage.count(store);
  return usage.of("ann");
}

async function work(core: Core) {
  const ann = { principal: { id: "ann" } };
  const [one, many, sum, wait] = await Promise.all([
    open(core, "s/run", { ...ann, input: "ключ 🔑", keep: true }),
    open(core, "s/many", { ...ann, input: "ü".repeat(50) }),
    open(core, "s/sum", ann),
    open(core, "s/run", { ...ann, input: "wait", keep: true }),
  ]);
  await sum.append({ items: ["ü".repeat(30), 2], end: true });
  await wait.cancel();
  await Promise.all([one, many, sum].map((each) => transcript(each)));
  await until(() => core.metrics.text().includes('running{method="s/sum"} 0'));
}

test("what is counted is what the store has, through ends, cancels, restarts and retention, and goes back to 0", async () => {
  let now = 1_000_000;
  const store = memoryStore({ now: () => now });
  const most = { storedBytesPerPrincipal: 3000 };
  const options = { store, now: () => now, limits: most, retention: { callMs: 1000, everyMs: 1 } };
  let core = await started(sample, options);
  const left = async () => {
    // How many calls are taken until there is no room says how much is counted.
    let taken = 0;
    for (;;) {
      const exchange = await Promise.resolve(core.peer(call("s/run", { principal: { id: "ann" }, keep: true }))).catch(
        () => undefined,
      );
      if (!exchange) return taken;
      await exchange.result();
      taken++;
    }
  };
  await work(core);
  const retried = await open(core, "s/again", { principal: { id: "ann" }, input: "ü", keep: true });
  await core.close();
  core = await started(sample, options);
  const again = await open(core, `calls/${retried.id}`, { principal: { id: "ann" } });
  expect(await again.result()).toBe("ü");
  now += 1001;
  await until(async () => (await bytesIn(store)) === 0);
  const first = await left();
  now += 1001;
  await until(async () => (await bytesIn(store)) === 0);
  for (let i = 0; i < 3; i++) {
    await work(core);
    now += 1001;
    await until(async () => (await store.list({ prefix: "", limit: 1 })).logs.length === 0);
  }
  expect(await left()).toBe(first);
  await core.close();
});

test("what could not be stored is not counted", async () => {
  const store = new FaultyStore();
  const core = await started(sample, { store, limits: { storedBytesPerPrincipal: 100 } });
  store.mishap = () => diskFull;
  for (let i = 0; i < 10; i++) {
    await open(core, "s/run", { keep: true, input: "x".repeat(50) }).catch(() => {});
  }
  store.mishap = () => undefined;
  expect(await (await open(core, "s/run", { keep: true, input: 1 })).result()).toBe(1);
});

test("calls that were opened while there was room do not keep more than there is", async () => {
  const store = memoryStore();
  const endless = service("s", {
    run: serverStream({ input: z.any(), item: z.any() }, function* () {
      for (;;) yield "x".repeat(1000);
    }),
    tell: unary({ input: z.any(), output: z.any(), progress: z.any() }, async (_, handlerCall) => {
      for (;;) {
        handlerCall.progress("x".repeat(1000));
        await new Promise(setImmediate);
      }
    }),
  });
  const most = 1_000_000;
  const core = await started(endless, { store, limits: { storedBytesPerPrincipal: most } });
  const ann = { principal: { id: "ann" }, keep: true };
  const calls = await Promise.all(["s/run", "s/tell", "s/run", "s/tell"].map((to) => open(core, to, ann)));
  for (const each of calls) {
    const ended = Promise.resolve(each.result());
    expect(ended).rejects.toMatchObject({ code: "resource_exhausted", limit: "storedBytesPerPrincipal" });
    await ended.catch(() => {});
  }
  // What each says before it hears how much is stored comes on top.
  expect(await bytesIn(store)).toBeLessThan(2 * most);
  expect(await (await open(core, "s/tell", { keep: true })).state()).toMatchObject({ state: "running" });
  await core.close();
});
