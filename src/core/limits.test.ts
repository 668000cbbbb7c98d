import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { aborted, call, faultOf, latch, open, started, transcript, until } from "../../suites/core/kit.ts";
import { clientStream, serverStream, service, unary } from "../contract/index.ts";
import { memoryStore } from "../server.ts";

function gated(gate: Promise<void>) {
  return service("s", {
    run: unary({ input: z.any(), output: z.any() }, async (input) => {
      if (input === "wait") await gate;
      return input;
    }),
    sum: clientStream({ input: z.any(), output: z.any() }, async (items, { signal }) => {
      for await (const item of items) if (item === "stay") await aborted(signal);
    }),
  });
}

describe("calls at once", () => {
  test("in all: refused with the name of the limit and a time to wait; room comes back, for calls of both kinds", async () => {
    const gate = latch();
    const core = await started(gated(gate.opened), { limits: { callsInFlight: 2 } });
    const kept = await open(core, "s/run", { input: "wait", keep: true });
    const direct = (await open(core, "s/run", { input: "wait", principal: { id: "ann" } })).result();
    for (const keep of [true, false]) {
      const fault = await faultOf(async () => (await open(core, "s/run", { keep, principal: { id: "bob" } })).result());
      expect(fault).toMatchObject({ code: "resource_exhausted", limit: "callsInFlight", retryAfterMs: 1000 });
    }
    gate.open();
    await Promise.all([kept.result(), direct]);
    for (let i = 0; i < 5; i++) {
      expect(await (await open(core, "s/run", { input: i, keep: i % 2 === 0 })).result()).toBe(i);
    }
  });

  test("for one principal; the anonymous are counted by address", async () => {
    const gate = latch();
    const core = await started(gated(gate.opened), { limits: { callsPerPrincipal: 1 } });
    const callers = [
      { principal: { id: "ann" } },
      { principal: { id: "bob" } },
      { address: "192.0.2.1" },
      { address: "192.0.2.2" },
      { principal: { id: "192.0.2.1" } },
    ];
    const waiting = callers.map(async (who) => (await open(core, "s/run", { ...who, input: "wait" })).result());
    for (const who of callers) {
      const fault = await faultOf(async () => (await open(core, "s/run", who)).result());
      expect(fault).toMatchObject({ code: "resource_exhausted", limit: "callsPerPrincipal" });
    }
    gate.open();
    await Promise.all(waiting);
  });

  test("who has heard the end may call again at once", async () => {
    const core = await started(
      service("s", {
        run: unary({ input: z.any(), output: z.any() }, async (input) => input),
        many: serverStream({ input: z.any(), item: z.any() }, function* () {
          yield 1;
        }),
      }),
      { limits: { callsPerPrincipal: 1 } },
    );
    for (let i = 0; i < 50; i++) {
      expect(await (await open(core, "s/run", { input: i, keep: true })).result()).toBe(i);
      expect(await (await open(core, "s/run", { input: i })).result()).toBe(i);
      expect(await transcript(await open(core, "s/many"))).toHaveLength(3);
    }
  });

  test("bad input, a bad key and a refused start take no place", async () => {
    const core = await started(
      service("s", { run: unary({ input: z.number(), output: z.any() }, () => Promise.reject(new Error("no"))) }),
      { limits: { callsInFlight: 1 } },
    );
    const uses = [
      { input: "x" },
      { input: "x", keep: true },
      { input: 1, key: "" },
      { input: 1 },
      { input: 1, keep: true },
    ];
    for (let i = 0; i < 3; i++) {
      for (const use of uses) {
        const fault = await faultOf(async () => (await open(core, "s/run", use)).result());
        expect(fault.code).not.toBe("resource_exhausted");
        await until(() => core.metrics.text().includes('running{method="s/run"} 0'));
      }
    }
  });
});

describe("requests a second", () => {
  test("a burst of one second, then as they come back", async () => {
    let now = 0;
    const core = await started(gated(Promise.resolve()), { limits: { ratePerSecond: 5 }, now: () => now });
    const ask = (id: string) => faultOf(async () => (await open(core, "s/run", { principal: { id } })).result());
    const pass = async (id: string, n: number) => {
      for (let i = 0; i < n; i++) (await open(core, "s/run", { principal: { id } })).result();
    };
    await pass("ann", 5);
    expect(await ask("ann")).toMatchObject({
      code: "resource_exhausted",
      limit: "ratePerSecond",
      retryAfterMs: 200,
    });
    await pass("bob", 5);
    now += 400;
    await pass("ann", 2);
    expect((await ask("ann")).limit).toBe("ratePerSecond");
    now -= 1_000_000;
    expect((await ask("ann")).limit).toBe("ratePerSecond");
  });

  test("less than one a second", async () => {
    let now = 0;
    const core = await started(gated(Promise.resolve()), { limits: { ratePerSecond: 0.5 }, now: () => now });
    core.peer(call("s/run"));
    expect(await faultOf(() => core.peer(call("s/run")))).toMatchObject({ retryAfterMs: 2000 });
    now += 2000;
    core.peer(call("s/run"));
  });
});

describe("stored bytes", () => {
  test("of one principal: refused by name, also after a restart; others go on; room comes back with retention", async () => {
    let now = 1_000_000;
    const clock = { now: () => now };
    const store = memoryStore(clock);
    const options = {
      store,
      ...clock,
      limits: { storedBytesPerPrincipal: 400 },
      retention: { callMs: 1000, everyMs: 1 },
    };
    let core = await started(gated(Promise.resolve()), options);
    const ann = { principal: { id: "ann" }, keep: true };
    await (await open(core, "s/run", { ...ann, input: "ü".repeat(200) })).result();
    for (let i = 0; i < 2; i++) {
      const fault = await faultOf(() => open(core, "s/run", ann));
      expect(fault).toMatchObject({ code: "resource_exhausted", limit: "storedBytesPerPrincipal", retryable: false });
      await (await open(core, "s/run", { ...ann, principal: { id: "bob" } })).result();
      expect(await (await open(core, "s/run", { ...ann, keep: false, input: 1 })).result()).toBe(1);
      await core.close();
      core = await started(gated(Promise.resolve()), options);
    }
    now += 1001;
    await until(async () => (await store.list({ prefix: "calls/", limit: 1 })).logs.length === 0);
    await until(async () => (await open(core, "s/run", ann).catch(() => undefined)) !== undefined);
    await core.close();
  });

  test("the items of the caller count", async () => {
    const core = await started(gated(Promise.resolve()), { limits: { storedBytesPerPrincipal: 500 } });
    const exchange = await open(core, "s/sum");
    await exchange.append({ items: ["x".repeat(600)] });
    expect((await faultOf(() => exchange.append({ items: [1] }))).limit).toBe("storedBytesPerPrincipal");
    await exchange.append({ items: [], end: true });
    expect(await exchange.result()).toBeUndefined();
  });
});
