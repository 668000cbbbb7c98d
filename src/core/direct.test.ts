import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { aborted, call, countListeners, faultOf, latch, open, started, until } from "../../suites/core/kit.ts";
import { type HandlerCall, service, unary } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import type { CallLine } from "./options.ts";

const any = { input: z.any(), output: z.any() };
const slowSchema = z.any().refine(async () => true);

function serving(handler: (input: never, call: HandlerCall) => unknown, options = {}) {
  return service("s", { run: unary({ ...any, ...options }, handler as never) });
}

describe("leaves nothing behind", () => {
  test("1,000 calls that look at their signal, ended or aborted, leave no listener", async () => {
    const listeners = countListeners();
    try {
      const core = await started(
        serving(async ({ wait }: { wait: boolean }, { signal }) => (wait ? aborted(signal) : signal.aborted)),
      );
      const caller = new AbortController();
      const before = listeners.count();
      for (let i = 0; i < 500; i++) {
        const done = await open(core, "s/run", { input: { wait: false }, signal: caller.signal });
        expect(await done.result()).toBe(false);
        const cut = new AbortController();
        const gone = await open(core, "s/run", { input: { wait: true }, signal: cut.signal });
        const fault = faultOf(() => gone.result());
        cut.abort();
        expect((await fault).code).toBe("cancelled");
      }
      expect(listeners.count()).toBe(before);
      await core.close();
    } finally {
      listeners.stop();
    }
  });

  test("a handler that asks for its signal after the deadline gets it aborted, and hooks nothing", async () => {
    const listeners = countListeners();
    try {
      const late = latch();
      let seen: AbortSignal | undefined;
      const core = await started(
        serving(async (_, handlerCall) => {
          await late.opened;
          seen = handlerCall.signal;
        }),
      );
      const before = listeners.count();
      const caller = new AbortController();
      const exchange = await open(core, "s/run", { deadline: Date.now() + 2, signal: caller.signal });
      expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
      late.open();
      await until(() => seen);
      expect(seen!.aborted).toBe(true);
      expect((seen!.reason as Fault).code).toBe("deadline_exceeded");
      expect(listeners.count()).toBe(before);
    } finally {
      listeners.stop();
    }
  });
});

describe("deadlines", () => {
  test("the method's, when the caller has none or a later one", async () => {
    const core = await started(serving((_, { signal }) => aborted(signal), { deadlineMs: 3 }));
    for (const rest of [{}, { deadline: Date.now() + 60_000 }]) {
      const exchange = await open(core, "s/run", rest);
      expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
    }
  });

  test("one that is months away is not now", async () => {
    const core = await started(serving(async () => "ok"));
    for (const ms of [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY]) {
      const exchange = await open(core, "s/run", { deadline: Date.now() + ms });
      expect(await exchange.result()).toBe("ok");
    }
  });

  test("the handler sees one deadline, however late it looks", async () => {
    let now = 1000;
    const core = await started(
      serving(
        async (_, handlerCall) => {
          const first = handlerCall.deadline;
          now += 500;
          return [first, handlerCall.deadline];
        },
        { deadlineMs: 60_000 },
      ),
      { now: () => now },
    );
    expect(await (await open(core, "s/run")).result()).toEqual([61_000, 61_000]);
  });

  test("a handler that ignores its signal keeps its place until it has ended, so that limits hold", async () => {
    const late = latch();
    const core = await started(
      serving(() => late.opened),
      { limits: { callsInFlight: 1 } },
    );
    const exchange = await open(core, "s/run", { deadline: Date.now() + 2 });
    expect((await faultOf(() => exchange.result())).code).toBe("deadline_exceeded");
    const next = await open(core, "s/run");
    expect((await faultOf(() => next.result())).limit).toBe("callsInFlight");
    late.open();
    await until(
      async () => !(await open(core, "s/run").then((each) => faultOf(() => each.result()).catch(() => null))),
    );
  });
});

describe("the caller goes", () => {
  const run = async (options: object) => {
    const late = latch();
    let code = "";
    const core = await started(
      serving(async (_, { signal }) => {
        await Promise.race([late.opened, aborted(signal)]).catch((fault: Fault) => {
          code = fault.code;
          throw fault;
        });
        return "done";
      }, options),
    );
    const caller = new AbortController();
    const result = (async () => (await open(core, "s/run", { signal: caller.signal })).result())();
    result.catch(() => {});
    await until(() => core.metrics.text().includes('running{method="s/run"} 1'));
    caller.abort();
    late.open();
    return { result, code: () => code };
  };

  test("by default the call is cancelled", async () => {
    const { result, code } = await run({});
    expect((await faultOf(() => result)).code).toBe("cancelled");
    expect(code()).toBe("cancelled");
  });

  test("with detach it goes on", async () => {
    const { result, code } = await run({ onDisconnect: "detach" });
    expect(await result).toBe("done");
    expect(code()).toBe("");
  });

  test("before a handler that does not wait: its call is counted once", async () => {
    const core = await started(serving((_, { signal }) => signal.aborted));
    const exchange = await open(core, "s/run", { signal: AbortSignal.abort() });
    expect((await faultOf(() => exchange.result())).code).toBe("cancelled");
    const text = core.metrics.text();
    expect(text).toContain('backtalk_calls_total{method="s/run",transport="memory",code="cancelled"} 1');
    expect(text).not.toContain('code="ok"');
    expect(text).toContain('backtalk_calls_running{method="s/run"} 0');
  });
});

describe("cancel", () => {
  test("ends a call whose handler ignores its signal, and tells one that looks later", async () => {
    const late = latch();
    let isAborted: boolean | undefined;
    const core = await started(
      serving(async (_, handlerCall) => {
        await late.opened;
        isAborted = handlerCall.signal.aborted;
      }),
    );
    const exchange = await open(core, "s/run");
    const fault = faultOf(() => exchange.result());
    await exchange.cancel();
    expect((await fault).code).toBe("cancelled");
    late.open();
    await until(() => isAborted !== undefined);
    expect(isAborted).toBe(true);
  });

  test("before the result is asked for: the handler never runs", async () => {
    let ran = 0;
    const core = await started(serving(() => ++ran));
    const exchange = await open(core, "s/run");
    await exchange.cancel();
    expect((await faultOf(() => exchange.result())).code).toBe("cancelled");
    expect(ran).toBe(0);
  });
});

test("one that runs when the server closes fails with unavailable", async () => {
  const core = await started(serving((_, { signal }) => aborted(signal)));
  const exchange = await open(core, "s/run");
  const fault = faultOf(() => exchange.result());
  await core.close();
  expect((await fault).code).toBe("unavailable");
  expect((await faultOf(() => core.peer(call("s/run")))).code).toBe("unavailable");
});

test("an abort that a library turns into an error of its own is not called a defect", async () => {
  const core = await started(serving((_, { signal }) => aborted(signal).catch(() => Promise.reject(new Error("lib")))));
  const caller = new AbortController();
  const exchange = await open(core, "s/run", { signal: caller.signal });
  const fault = faultOf(() => exchange.result());
  caller.abort();
  expect((await fault).code).toBe("cancelled");
});

test("asynchronous schemas, on both sides", async () => {
  const core = await started(serving((input) => input, { input: slowSchema, output: slowSchema }));
  expect(await (await open(core, "s/run", { input: 7 })).result()).toBe(7);
});

test("a logger that throws changes nothing", async () => {
  const logger = {
    calls: "all" as const,
    call(): void {
      throw new Error("no disk");
    },
    note() {},
  };
  const core = await started(
    serving(() => "ok"),
    { logger, limits: { callsInFlight: 1 } },
  );
  for (let i = 0; i < 3; i++) expect((await open(core, "s/run")).result()).toBe("ok");
  expect(await (await open(core, "s/run", { keep: true })).result()).toBe("ok");
});

test("a line in the log for a call: code, time and cause, no payload", async () => {
  const lines: CallLine[] = [];
  const logger = { calls: "all" as const, call: (line: CallLine) => void lines.push(line), note() {} };
  const core = await started(
    serving(() => {
      throw new Error("why");
    }),
    { logger },
  );
  await faultOf(async () =>
    (await open(core, "s/run", { input: "pass phrase", principal: { id: "ann", claims: { pin: "zebra" } } })).result(),
  );
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ method: "s/run", code: "internal", principal: "ann", error: new Error("why") });
  expect(JSON.stringify(lines)).not.toMatch(/pass phrase|zebra/);
});

test("what it cannot do is failed_precondition", async () => {
  const core = await started(serving(() => "ok"));
  const exchange = await open(core, "s/run");
  const uses = [
    () => exchange.state(),
    () => exchange.append({ items: [] }),
    () => exchange.read({ from: "start", follow: false })[Symbol.asyncIterator]().next(),
  ];
  for (const use of uses) expect((await faultOf(use)).code).toBe("failed_precondition");
  expect(exchange.result()).toBe("ok");
  expect(await faultOf(() => exchange.result())).toBeInstanceOf(Fault);
});
