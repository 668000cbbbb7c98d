/** One in, one out: values, faults, keys. */
import { expect } from "bun:test";
import { CODES, Fault } from "../../src/log/index.ts";
import type { Case } from "./case.ts";
import { faultOf, kinds, open, page, read, state, until } from "./world.ts";

export const unaryCases: readonly Case[] = [
  {
    name: "unary: gives its result, and is not recorded",
    async run(world) {
      const exchange = await world.open("t/double", { input: { n: 21 } });
      expect(await exchange.result()).toEqual({ n: 42 });
      expect(exchange.id).toBeUndefined();
      expect(exchange.replayed).toBe(false);
      expect((await world.store.list({ prefix: "calls/", limit: 9 })).logs).toEqual([]);
    },
  },
  {
    name: "unary: every JSON value comes back as it was sent",
    async run(world) {
      const text = 'grüße, 世界, 👩‍🚀, \u2028\u2029, \u0000\u001f, "\\/", \ud800';
      for (const value of [
        null,
        false,
        0,
        "",
        [],
        {},
        -1.5e-7,
        text,
        { [text]: [text, { deep: [[[1]]] }] },
        "x\r\n\r\ny",
      ]) {
        expect(await world.result("t/echo", value)).toEqual(value as never);
        expect(await world.result("t/echo", value, { keep: true })).toEqual(value as never);
      }
    },
  },
  {
    name: "unary: input that is absent is an empty object",
    async run(world) {
      expect(await world.result("t/nothing")).toEqual({ ok: true });
      expect(await world.result("t/nothing", undefined, { keep: true })).toEqual({ ok: true });
    },
  },
  {
    name: "unary: __proto__ and constructor are names like others",
    async run(world) {
      const input = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}') as unknown;
      const output = await world.result("t/echo", input);
      expect(JSON.stringify(output)).toBe(JSON.stringify(input));
      expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    },
  },
  {
    name: "unary: a large input and result",
    async run(world) {
      const value = { text: "äx".repeat(1_000_000) };
      expect(await world.result("t/echo", value)).toEqual(value);
      expect(await world.result("t/echo", value, { keep: true })).toEqual(value);
    },
  },
  {
    name: "unary: many at once get each their own result",
    async run(world) {
      const numbers = Array.from({ length: 100 }, (_, n) => n);
      const results = await Promise.all(numbers.map((n) => world.result("t/double", { n }, { keep: n % 10 === 0 })));
      expect(results).toEqual(numbers.map((n) => ({ n: 2 * n })));
    },
  },
  {
    name: "unary: a safe method is called like any other",
    async run(world) {
      for (const n of [1, 1, 2]) expect(await world.result("t/double", { n })).toEqual({ n: 2 * n });
    },
  },
  {
    name: "unary: the trace goes on with the caller's trace id",
    async run(world) {
      const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
      const got = (await world.result("t/trace", {}, { trace })) as { traceparent: string };
      expect(got.traceparent.split("-")[1]).toBe("0af7651916cd43dd8448eb211c80319c");
    },
  },
  {
    name: "fault: each code and all that belongs to it survives",
    async run(world) {
      for (const code of CODES) {
        const sent = {
          code,
          message: `it is ${code}, sagt er: „ja“`,
          retryable: code === "internal",
          hint: "do something else",
          retryAfterMs: 2500,
          fields: [{ path: "list[2].name", message: "is no name" }],
          limit: "someLimit",
          detail: { next: 7, what: "text", yes: true },
        };
        const direct = await faultOf(() => world.result("t/fails", sent), code);
        expect(direct).toBeInstanceOf(Fault);
        expect(direct.toJSON()).toEqual(sent);
        const kept = await world.open("t/fails", { input: sent, keep: true });
        expect((await faultOf(() => kept.result(), code)).toJSON()).toEqual(sent);
      }
    },
  },
  {
    name: "fault: what a fault does not say is not made up",
    async run(world) {
      const fault = await faultOf(() => world.result("t/fails", { code: "not_found", message: "gone" }), "not_found");
      expect(fault.toJSON()).toEqual({ code: "not_found", message: "gone", retryable: false });
    },
  },
  {
    name: "fault: bad input names each bad field, recorded or not",
    async run(world) {
      const input = { list: [{ name: "a" }, { name: 1 }, {}], size: 1.5 };
      for (const rest of [{}, { keep: true }, { key: "k" }]) {
        const fault = await faultOf(() => world.result("t/nested", input, rest), "invalid_argument");
        expect(fault.fields?.map(({ path }) => path)).toEqual(["list[1].name", "list[2].name", "size"]);
        expect(fault.retryable).toBe(false);
        expect(fault.hint).toBeString();
      }
      expect((await world.store.list({ prefix: "calls/", limit: 9 })).logs).toEqual([]);
    },
  },
  {
    name: "fault: a defect of the handler is internal and tells no secret",
    async run(world) {
      for (const method of ["t/defect", "t/badOutput"]) {
        for (const rest of [{}, { keep: true }]) {
          const fault = await faultOf(() => world.result(method, {}, rest), "internal");
          expect(JSON.stringify(fault)).not.toContain("secret");
        }
      }
    },
  },
  {
    name: "fault: an unknown method, call or topic is not_found",
    async run(world) {
      const fault = await faultOf(() => world.result("t/duoble", {}), "not_found");
      expect(fault.hint).toContain("t/double");
      for (const to of ["calls/c00000000000000000000000000", "calls/nothing", "calls/c%2e%2e", "topics/none"]) {
        await faultOf(async () => page(await world.open(to)), "not_found");
      }
      await faultOf(async () => state(await world.open("calls/nothing")), "not_found");
      await faultOf(async () => (await world.open("topics/none")).append({ items: [{}] }), "not_found");
    },
  },
  {
    name: "deadline: a call that is not recorded fails with it, and its handler is told",
    async run(world) {
      const deadline = Date.now() + 60;
      await faultOf(() => world.result("t/gate", { source: "d" }, { deadline }), "deadline_exceeded");
      await until(() => world.control.aborted("d") !== undefined || world.control.started("d") === 0);
    },
  },
  {
    name: "deadline: a recorded call ends with it",
    async run(world) {
      const input = { source: "d" };
      const exchange = await world.open("t/gate", { input, keep: true, deadline: Date.now() + 300 });
      await faultOf(() => exchange.result(), "deadline_exceeded");
      expect(await state(exchange)).toMatchObject({ state: "failed", fault: { code: "deadline_exceeded" } });
      expect(world.control.aborted("d")).toMatchObject({ code: "deadline_exceeded" });
    },
  },
  {
    name: "key: the same call is attached to while it runs, and replayed after",
    async run(world) {
      const input = { source: "k" };
      const first = await world.open("t/gate", { input, key: "k1" });
      const results = [first.result()];
      await until(() => world.control.started("k") === 1, "the handler");
      const second = await open(world.peer(), "t/gate", { input, key: "k1" });
      results.push(second.result());
      world.control.source("k").push({ done: true });
      expect(await Promise.all(results)).toEqual([{ done: true }, { done: true }]);
      const third = await open(world.peer(), "t/gate", { input, key: "k1" });
      expect(await third.result()).toEqual({ done: true });
      expect([first.replayed, third.replayed]).toEqual([false, true]);
      expect(third.id).toBe(first.id);
      expect(world.control.started("k")).toBe(1);
    },
  },
  {
    name: "key: the same request many times before the first answer is stored is one call",
    async run(world) {
      const input = { source: "k" };
      const peers = [world.peer(), world.peer(), world.peer()];
      const all = Array.from({ length: 30 }, (_, i) =>
        open(peers[i % 3]!, "t/gate", { input, key: "k1" }).then(async (exchange) => ({
          result: await exchange.result(),
          id: exchange.id,
        })),
      );
      await until(() => world.control.started("k") > 0, "the handler");
      world.control.source("k").push("done");
      const ids = new Set<string | undefined>();
      for (const { result, id } of await Promise.all(all)) {
        expect(result).toBe("done");
        ids.add(id);
      }
      expect(ids.size).toBe(1);
      expect(world.control.started("k")).toBe(1);
    },
  },
  {
    name: "key: with another input it is refused, with the members in another order it is the same",
    async run(world) {
      expect(await world.result("t/echo", { a: 1, b: [2] }, { key: "k" })).toEqual({ a: 1, b: [2] });
      expect(await world.result("t/echo", { b: [2], a: 1 }, { key: "k" })).toEqual({ a: 1, b: [2] });
      const fault = await faultOf(() => world.result("t/echo", { a: 2 }, { key: "k" }), "invalid_argument");
      expect(fault.detail).toMatchObject({ key: "reused" });
    },
  },
  {
    name: "key: a failed call is replayed too",
    async run(world) {
      const input = { code: "aborted", message: "no" };
      const first = await faultOf(() => world.result("t/fails", input, { key: "k" }), "aborted");
      const again = await faultOf(() => world.result("t/fails", input, { key: "k" }), "aborted");
      expect(again.toJSON()).toEqual(first.toJSON());
    },
  },
  {
    name: "key: belongs to one caller and one method",
    options: { users: true },
    async run(world) {
      const result = async (user: string, method: string) =>
        (await open(world.peer(user), method, { input: {}, key: "same" })).result();
      expect(await result("ann", "t/me")).toBe("ann");
      expect(await result("bob", "t/me")).toBe("bob");
      expect(await result("ann", "t/echo")).toEqual({});
    },
  },
  {
    name: "handle: a kept call has an id, a state, and is found by another client",
    async run(world) {
      const exchange = await world.open("t/gate", { input: { source: "h" }, keep: true });
      expect(exchange.id).toMatch(/^c[0-9a-z]{26}$/);
      expect(await state(exchange)).toMatchObject({ id: exchange.id, method: "t/gate", state: "running", attempt: 1 });
      world.control.source("h").push({ progress: 0.5 });
      const other = await open(world.peer(), `calls/${exchange.id}`);
      await until(async () => (await state(other)).progress === 0.5, "the progress");
      world.control.source("h").push("done");
      expect(await other.result()).toBe("done");
      const ended = await state(other);
      expect(ended).toMatchObject({ state: "done", result: "done", progress: 0.5 });
      expect(ended.expiresAt).toBeGreaterThan(ended.endedAt!);
      const { events } = await read(other);
      expect(kinds(events)).toEqual(["open", "progress", "end"]);
      expect(events.at(-1)!.cursor).toBe(ended.cursor);
    },
  },
  {
    name: "handle: a held state comes when something is new, and when the call ends",
    async run(world) {
      const { exchange, source } = await world.stream("h", "t/gate");
      await until(() => world.control.started("h") === 1, "the handler");
      const { cursor } = await state(exchange);
      const held = state(exchange, { after: cursor, waitMs: 30_000 });
      source.push({ progress: 1 });
      expect(await held).toMatchObject({ state: "running", progress: 1 });
      const end = state(exchange, { waitMs: 30_000 });
      source.push({ progress: 2 }, "done");
      expect(await end).toMatchObject({ state: "done", result: "done" });
    },
  },
  {
    name: "handle: a held state comes back after its time",
    async run(world) {
      const { exchange } = await world.stream("h", "t/gate");
      const { cursor } = await state(exchange);
      expect(await state(exchange, { after: cursor, waitMs: 30 })).toMatchObject({ state: "running" });
    },
  },
  {
    name: "calls: lists the caller's own, newest first, by state and page",
    options: { users: true },
    async run(world) {
      const ann = world.peer("ann");
      const ids: (string | undefined)[] = [];
      for (let n = 0; n < 5; n++) ids.unshift((await open(ann, "t/echo", { input: n, keep: true })).id);
      const running = await open(ann, "t/gate", { input: { source: "r" }, keep: true });
      type List = { calls: { id: string }[]; next?: string };
      const list = async (user: string, input: object) =>
        (await (await open(world.peer(user), "backtalk/calls", { input })).result()) as List;
      await until(async () => (await list("ann", { state: "done" })).calls.length === 5, "five ended calls");
      const first = await list("ann", { limit: 4 });
      const second = await list("ann", { limit: 4, after: first.next });
      expect([...first.calls, ...second.calls].map(({ id }) => id)).toEqual([running.id!, ...(ids as string[])]);
      expect(second.next).toBeUndefined();
      expect((await list("ann", { state: "running" })).calls.map(({ id }) => id)).toEqual([running.id!]);
      expect(await list("bob", {})).toEqual({ calls: [] });
    },
  },
];
