import { describe, expect, test } from "bun:test";
import { z } from "zod";
import {
  aborted,
  call,
  countListeners,
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
import { type HandlerCall, serverStream, service, unary } from "../contract/index.ts";
import { createCore } from "../server.ts";

const any = { input: z.any(), output: z.any() };

function unaryService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: unary({ ...any, progress: z.any(), ...options }, handler as never) });
}

function streamService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: serverStream({ input: z.any(), item: z.any(), ...options }, handler as never) });
}

describe("the caller goes", () => {
  test("a recorded call goes on by default", async () => {
    const late = latch();
    const core = await started(unaryService(() => late.opened.then(() => "done")));
    const caller = new AbortController();
    const exchange = await open(core, "s/run", { keep: true, signal: caller.signal });
    caller.abort();
    late.open();
    expect(await exchange.result()).toBe("done");
  });

  test("with cancel it ends, once, also when the caller had gone before it began", async () => {
    let ran = 0;
    const core = await started(unaryService((_, { signal }) => ++ran && aborted(signal), { onDisconnect: "cancel" }));
    const caller = new AbortController();
    const exchange = await open(core, "s/run", { keep: true, signal: caller.signal });
    caller.abort();
    expect((await faultOf(() => exchange.result())).code).toBe("cancelled");
    expect(kinds(await transcript(exchange))).toEqual(["open", "fail"]);
    const gone = await open(core, "s/run", { keep: true, signal: caller.signal });
    expect(await gone.state({ waitMs: 1000 })).toMatchObject({ state: "cancelled" });
    expect(ran).toBe(1);
  });

  test("1,000 calls, waited for with a signal, leave no listener and no run", async () => {
    const listeners = countListeners();
    try {
      const core = await started(
        unaryService((input, { signal }) => (input === "wait" ? aborted(signal) : "ok"), { onDisconnect: "cancel" }),
      );
      const signal = new AbortController().signal;
      const before = listeners.count();
      for (let i = 0; i < 500; i++) {
        const exchange = await open(core, "s/run", { keep: true, signal });
        expect(await exchange.result(signal)).toBe("ok");
        const cut = new AbortController();
        const gone = await open(core, "s/run", { keep: true, input: "wait", signal: cut.signal });
        const fault = faultOf(() => gone.result(signal));
        cut.abort();
        expect((await fault).code).toBe("cancelled");
      }
      expect(listeners.count()).toBe(before);
      expect(core.metrics.text()).toContain('backtalk_calls_running{method="s/run"} 0');
    } finally {
      listeners.stop();
    }
  });

  test("who stops waiting hears so at once, and the call goes on", async () => {
    const late = latch();
    const core = await started(unaryService(() => late.opened.then(() => "done")));
    const exchange = await open(core, "s/run", { keep: true });
    const cut = new AbortController();
    const waiting = faultOf(() => exchange.result(cut.signal));
    cut.abort();
    expect(await waiting).toMatchObject({ code: "cancelled", retryable: true });
    late.open();
    expect(await exchange.result()).toBe("done");
  });
});

describe("deadlines", () => {
  test("a handler that ignores its signal does not keep the call open, but keeps its place", async () => {
    const late = latch();
    const core = await started(
      unaryService(() => late.opened, { deadlineMs: 3 }),
      { limits: { callsPerPrincipal: 1 } },
    );
    const exchange = await open(core, "s/run", { keep: true });
    expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
    expect(await exchange.state()).toMatchObject({ state: "failed", fault: { code: "deadline_exceeded" } });
    expect((await faultOf(() => open(core, "s/run", { keep: true }))).limit).toBe("callsPerPrincipal");
    late.open();
    await until(async () => {
      const next = await open(core, "s/run", { keep: true }).catch(() => undefined);
      return next !== undefined;
    });
  });

  test("the caller's, the sooner of two, and never one that is months away", async () => {
    const core = await started(unaryService((input, { signal }) => (input ? "ok" : aborted(signal))));
    const soon = await open(core, "s/run", { keep: true, deadline: Date.now() + 3 });
    expect((await faultOf(() => soon.result())).code).toBe("deadline_exceeded");
    const far = await open(core, "s/run", { keep: true, input: 1, deadline: Date.now() + 2 ** 40 });
    expect(await far.result()).toBe("ok");
  });
});

test("recorded: never keeps a stream in memory only; it can be resumed while the process lives", async () => {
  const store = new FaultyStore();
  store.mishap = (log) => {
    throw new Error(`not to be written: ${log}`);
  };
  const core = await started(
    streamService(() => ["a", "b"], { recorded: "never" }),
    { store },
  );
  const exchange = await open(core, "s/run", { key: "k" });
  expect(exchange.id).toMatch(/^v/);
  expect(kinds(await transcript(exchange))).toEqual(["open", "item", "item", "end"]);
  const [, first] = await transcript(exchange);
  const again = await open(core, `calls/${exchange.id}`);
  const rest = await eventsOf(again.read({ from: first!.cursor, follow: true }));
  expect(rest.map(({ json }) => json)).toEqual(['"b"', "{}"]);
  expect((await open(core, "s/run", { key: "k" })).replayed).toBe(true);
});

test("the result is heard when the end comes between looking and reading", async () => {
  const store = new FaultyStore();
  const late = latch();
  const core = await started(
    unaryService(() => late.opened.then(() => "done")),
    { store },
  );
  const exchange = await open(core, "s/run", { keep: true });
  // Another process on the same store: it has no run to wait for.
  const { list } = store;
  const elsewhere = createCore(
    unaryService(() => "no"),
    { store },
  );
  const attached = await elsewhere.peer(call(`calls/${exchange.id}`));
  store.list = async (query) => {
    // Once: the result looks at the list itself, and the server's own clearing up comes 30 s later.
    store.list = list;
    const page = await list(query);
    late.open();
    await exchange.result();
    return page;
  };
  expect(await attached.result()).toBe("done");
});
