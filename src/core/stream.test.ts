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
import { type HandlerCall, serverStream, service, unary } from "../contract/index.ts";

const any = { input: z.any(), output: z.any() };
const endsOf = (events: readonly { kind: string }[]) =>
  events.filter(({ kind }) => kind === "end" || kind === "fail").length;

function unaryService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: unary({ ...any, progress: z.any(), ...options }, handler as never) });
}

function streamService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: serverStream({ input: z.any(), item: z.any(), ...options }, handler as never) });
}

describe("streams back", () => {
  test("from what is iterable without promises, too", async () => {
    const core = await started(streamService(() => [1, 2, 3]));
    const events = await transcript(await open(core, "s/run"));
    expect(events.filter(({ kind }) => kind === "item").map(({ json }) => json)).toEqual(["1", "2", "3"]);
  });

  test("what is not iterable is a defect of the handler", async () => {
    const core = await started(streamService(() => 7));
    const exchange = await open(core, "s/run");
    expect((await faultOf(() => exchange.result())).code).toBe("internal");
  });

  test("cancel closes the generator", async () => {
    let isClosed = false;
    const core = await started(
      streamService(async function* (_, { signal }) {
        try {
          for (let i = 0; ; i++) {
            yield i;
            await Promise.race([new Promise((resolve) => setTimeout(resolve, 1)), aborted(signal)]).catch(() => {});
          }
        } finally {
          isClosed = true;
        }
      }),
    );
    const exchange = await open(core, "s/run");
    await until(async () => (await eventsOf(exchange.read({ from: "start", follow: false }))).length > 3);
    await exchange.cancel();
    await until(() => isClosed);
    expect(endsOf(await transcript(exchange))).toBe(1);
  });

  test("a generator that never finishes its `finally` does not keep the call open", async () => {
    const core = await started(
      streamService(
        async function* () {
          try {
            yield "good";
            yield 7;
          } finally {
            await new Promise(() => {});
          }
        },
        { item: z.string() },
      ),
    );
    const exchange = await open(core, "s/run");
    expect((await faultOf(() => exchange.result())).code).toBe("internal");
    expect(kinds(await transcript(exchange))).toEqual(["open", "item", "fail"]);
  });

  test("an endless generator that never waits is stopped by its deadline: others have their turn", async () => {
    const core = await started(
      streamService(
        function* () {
          for (let i = 0; ; i++) yield i;
        },
        { deadlineMs: 5 },
      ),
    );
    const exchange = await open(core, "s/run");
    expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
  });

  test("a handler that is faster than the store waits for it", async () => {
    const store = new FaultyStore();
    let said = 0;
    const core = await started(
      streamService(function* () {
        for (; said < 5000; said++) yield said;
      }),
      { store },
    );
    const slow = latch();
    const exchange = await open(core, "s/run");
    store.slow = slow.opened;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(said).toBeLessThan(1000);
    slow.open();
    expect(await transcript(exchange)).toHaveLength(5002);
  });
});

describe("progress", () => {
  test("a flood is thinned before the disk, and the newest is kept", async () => {
    const core = await started(
      unaryService((_, handlerCall) => {
        for (let i = 1; i <= 100_000; i++) handlerCall.progress({ i, pad: "x".repeat(100) } as never);
        return "ok";
      }),
      { limits: { callBytes: 100_000 } },
    );
    const exchange = await open(core, "s/run", { keep: true });
    expect(await exchange.result()).toBe("ok");
    const state = await exchange.state();
    expect(state).toMatchObject({ state: "done", progress: { i: 100_000 } });
    expect((await transcript(exchange)).length).toBeLessThan(500);
  });

  test("bad progress is told to the handler; after the end nobody is told anything", async () => {
    let late: (() => void) | undefined;
    const core = await started(
      unaryService(
        (_, handlerCall) => {
          late = () => handlerCall.progress(2 as never);
          handlerCall.progress(1 as never);
          handlerCall.progress("one" as never);
        },
        { progress: z.number() },
      ),
    );
    const exchange = await open(core, "s/run", { keep: true });
    expect((await faultOf(() => exchange.result())).code).toBe("internal");
    late!();
    expect(kinds(await transcript(exchange))).toEqual(["open", "progress", "fail"]);
  });

  test("with an asynchronous schema", async () => {
    const good = z.any().refine(async (value) => value !== "bad");
    const core = await started(
      unaryService(
        async (input, handlerCall) => {
          handlerCall.progress(input);
          await (input === "bad" ? aborted(handlerCall.signal) : new Promise((resolve) => setTimeout(resolve, 2)));
        },
        { progress: good },
      ),
    );
    const exchange = await open(core, "s/run", { keep: true, input: "good" });
    await exchange.result();
    expect(await exchange.state()).toMatchObject({ progress: "good" });
    const bad = await open(core, "s/run", { keep: true, input: "bad" });
    expect((await faultOf(() => bad.result())).code).toBe("internal");
  });
});
