import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { faultOf, kinds, latch, open, started, transcript, until } from "../../suites/core/kit.ts";
import { bidi, clientStream, type HandlerCall, serverStream, service, unary } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

const any = { input: z.any(), output: z.any() };
const endsOf = (events: readonly { kind: string }[]) =>
  events.filter(({ kind }) => kind === "end" || kind === "fail").length;

function unaryService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: unary({ ...any, progress: z.any(), ...options }, handler as never) });
}

function streamService(handler: (input: never, call: HandlerCall<never>) => unknown, options = {}) {
  return service("s", { run: serverStream({ input: z.any(), item: z.any(), ...options }, handler as never) });
}

describe("sizes", () => {
  const limits = { itemBytes: 100, callBytes: 2000 };

  test("an item, a result and progress that are too large end the call and name the limit", async () => {
    const huge = "ü".repeat(60);
    const cores = [
      await started(
        streamService(() => ["small", huge]),
        { limits },
      ),
      await started(
        unaryService(() => huge),
        { limits },
      ),
      await started(
        unaryService((_, handlerCall) => handlerCall.progress(huge as never)),
        { limits },
      ),
    ];
    for (const core of cores) {
      const exchange = await open(core, "s/run", { keep: true });
      const fault = await faultOf(() => exchange.result());
      expect(fault).toMatchObject({ code: "resource_exhausted", limit: "itemBytes", retryable: false });
      expect(endsOf(await transcript(exchange))).toBe(1);
    }
  });

  test("a log that grows too large ends the call; bytes are those of UTF-8, and of all attempts", async () => {
    const core = await started(
      streamService(function* () {
        for (;;) yield "ü".repeat(40);
      }),
      { limits },
    );
    const exchange = await open(core, "s/run");
    expect((await faultOf(() => exchange.result())).limit).toBe("callBytes");
    const bytes = (await transcript(exchange)).reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);
    expect(bytes).toBeLessThan(2400);
    expect(bytes).toBeGreaterThan(1500);
  });

  test("a fault that is too large, or that JSON cannot say, still ends the call", async () => {
    for (const detail of [{ text: "x".repeat(100_000) }, { n: 1n as unknown as number }]) {
      const core = await started(
        unaryService(() => {
          throw new Fault("aborted", "so it is", { detail });
        }),
        { limits },
      );
      const exchange = await open(core, "s/run", { keep: true });
      await faultOf(() => exchange.result());
      expect(endsOf(await transcript(exchange))).toBe(1);
    }
  });

  test("the items of the caller count, too", async () => {
    const core = await started(
      service("s", {
        run: clientStream(any, async (items) => {
          for await (const _ of items);
        }),
      }),
      { limits },
    );
    const exchange = await open(core, "s/run");
    await exchange.append({ items: Array.from({ length: 20 }, () => "x".repeat(90)) });
    const fault = await faultOf(() => exchange.append({ items: Array.from({ length: 3 }, () => "x".repeat(90)) }));
    expect(fault.limit).toBe("callBytes");
    expect((await faultOf(() => exchange.append({ items: ["x".repeat(99)] }))).limit).toBe("itemBytes");
    await exchange.append({ items: [], end: true });
    expect(await exchange.result()).toBeUndefined();
  });
});

describe("items of the caller", () => {
  test("none comes for too long: the call ends and says so", async () => {
    const core = await started(
      service("s", {
        run: clientStream(any, async (items) => {
          for await (const _ of items);
        }),
      }),
      { retention: { inputIdleMs: 3 } },
    );
    const exchange = await open(core, "s/run");
    expect(await faultOf(() => exchange.result())).toMatchObject({ code: "deadline_exceeded", limit: "inputIdleMs" });
    const fault = await faultOf(async () => {
      await until(async () => (await exchange.state()) as object);
      await exchange.append({ items: [1] });
    });
    expect(fault.code).toBe("failed_precondition");
  });

  test("an idle limit without end is none", async () => {
    const core = await started(
      service("s", {
        run: bidi({ input: z.any(), item: z.any() }, async function* (items) {
          yield* items;
        }),
      }),
      { retention: { inputIdleMs: Number.POSITIVE_INFINITY } },
    );
    const exchange = await open(core, "s/run");
    await exchange.append({ items: ["a"], end: true });
    expect(kinds(await transcript(exchange))).toEqual(["open", "item", "end"]);
  });

  test("a handler that is cancelled gets no more of them", async () => {
    const seen: unknown[] = [];
    const gate = latch();
    let reason: Fault | undefined;
    const core = await started(
      service("s", {
        run: clientStream(any, async (items) => {
          try {
            for await (const item of items) {
              seen.push(item);
              await gate.opened;
            }
          } catch (thrown) {
            reason = thrown as Fault;
          }
        }),
      }),
    );
    const exchange = await open(core, "s/run");
    await exchange.append({ items: [1, 2, 3] });
    await until(() => seen.length === 1);
    await exchange.cancel();
    gate.open();
    await until(() => reason);
    expect(seen).toEqual([1]);
    expect(reason!.code).toBe("cancelled");
  });

  test("a number that is none is refused", async () => {
    const core = await started(service("s", { run: clientStream(any, () => new Promise(() => {})) }));
    const exchange = await open(core, "s/run");
    for (const seq of [-1, 0.5, Number.NaN]) {
      expect((await faultOf(() => exchange.append({ items: [1], seq }))).code).toBe("invalid_argument");
    }
  });
});
