import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { aborted, faultOf, latch, open, started, transcript, until } from "../../suites/core/kit.ts";
import { type Action, type Authorize, clientStream, type Exchange, service, topic, unary } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

const any = { input: z.any(), output: z.any() };
const sample = service("s", {
  run: unary(any, (input, { signal }) => (input === "wait" ? aborted(signal) : "ok")),
  sum: clientStream(any, async (items) => {
    let n = 0;
    for await (const _ of items) n++;
    return n;
  }),
  log: topic({ event: z.string() }),
  secret: topic({ event: z.string(), open: false }),
});
const ann = { principal: { id: "ann" } };

/** A server on which one verb is refused, and the same server when nothing is. */
async function refusing() {
  const refused = new Set<Action["verb"]>();
  const asked: string[] = [];
  const authorize: Authorize = async (principal, { verb, on, name }) => {
    asked.push(`${principal.id} ${verb} ${on} ${on === "call" ? "ID" : name}`);
    return !refused.has(verb);
  };
  return { core: await started(sample, { authorize }), refused, asked };
}

const at = { from: "start", follow: false } as const;
const readOnce = (exchange: Exchange) => exchange.read(at)[Symbol.asyncIterator]().next();

describe("authorize", () => {
  test("each verb is asked for where it is used, and refused alone", async () => {
    const { core, refused, asked } = await refusing();
    const opened = await open(core, "s/sum", ann);
    const attached = await open(core, `calls/${opened.id}`, ann);
    const log = await open(core, "topics/log", ann);
    asked.length = 0;
    const uses: [Action["verb"], string, () => unknown][] = [
      ["call", "method s/run", async () => (await open(core, "s/run", ann)).result()],
      ["call", "method s/run", () => open(core, "s/run", { ...ann, keep: true })],
      ["append", "call ID", () => attached.append({ items: [1] })],
      ["append", "call ID", () => opened.append({ items: [1] })],
      ["read", "call ID", () => attached.state()],
      ["read", "call ID", () => readOnce(attached)],
      ["publish", "topic log", () => log.append({ items: ["a"] })],
      ["read", "topic log", () => log.state()],
      ["read", "topic log", () => readOnce(log)],
      ["cancel", "call ID", () => opened.cancel()],
      ["cancel", "call ID", () => attached.cancel()],
      [
        "read",
        "call ID",
        () => faultOf(() => attached.result()).then((fault) => fault.code === "cancelled" || Promise.reject(fault)),
      ],
    ];
    for (const [verb, on, use] of uses) {
      refused.add(verb);
      const fault = await faultOf(use);
      expect([verb, on, fault.code]).toEqual([verb, on, "permission_denied"]);
      expect(asked.splice(0)).toEqual([`ann ${verb} ${on}`]);
      refused.clear();
      await use();
      expect(asked.splice(0)).toEqual([`ann ${verb} ${on}`]);
    }
  });

  test("who may call hears the answer, also of a recorded call", async () => {
    const { core, refused } = await refusing();
    refused.add("read");
    const exchange = await open(core, "s/run", { ...ann, keep: true });
    expect(await exchange.result()).toBe("ok");
    expect(await transcript(exchange)).toHaveLength(2);
    expect(await exchange.state()).toMatchObject({ state: "done" });
  });

  test("does not make calls of others visible", async () => {
    const core = await started(sample, { authorize: () => true });
    const exchange = await open(core, "s/run", { ...ann, keep: true });
    for (const id of ["bob", "", "ANN"]) {
      const fault = await faultOf(() => open(core, `calls/${exchange.id}`, { principal: { id } }));
      expect(fault.code).toBe("not_found");
    }
    const unknown = await faultOf(() => open(core, `calls/c${"0".repeat(26)}`, ann));
    const foreign = await faultOf(() => open(core, `calls/${exchange.id}`, { principal: { id: "bob" } }));
    expect({ ...foreign.toJSON(), message: "" }).toEqual({ ...unknown.toJSON(), message: "" });
  });

  test("a fault that it throws is the answer; anything else is internal and not shown", async () => {
    for (const [thrown, code] of [
      [new Fault("unavailable", "ask later"), "unavailable"],
      [new Error("password of the directory"), "internal"],
    ] as const) {
      const core = await started(sample, {
        authorize: () => {
          throw thrown;
        },
      });
      const fault = await faultOf(async () => (await open(core, "s/run", ann)).result());
      expect(fault.code).toBe(code);
      expect(JSON.stringify(fault)).not.toContain("password");
    }
  });

  test("an answer that comes after the server began to go opens no call", async () => {
    const gate = latch();
    const core = await started(sample, { authorize: () => gate.opened.then(() => true), drainMs: 0 });
    const opening = faultOf(() => open(core, "s/run", { ...ann, keep: true }));
    await core.drain();
    gate.open();
    expect((await opening).code).toBe("unavailable");
  });
});

describe("a guarded reading", () => {
  test("can be left while it waits, before and after the answer", async () => {
    const gate = latch();
    let isOpen = false;
    const core = await started(sample, {
      authorize: async (_, { verb }) => {
        if (verb === "read" && !isOpen) await gate.opened;
        return true;
      },
    });
    const log = await open(core, "topics/log", ann);
    const early = log.read({ from: "now", follow: true })[Symbol.asyncIterator]();
    const first = early.next();
    await early.return?.();
    isOpen = true;
    gate.open();
    expect(await first).toEqual({ done: true, value: undefined });
    const late = log.read({ from: "now", follow: true })[Symbol.asyncIterator]();
    await late.next();
    const waiting = late.next();
    await late.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
  });
});

test("a topic that is not open takes nothing from clients, and says so by a rejection", async () => {
  const core = await started(sample);
  const secret = await open(core, "topics/secret", ann);
  const publishing = secret.append({ items: ["a"] });
  expect((await faultOf(() => publishing)).code).toBe("permission_denied");
});

test("unknown names have a hint; the server's own methods are not offered", async () => {
  const core = await started(sample);
  expect((await faultOf(() => open(core, "topics/lag"))).hint).toContain("log");
  expect((await faultOf(() => open(core, "s/rum"))).hint).toContain("s/run");
  expect((await faultOf(() => open(core, "nothing/like/it/here"))).hint).not.toContain("backtalk/");
  for (const to of ["", "calls/", "calls/../x", `calls/c${"0".repeat(27)}`, "topics/", "topics/__proto__", "\0"]) {
    expect([to, (await faultOf(() => open(core, to))).code]).toEqual([to, "not_found"]);
  }
  await until(() => true);
});
