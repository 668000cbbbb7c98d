import { describe, expect, test } from "bun:test";
import { z } from "zod";
import {
  aborted,
  call,
  diskFull,
  FaultyStore,
  faultOf,
  kinds,
  latch,
  open,
  started,
  transcript,
  until,
} from "../../suites/core/kit.ts";
import { service, subscriber, topic, unary } from "../contract/index.ts";
import { createCore, memoryStore } from "../server.ts";

const any = { input: z.any(), output: z.any() };
const log = topic({ event: z.string() });

function sample(gate: Promise<void>) {
  const run = async (input: unknown, { signal }: { signal: AbortSignal }) => {
    await Promise.race([gate, aborted(signal)]);
    return input;
  };
  return service("s", { run: unary(any, run), again: unary({ ...any, onRestart: "retry" }, run), log });
}

describe("drain", () => {
  test("refuses new calls with a time to come back, and waits for those that run", async () => {
    const gate = latch();
    const store = memoryStore();
    const core = await started(sample(gate.opened), { store, timing: { spreadMs: 5000 }, random: () => 0.5 });
    const kept = await open(core, "s/run", { input: 1, keep: true });
    const direct = (await open(core, "s/run", { input: 2 })).result();
    expect(core.unready()).toEqual([]);
    const drained = core.drain();
    expect(core.draining.aborted).toBe(true);
    expect(core.unready()).toEqual(["the server is draining"]);
    for (const keep of [true, false]) {
      const fault = await faultOf(() => core.peer(call("s/run", { keep })));
      expect(fault).toMatchObject({ code: "unavailable", retryAfterMs: 3000, retryable: true });
    }
    expect(await (await open(core, `calls/${kept.id}`)).state()).toMatchObject({ state: "running" });
    gate.open();
    await drained;
    expect(await kept.result()).toBe(1);
    expect(await direct).toBe(2);
  });

  test("when time is up: hands over what may be retried, ends the rest, and tells who waits", async () => {
    const store = memoryStore();
    const never = new Promise<void>(() => {});
    const core = await started(sample(never), { store, drainMs: 5 });
    const again = await open(core, "s/again", { input: 1, keep: true });
    const run = await open(core, "s/run", { input: 2, keep: true });
    const waiting = [again, run].map((each) => faultOf(() => each.result()));
    const direct = (await open(core, "s/run", { input: 3 })).result() as Promise<unknown>;
    const directFault = faultOf(() => direct);
    await core.drain();
    expect((await Promise.all(waiting)).map((fault) => [fault.code, fault.retryable])).toEqual([
      ["unavailable", true],
      ["unavailable", true],
    ]);
    expect((await directFault).code).toBe("unavailable");
    expect(kinds(await transcript(run))).toEqual(["open", "fail"]);
    const next = createCore(sample(Promise.resolve()), { store });
    expect(await next.start()).toEqual({ retried: 1, failed: 0 });
    expect(await (await open(next, `calls/${again.id}`)).result()).toBe(1);
  });

  test("what was said before the handover is stored", async () => {
    const store = new FaultyStore();
    const saying = service("s", {
      run: unary({ ...any, progress: z.number(), onRestart: "retry" }, async (_, handlerCall) => {
        handlerCall.progress(1);
        await aborted(handlerCall.signal);
      }),
    });
    const core = await started(saying, { store, drainMs: 0 });
    const exchange = await open(core, "s/run", { keep: true });
    await core.drain();
    expect((await store.list({ prefix: `calls/${exchange.id}`, limit: 1 })).logs[0]?.progress?.json).toBe("1");
  });

  test("twice, and with close: one and the same", async () => {
    const core = await started(sample(new Promise(() => {})), { drainMs: 60_000 });
    const exchange = await open(core, "s/run", { keep: true });
    const result = faultOf(() => exchange.result());
    const drains = [core.drain(), core.drain()];
    await core.close();
    await Promise.all(drains);
    expect((await result).code).toBe("unavailable");
    await core.close();
  });

  test("a store that is full does not keep the server from going", async () => {
    const store = new FaultyStore();
    const core = await started(sample(new Promise(() => {})), { store, drainMs: 5 });
    await open(core, "s/run", { keep: true });
    await open(core, "s/again", { keep: true });
    store.mishap = () => diskFull;
    await core.drain();
  });

  test("a handler that ignores its signal does not keep the server from going", async () => {
    const core = await started(service("s", { run: unary(any, () => new Promise(() => {})) }), { drainMs: 5 });
    const exchange = await open(core, "s/run", { keep: true });
    await core.drain();
    expect((await faultOf(() => exchange.result())).code).toBe("unavailable");
  });
});

test("a call that was being opened when the server closed is not left to run", async () => {
  const store = new FaultyStore();
  let signal: AbortSignal | undefined;
  const services = service("s", {
    run: unary(any, (_, handlerCall) => {
      signal = handlerCall.signal;
      return aborted(signal);
    }),
  });
  const core = await started(services, { store });
  const slow = latch();
  store.slow = slow.opened;
  const opening = open(core, "s/run", { keep: true });
  await until(() => true);
  const closing = core.close();
  slow.open();
  await closing;
  const exchange = await opening;
  expect((await faultOf(() => exchange.result())).code).toBe("unavailable");
  expect(kinds(await transcript(exchange))).toEqual(["open", "fail"]);
  expect(signal).toBeUndefined();
});

test("closed while it starts: it does not come up afterwards", async () => {
  const store = new FaultyStore();
  const slow = latch();
  store.slow = slow.opened;
  const core = createCore(sample(Promise.resolve()), { store });
  const starting = core.start();
  await core.close();
  slow.open();
  await starting;
  expect(core.unready()).toEqual(["the server is closed"]);
  expect((await faultOf(() => core.peer(call("s/run")))).code).toBe("unavailable");
});

test("a start that failed can be tried again; a second start is refused", async () => {
  const store = new FaultyStore();
  store.mishap = () => diskFull;
  const core = createCore(sample(Promise.resolve()), { store });
  expect((await faultOf(() => core.start())).code).toBe("resource_exhausted");
  expect((await faultOf(() => core.peer(call("s/run")))).code).toBe("unavailable");
  store.mishap = () => undefined;
  await core.start();
  expect(await (await open(core, "s/run", { input: 1 })).result()).toBe(1);
  expect((await faultOf(() => core.start())).code).toBe("failed_precondition");
});

test("a subscriber to a topic that is not served is a mistake that is told at once", async () => {
  const services = service("s", { bad: subscriber(topic({ event: z.string() }), () => {}) });
  expect((await faultOf(() => createCore(services, { store: memoryStore() }))).code).toBe("failed_precondition");
});
