/** Deliveries by a whole server: what is told, when it is tried again, and what survives. */
import { afterEach, describe, expect, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { memoryStore } from "../stores/memory/store.ts";
import { HandClock, type Options, Receiver, SECRET, serving, until } from "./testing.ts";

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

function receiver(): Receiver {
  const made = new Receiver();
  stops.push(() => made.stop());
  return made;
}

async function serve(options: Options) {
  const served = await serving(options);
  stops.push(() => served.running.stop());
  return served;
}

describe("what is told", () => {
  test("the ends of recorded calls and the events of topics, signed, each once", async () => {
    const hook = receiver();
    const { call, publish, message, metric } = await serve({
      endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }],
    });
    const done = await call("double", { n: 21 });
    const failed = await call("fail", {});
    const cursor = await publish("ticks", 7);
    await publish("other", 8);
    await until(() => hook.got.length >= 3);
    const of = (id: string) => hook.got.find((got) => got.id === id)!;
    expect(of(await message(done)).json).toMatchObject({
      type: "call.done",
      data: { id: done, method: "demo/double", state: "done", result: { n: 42 } },
    });
    expect(of(await message(failed)).json).toMatchObject({
      type: "call.failed",
      data: { method: "demo/fail", fault: { code: "failed_precondition", message: "not today" } },
    });
    expect(of(`msg_ticks_${cursor}`).json).toMatchObject({
      type: "topic.ticks",
      data: { topic: "ticks", cursor, event: { n: 7 } },
    });
    for (const { body, headers, json } of hook.got) {
      // By the time of the attempt, which is now.
      expect(new Webhook(SECRET).verify(body, headers)).toEqual(json);
      expect(Number.isNaN(Date.parse(json.timestamp))).toBe(false);
      expect(headers["webhook-id"]).not.toContain(".");
    }
    await until(() => metric('backtalk_webhooks_attempts_total{endpoint="a",result="delivered"}') === 3);
    expect(hook.got).toHaveLength(3);
  });

  test("a call that is cancelled, and none that is not recorded", async () => {
    const hook = receiver();
    const { url, call, message } = await serve({ endpoints: [{ name: "a", url: hook.url }] });
    await fetch(`${url}/demo/double`, { method: "POST", body: '{"n":1}' });
    const id = await call("double", { n: 2 });
    await until(() => hook.got.length > 0);
    expect(hook.ids).toEqual([await message(id)]);
  });

  test("only what an endpoint wants", async () => {
    const [types, methods, none] = [receiver(), receiver(), receiver()];
    const { call, message, publish } = await serve({
      endpoints: [
        { name: "types", url: types.url, types: ["call.failed"], topics: ["ticks"] },
        { name: "methods", url: methods.url, methods: ["demo/d*"] },
        { name: "none", url: none.url, methods: [], topics: ["other"] },
      ],
    });
    const done = await call("double", { n: 1 });
    const failed = await call("fail", {});
    await publish("ticks", 1);
    const cursor = await publish("other", 1);
    await until(() => types.got.length > 0 && methods.got.length > 0 && none.got.length > 0);
    expect([types.ids, methods.ids, none.ids]).toEqual([
      [await message(failed)],
      [await message(done)],
      [`msg_other_${cursor}`],
    ]);
  });

  test("limit webhookBytes: a result that is too large is left out", async () => {
    const hook = receiver();
    const { call } = await serve({ endpoints: [{ name: "a", url: hook.url }], limits: { webhookBytes: 1000 } });
    await call("text", { chars: 5000 });
    await until(() => hook.got.length > 0);
    expect(hook.got[0]!.json.data).toMatchObject({ state: "done", omitted: ["result"] });
    expect(hook.got[0]!.body.length).toBeLessThan(1000);
  });

  test("a new endpoint hears of what comes, and of what was there when it wants", async () => {
    const store = memoryStore();
    const first = await serve({ store, endpoints: [{ name: "old", url: receiver().url }] });
    await first.publish("ticks", 1);
    await first.running.core.close();
    const [late, early] = [receiver(), receiver()];
    const second = await serve({
      store,
      endpoints: [
        { name: "late", url: late.url, topics: ["ticks"] },
        { name: "early", url: early.url, topics: ["ticks"], from: "start" },
      ],
    });
    await second.publish("ticks", 2);
    await until(() => late.got.length >= 1 && early.got.length >= 2);
    expect(late.got.map(({ json }) => json.data["event"])).toEqual([{ n: 2 }]);
    expect(early.got.map(({ json }) => json.data["event"])).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test("wants topics that are there", async () => {
    expect(serving({ endpoints: [{ name: "a", url: "https://a.example/", topics: ["tocks"] }] })).rejects.toThrow(
      "tocks",
    );
  });
});

describe("what fails", () => {
  test("is tried by the schedule with the same id and a new signature, and then given up and kept", async () => {
    const hook = receiver();
    hook.answer = () => new Response("no", { status: 500 });
    const clock = new HandClock();
    const { call, message, operator, metric } = await serve({ endpoints: [{ name: "a", url: hook.url }], clock });
    const id = await message(await call("double", { n: 1 }));
    await until(() => hook.got.length === 1);
    const delays = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (const [index, seconds] of delays.entries()) {
      await until(async () => (await letter(operator, "waiting"))?.["attempt"] === index + 1);
      clock.pass(seconds * 1000 - 1);
      await Bun.sleep(5);
      expect(hook.got).toHaveLength(index + 1);
      // A tenth more at most.
      clock.pass(seconds * 100 + 2);
      await until(() => hook.got.length === index + 2, `attempt ${index + 2}`);
    }
    await until(() => metric("backtalk_webhooks_dead_total") === 1);
    expect(new Set(hook.ids)).toEqual(new Set([id]));
    expect(new Set(hook.got.map(({ headers }) => headers["webhook-timestamp"])).size).toBe(10);
    expect(new Set(hook.got.map(({ headers }) => headers["webhook-signature"])).size).toBe(10);
    expect(await letter(operator, "dead")).toMatchObject({ id, attempt: 10, status: 500, why: "status 500" });
    expect(await letter(operator, "waiting")).toBeUndefined();

    hook.answer = () => new Response();
    expect((await operator("POST", `/a/resend?id=${id}`)).json).toEqual({ resent: 1 });
    await until(() => hook.got.length === 11);
    expect(hook.ids[10]).toBe(id);
    await until(() => metric("backtalk_webhooks_waiting") === 0);
    expect(await letter(operator, "dead")).toBeUndefined();
  });

  test("does not take the place of a later call, which a key that is used again has given the same id", async () => {
    const hook = receiver();
    hook.answer = () => new Response("no", { status: 500 });
    const clock = new HandClock();
    const store = memoryStore();
    const { call, message, metric } = await serve({ store, endpoints: [{ name: "a", url: hook.url }], clock });
    const id = await call("double", { n: 1 }, "daily");
    const before = await message(id);
    await until(() => metric("backtalk_webhooks_waiting") === 1);
    // As after the time that calls are kept.
    await store.trim(`calls/${id}`, "all");
    expect(await call("double", { n: 2 }, "daily")).toBe(id);
    const after = await message(id);
    await until(() => metric("backtalk_webhooks_waiting") === 2);
    expect(hook.ids).toEqual([before, after]);
    hook.answer = () => new Response();
    clock.pass(6_000);
    await until(() => hook.got.length === 4);
    const results = hook.got.slice(2).map(({ json }) => (json.data["result"] as { n: number }).n);
    expect(results.sort()).toEqual([2, 4]);
  });

  test("waits as long as the receiver asks, also over a restart", async () => {
    const hook = receiver();
    hook.answer = () => new Response(null, { status: 503, headers: { "retry-after": "3600" } });
    const store = memoryStore();
    const clock = new HandClock();
    const first = await serve({ store, endpoints: [{ name: "a", url: hook.url }], clock });
    const id = await first.message(await first.call("double", { n: 1 }));
    await until(() => first.metric("backtalk_webhooks_waiting") === 1);
    hook.answer = () => new Response();
    const second = await serve({ store, endpoints: [{ name: "a", url: hook.url }], clock });
    await first.running.core.close();
    clock.pass(3_599_000);
    await Bun.sleep(10);
    expect(hook.got).toHaveLength(1);
    clock.pass(1000);
    await until(() => hook.got.length >= 2);
    expect(hook.ids[1]).toBe(id);
    expect(second.metric("backtalk_webhooks_dead_total")).toBe(0);
  });

  test("with 429, 502 or 504 leaves the receiver alone for a while", async () => {
    const hook = receiver();
    hook.answer = () => new Response(null, { status: 429 });
    const clock = new HandClock();
    const { publish, metric } = await serve({ endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }], clock });
    await publish("ticks", 1);
    await until(() => metric("backtalk_webhooks_waiting") === 1);
    hook.answer = () => new Response();
    await publish("ticks", 2);
    await Bun.sleep(20);
    expect(hook.got).toHaveLength(1);
    clock.pass(5600);
    await until(() => hook.got.length === 3);
    expect(hook.got.map(({ json }) => json.data["event"])).toContainEqual({ n: 2 });
  });

  test("with 410 disables the endpoint, also after a restart, until the operator enables it", async () => {
    const hook = receiver();
    hook.answer = () => new Response(null, { status: 410 });
    const store = memoryStore();
    const first = await serve({ store, endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }] });
    await first.publish("ticks", 1);
    await until(() => first.metric("backtalk_webhooks_disabled") === 1);
    await first.publish("ticks", 2);
    await Bun.sleep(20);
    expect(hook.got).toHaveLength(1);
    hook.answer = () => new Response();
    const clock = new HandClock();
    clock.pass(Date.now());
    const second = await serve({ store, endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }], clock });
    await Bun.sleep(20);
    expect(hook.got).toHaveLength(1);
    expect((await second.operator("GET")).json).toMatchObject({
      endpoints: [{ name: "a", off: expect.stringContaining("410") }],
    });
    await second.operator("POST", "/a/enable");
    await until(() => hook.got.length === 3);
    expect(new Set(hook.got.map(({ json }) => (json.data["event"] as { n: number }).n))).toEqual(new Set([1, 2]));
  });

  test("and is slow holds up no other endpoint, and no more than webhooksAtOnce at once", async () => {
    const [slow, quick] = [receiver(), receiver()];
    slow.answer = () => new Promise<Response>(() => {});
    const { publish } = await serve({
      endpoints: [
        { name: "slow", url: slow.url, topics: ["ticks"] },
        { name: "quick", url: quick.url, topics: ["ticks"] },
      ],
      limits: { webhooksAtOnce: 3 },
    });
    for (let n = 0; n < 50; n++) await publish("ticks", n);
    await until(() => quick.got.length === 50);
    expect(slow.got.length).toBeLessThanOrEqual(3);
  });

  test("and takes longer than webhookMs is tried again; beyond webhooksWaiting nothing new is taken", async () => {
    const hook = receiver();
    hook.answer = () => new Promise<Response>(() => {});
    const { publish, metric } = await serve({
      endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }],
      limits: { webhookMs: 30, webhooksWaiting: 4, webhooksAtOnce: 1 },
      clock: new HandClock(),
    });
    for (let n = 0; n < 10; n++) await publish("ticks", n);
    await until(() => metric("backtalk_webhooks_waiting") === 4);
    await Bun.sleep(100);
    expect([metric("backtalk_webhooks_waiting"), hook.got.length]).toEqual([4, 4]);
  });
});

describe("a restart", () => {
  test("loses nothing: a message that was under way comes again", async () => {
    const hook = receiver();
    hook.answer = () => new Promise<Response>(() => {});
    const store = memoryStore();
    const first = await serve({ store, endpoints: [{ name: "a", url: hook.url }] });
    const id = await first.message(await first.call("double", { n: 1 }));
    await until(() => hook.got.length === 1);
    hook.answer = () => new Response();
    const second = await serve({ store, endpoints: [{ name: "a", url: hook.url }] });
    await until(() => hook.got.length === 2);
    expect(hook.ids).toEqual([id, id]);
    const next = await second.call("double", { n: 2 });
    await until(() => hook.got.length === 3);
    expect(hook.ids[2]).toBe(await second.message(next));
  });

  test("between the entry of the outbox and the end of the call tells nobody of a call without an end", async () => {
    const hook = receiver();
    const store = memoryStore();
    const { call, message } = await serve({ store, endpoints: [{ name: "a", url: hook.url }] });
    await store.append("webhooks-outbox", [{ kind: "item", json: '"c00000000000000000000000000"' }]);
    await store.append("calls/c11111111111111111111111111", [{ kind: "open", json: "{}" }], {
      create: { method: "demo/double", owner: "" },
    });
    await store.append("webhooks-outbox", [{ kind: "item", json: '"c11111111111111111111111111"' }]);
    const id = await call("double", { n: 1 });
    await until(() => hook.got.length > 0);
    expect(hook.ids).toEqual([await message(id)]);
  });
});

/** Receivers that answer anything, and servers that go at any moment. */
for (const seed of [1, 2, 3, 4]) {
  test(`every message arrives, whatever happens (seed ${seed})`, async () => {
    let state = seed * 2_654_435_761;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    const hook = receiver();
    const arrived = new Set<string>();
    let isKind = false;
    hook.answer = ({ id }) => {
      const what = isKind ? 0 : random();
      if (what < 0.5) {
        arrived.add(id);
        return new Response();
      }
      if (what < 0.7) return new Response(null, { status: 500 });
      if (what < 0.8) return new Response(null, { status: 429, headers: { "retry-after": "60" } });
      if (what < 0.9) return new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/" } });
      return new Promise<Response>(() => {});
    };
    const store = memoryStore();
    // A store outlives its servers here.
    const lasting = new Proxy(store, {
      get: (target, name) => {
        if (name === "close") return async () => {};
        const member = target[name as keyof typeof target];
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
    const clock = new HandClock();
    const expected = new Set<string>();
    const open = () =>
      serving({
        store: lasting,
        clock,
        endpoints: [{ name: "a", url: hook.url, topics: ["ticks"] }],
        limits: { webhookMs: 20 },
      });
    for (let round = 0; round < 4; round++) {
      const { call, message, publish, running } = await open();
      for (let n = 0; n < 10; n++) {
        if (random() < 0.5) expected.add(await message(await call("double", { n })));
        else expected.add(`msg_ticks_${await publish("ticks", n)}`);
        if (random() < 0.5) clock.pass(random() * 400_000);
      }
      await running.stop();
    }
    isKind = true;
    const { running, metric } = await open();
    await until(() => {
      clock.pass(3_600_000);
      return arrived.isSupersetOf(expected) && metric("backtalk_webhooks_waiting") === 0;
    });
    expect(arrived).toEqual(expected);
    expect(metric("backtalk_webhooks_missed_total")).toBe(0);
    await running.stop();
    const held = await store.list({ prefix: "webhooks-held/", state: "open", limit: 10 });
    expect(held.logs).toEqual([]);
  }, 60_000);
}

test("what was delivered is not sent again because a later one waits", async () => {
  const hook = receiver();
  hook.answer = ({ json }) => {
    const { n } = json.data["event"] as { n: number };
    return n < 3 ? new Response() : new Response(null, { status: 429, headers: { "retry-after": "86400" } });
  };
  const store = memoryStore();
  const endpoints = [{ name: "a", url: hook.url, topics: ["ticks"] }];
  const clock = new HandClock();
  const first = await serve({ store, endpoints, clock, limits: { webhooksAtOnce: 1 } });
  for (let n = 0; n < 6; n++) await first.publish("ticks", n);
  await until(() => first.metric("backtalk_webhooks_waiting") === 1);
  await serve({ store, endpoints, clock, limits: { webhooksAtOnce: 1 } });
  await until(() => hook.got.length > 4);
  // 4 was not tried before; only 3 waits.
  expect(hook.got.map(({ json }) => (json.data["event"] as { n: number }).n)).toEqual([0, 1, 2, 3, 4]);
});

test("the outbox does not grow with the calls", async () => {
  const hook = receiver();
  const { call, store } = await serve({ endpoints: [{ name: "a", url: hook.url }] });
  for (let n = 0; n < 300; n++) await call("double", { n });
  await until(() => hook.got.length === 300);
  await until(async () => {
    const { logs } = await store.list({ prefix: "webhooks-outbox", exact: true, limit: 1 });
    return logs[0]!.events < 300;
  });
  expect(new Set(hook.ids).size).toBe(300);
});

test("the operator's address asks for its token", async () => {
  const { operator, url } = await serve({ endpoints: [{ name: "a", url: "https://receiver.example/secret-path" }] });
  expect((await fetch(`${url}/webhooks`)).status).toBe(401);
  expect((await operator("GET", "", "another-token-which-is-wrong")).status).toBe(401);
  const { json } = await operator("GET");
  expect(json).toEqual({ endpoints: [{ name: "a", origin: "https://receiver.example", waiting: 0 }] });
  expect((await operator("GET", "/b")).status).toBe(404);
  expect((await operator("POST", "/a/explode")).status).toBe(404);
  expect((await operator("POST", "/a/disable")).json["off"]).toBe("by the operator");
});

async function letter(
  operator: (method: string, path: string) => Promise<{ json: Record<string, unknown> }>,
  state: string,
): Promise<Record<string, unknown> | undefined> {
  return ((await operator("GET", `/a?state=${state}`)).json["letters"] as Record<string, unknown>[])[0];
}
