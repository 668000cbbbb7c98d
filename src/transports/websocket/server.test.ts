import { afterEach, describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { connect } from "node:net";
import { z } from "zod";
import { clientStream, type Host, serverStream, service, topic, unary } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { type Core, type CoreOptions, createCore, memoryStore } from "../../server.ts";
import type { WebSocketOptions } from "./server.ts";
import { type Served, serveWebSocket, Talker } from "./testing.ts";

const gates = new Map<string, PromiseWithResolvers<string>>();
const gate = (name: string) => {
  const found = gates.get(name) ?? Promise.withResolvers<string>();
  gates.set(name, found);
  return found;
};

const sample = service("s", {
  echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
  wait: unary({ input: z.string(), output: z.string() }, (name, call) => {
    call.signal.addEventListener("abort", () => gate(`${name} aborted`).resolve("aborted"));
    return gate(name).promise;
  }),
  big: unary({ input: z.object({ chars: z.number() }), output: z.string() }, ({ chars }) => "x".repeat(chars)),
  count: serverStream({ input: z.object({ to: z.number() }), item: z.number() }, async function* ({ to }) {
    for (let n = 1; n <= to; n++) yield n;
  }),
  sum: clientStream({ input: z.number(), output: z.number() }, async (items) => {
    let sum = 0;
    for await (const n of items) sum += n;
    return sum;
  }),
  news: topic({ event: z.object({ n: z.number(), text: z.string().optional() }) }),
});

const ending: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0)) await end();
  gates.clear();
});

interface World extends Served {
  readonly core: Core;
  readonly store: ReturnType<typeof memoryStore>;
  publish(n: number, text?: string): Promise<void>;
}

async function start(options: Partial<CoreOptions> = {}, websocket: WebSocketOptions = {}): Promise<World> {
  const store = memoryStore();
  const core = createCore(sample, { store, ...options });
  await core.start();
  const served = serveWebSocket(core, 0, websocket);
  ending.push(
    () => served.server.stop(true),
    () => core.close(),
  );
  const publish = async (n: number, text?: string) => {
    const call = { to: "topics/news", principal: { id: "" }, via: "memory" };
    await (await core.peer(call)).append({ items: [{ n, ...(text !== undefined && { text }) }] });
  };
  return { ...served, core, store, publish };
}

async function until(condition: () => unknown): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("one socket, many exchanges", () => {
  test("each gets its own answers, and one that waits holds up no other", async () => {
    const { url } = await start();
    const talker = await Talker.open(url);
    talker.say(
      { type: "call", id: 1, method: "s/wait", input: "one" },
      { type: "call", id: 2, method: "s/echo", input: { a: 1 } },
      { type: "call", id: 3, method: "s/count", input: { to: 3 }, credit: 10 },
      { type: "subscribe", id: 4, topic: "news", credit: 1 },
      { type: "publish", id: 5, topic: "news", event: { n: 7 } },
    );
    expect(await talker.hears("result", 2)).toMatchObject({ data: { a: 1 } });
    expect(await talker.hears("done", 3)).toMatchObject({ ended: true });
    const opened = await talker.hears("opened", 3);
    const events = talker.heard.filter(({ type, id }) => type === "events" && id === 3).flatMap(({ events }) => events);
    expect(events.map(({ kind, data }) => [kind, data])).toEqual([
      ["open", { id: opened["call"], method: "s/count", attempt: 1 }],
      ["item", 1],
      ["item", 2],
      ["item", 3],
      ["end", {}],
    ]);
    expect((await talker.hears("result", 5))["data"].duplicate).toBe(false);
    gate("one").resolve("done");
    expect(await talker.hears("result", 1)).toMatchObject({ data: "done" });
  });

  test("an id in use is refused, and whoever has it goes on; a free one is used again", async () => {
    const { url } = await start();
    const talker = await Talker.open(url);
    talker.say({ type: "call", id: 1, method: "s/wait", input: "a" }, { type: "call", id: 1, method: "s/echo" });
    const { id, fault } = await talker.hears("fault");
    expect(id).toBeUndefined();
    expect(fault).toMatchObject({ code: "invalid_argument", detail: { id: 1 } });
    gate("a").resolve("first");
    expect(await talker.hears("result", 1)).toMatchObject({ data: "first" });
    talker.say({ type: "call", id: 1, method: "s/echo", input: "again" });
    expect(await talker.hears("result", 1)).toMatchObject({ data: "again" });
  });

  test("no more exchanges at once than the limit", async () => {
    const { url } = await start({ limits: { exchangesPerConnection: 2 } });
    const talker = await Talker.open(url);
    for (const id of [1, 2, 3]) talker.say({ type: "subscribe", id, topic: "news", credit: 1 });
    expect(await talker.hears("fault", 3)).toMatchObject({ fault: { limit: "exchangesPerConnection" } });
    talker.say({ type: "leave", id: 1 });
    await talker.hears("done", 1);
    talker.say({ type: "call", id: 3, method: "s/echo", input: 1 });
    await talker.hears("result", 3);
  });

  test("no more sockets at once than the limit", async () => {
    const { url } = await start({ limits: { connections: 1 } });
    await Talker.open(url);
    const answer = await fetch(`${url}/ws`, {
      headers: {
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": "backtalk.v1",
      },
    });
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(await answer.json()).toMatchObject({ limit: "connections" });
  });
});

describe("credit", () => {
  test("a reader without credit is sent nothing, and nothing is read for it", async () => {
    const { url, publish, store } = await start();
    let reads = 0;
    const read = store.read.bind(store);
    store.read = (log, at) => {
      if (log.includes("news")) reads++;
      return read(log, at);
    };
    const talker = await Talker.open(url);
    talker.say({ type: "subscribe", id: 1, topic: "news", after: "start", credit: 0 });
    for (let n = 1; n <= 500; n++) await publish(n);
    await talker.settles();
    expect(talker.heard).toEqual([]);
    expect(reads).toBe(0);
    talker.say({ type: "credit", id: 1, n: 2 });
    const seen: number[] = [];
    while (seen.length < 2) for (const { data } of (await talker.hears("events", 1))["events"]) seen.push(data.n);
    await talker.settles();
    expect(talker.heard).toEqual([]);
    expect(seen).toEqual([1, 2]);
  });

  test("never more events than credit, in order and without a hole, however it is given", async () => {
    const { url, publish } = await start();
    for (let n = 1; n <= 200; n++) await publish(n);
    const talker = await Talker.open(url);
    talker.say({ type: "subscribe", id: 1, topic: "news", after: "start", credit: 1 });
    const seen: number[] = [];
    const grants = [3, 1, 40, 7, 100, 2, 1, 60];
    let given = 1;
    for (let turn = 0; seen.length < 200; turn++) {
      while (seen.length < Math.min(given, 200)) {
        for (const { data } of (await talker.hears("events", 1))["events"]) seen.push(data.n);
      }
      expect(seen.length).toBeLessThanOrEqual(given);
      const n = grants[turn % grants.length]!;
      given += n;
      talker.say({ type: "credit", id: 1, n });
    }
    expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
  });

  test("one page without following, and what it says of the rest", async () => {
    const { url, publish } = await start();
    for (let n = 1; n <= 5; n++) await publish(n);
    const talker = await Talker.open(url);
    const page = async (after: string, credit: number) => {
      talker.say({ type: "subscribe", id: 1, topic: "news", after, credit, follow: false });
      const done = await talker.hears("done", 1);
      const { events, verdict } = await talker.hears("events", 1);
      return { count: events.length, verdict: verdict.verdict, more: done["more"], cursor: done["cursor"] };
    };
    const first = await page("start", 3);
    expect(first).toMatchObject({ count: 3, verdict: "recovered", more: true });
    const rest = await page(first.cursor, 3);
    expect(rest).toMatchObject({ count: 2, more: undefined });
    expect(await page(rest.cursor, 3)).toMatchObject({ count: 0, verdict: "recovered", more: undefined });
  });

  test("items beyond the window are refused before they are acknowledged", async () => {
    const { url, store } = await start({ limits: { itemsInFlight: 4 } });
    const talker = await Talker.open(url);
    // In one go: those that come before the call is open count too.
    talker.say({ type: "call", id: 1, method: "s/sum" }, { type: "items", id: 1, items: [1, 2, 3], seq: 0 });
    expect(await talker.hears("ack", 1)).toMatchObject({ next: 3 });
    const { call } = await talker.hears("opened", 1);
    const disk = Promise.withResolvers<void>();
    const append = store.append.bind(store);
    store.append = async (...args) => disk.promise.then(() => append(...args));
    talker.say({ type: "items", id: 1, items: [4, 5, 6], seq: 3 }, { type: "items", id: 1, items: [7, 8], seq: 6 });
    expect(await talker.hears("fault", 1)).toMatchObject({ fault: { limit: "itemsInFlight" } });
    disk.resolve();
    talker.say(
      { type: "items", id: 2, call, items: [4, 5, 6], seq: 3 },
      { type: "items", id: 3, call, items: [], end: true },
    );
    await talker.hears("ack", 2);
    await talker.hears("ack", 3);
    talker.say({ type: "attach", id: 4, call });
    expect(await talker.hears("result", 4)).toMatchObject({ data: 21 });
  });
});

describe("coming back", () => {
  test("a call is read on from a cursor on another socket, and nothing is missing or twice", async () => {
    const { url } = await start();
    const first = await Talker.open(url);
    first.say({ type: "call", id: 1, method: "s/count", input: { to: 50 }, credit: 7 });
    const { call } = await first.hears("opened", 1);
    const seen: unknown[] = [];
    let cursor = "";
    const take = async (talker: Talker, upTo: number) => {
      while (seen.length < upTo) {
        const events = await talker.hears("events", 1);
        seen.push(...events["events"].map(({ data }: { data: unknown }) => data));
        cursor = events["cursor"];
      }
    };
    await take(first, 7);
    first.close();
    for (const upTo of [14, 30, 52]) {
      const next = await Talker.open(url);
      next.say({ type: "attach", id: 1, call, after: cursor, credit: upTo - seen.length });
      await take(next, upTo);
      next.close();
    }
    expect(seen.slice(1, -1)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });

  test("leave frees the id, the call goes on; one that nobody could come back to is cancelled", async () => {
    const { url } = await start();
    const talker = await Talker.open(url);
    talker.say({ type: "call", id: 1, method: "s/wait", input: "kept", keep: true });
    const { call } = await talker.hears("opened", 1);
    talker.say({ type: "leave", id: 1 }, { type: "call", id: 2, method: "s/wait", input: "direct" });
    await talker.hears("done", 1);
    talker.say({ type: "leave", id: 2 });
    await talker.hears("done", 2);
    expect(await gate("direct aborted").promise).toBe("aborted");
    gate("kept").resolve("here");
    talker.say({ type: "attach", id: 1, call });
    expect(await talker.hears("result", 1)).toMatchObject({ data: "here" });
  });

  test("1,000 sockets that come, read and go leave nothing", async () => {
    const { url, core, handlers, publish } = await start();
    await publish(1);
    const listeners = () => getEventListeners(core.draining, "abort").length;
    const before = listeners();
    for (let round = 0; round < 50; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          const talker = await Talker.open(url);
          talker.say({ type: "subscribe", id: 1, topic: "news", after: n % 2 ? "start" : "now", credit: n % 3 });
          talker.say({ type: "call", id: 2, method: "s/wait", input: "never" });
          if (n % 4 === 0) await talker.settles();
          talker.close();
        }),
      );
    }
    await until(() => handlers.size === 0);
    await until(() => /backtalk_subscriptions\{transport="websocket"\} 0/.test(core.metrics.text()));
    expect(core.metrics.text()).toContain('backtalk_connections{transport="websocket"} 0');
    expect(listeners()).toBe(before);
    const waiting = core as unknown as Host;
    expect(waiting.unready()).toEqual([]);
    // Handlers that nobody waits for were told, and their calls ended.
    gate("never").resolve("late");
    await until(() => /backtalk_calls_running\{method="s\/wait"\} 0/.test(core.metrics.text()));
  }, 60_000);
});

describe("a slow reader", () => {
  const MARK = '"data":{"n":';

  /** A socket that reads only when told to; `say` takes short messages. */
  async function paused({ server, sockets }: World) {
    const socket = connect(server.port!, "127.0.0.1");
    socket.pause();
    socket.on("error", () => {});
    socket.write(
      "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: backtalk.v1\r\n\r\n",
    );
    await until(() => sockets.length === 1);
    const say = (message: object): void => {
      const text = Buffer.from(JSON.stringify(message));
      socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]));
    };
    return { socket, say, buffered: () => sockets[0]!.getBufferedAmount() };
  }

  test("of events holds no more than its buffer, and still gets all of them in order", async () => {
    const sendBufferBytes = 64 * 1024;
    const world = await start({ limits: { sendBufferBytes } });
    const { socket, say, buffered } = await paused(world);
    say({ type: "subscribe", id: 1, topic: "news", after: "start", credit: 1_000_000 });
    let most = 0;
    // More than what the kernel keeps for both ends.
    const [count, text] = [1_500, "x".repeat(20_000)];
    for (let n = 1; n <= count; n++) {
      await world.publish(n, text);
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, buffered());
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(sendBufferBytes);
    const seen: number[] = [];
    let rest = "";
    socket.on("data", (data) => {
      most = Math.max(most, buffered());
      rest += data.toString("latin1");
      for (let at = rest.indexOf(MARK); at !== -1; at = rest.indexOf(MARK)) {
        const end = rest.indexOf(",", at + MARK.length);
        if (end === -1) break;
        seen.push(Number(rest.slice(at + MARK.length, end)));
        rest = rest.slice(end);
      }
    });
    socket.resume();
    await until(() => (seen.at(-1) ?? 0) >= count);
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(most).toBeLessThanOrEqual(sendBufferBytes);
    socket.destroy();
  }, 60_000);

  test("of answers is refused more work, and never holds more than the bound", async () => {
    const limits = { sendBufferBytes: 100_000, bodyBytes: 200_000 };
    const world = await start({ limits });
    const { socket, say, buffered } = await paused(world);
    let most = 0;
    for (let id = 0; id < 1_000; id++) {
      say({ type: "call", id, method: "s/big", input: { chars: 90_000 } });
      if (id % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      most = Math.max(most, buffered());
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(limits.sendBufferBytes + limits.bodyBytes);
    let text = "";
    socket.on("data", (data) => {
      text = (text + data.toString("latin1")).slice(-100_000);
    });
    socket.resume();
    await until(() => text.includes('"limit":"sendBufferBytes"'));
    socket.destroy();
  }, 60_000);

  test("that asks for much at once and does not read is closed", async () => {
    const world = await start({ limits: { sendBufferBytes: 10_000, bodyBytes: 50_000 } });
    const { socket, say } = await paused(world);
    // All are taken while nothing waits; then they end together.
    for (let id = 0; id < 900; id++) say({ type: "call", id, method: "s/wait", input: "all" });
    await until(() => /backtalk_calls_running\{method="s\/wait"\} 900/.test(world.core.metrics.text()));
    gate("all").resolve("x".repeat(20_000));
    await until(() => world.handlers.size === 0);
    socket.destroy();
  }, 60_000);
});

describe("credentials", () => {
  const users: Partial<CoreOptions> = {
    authenticate: async ({ bearer, apiKey }) => {
      const shown = bearer ?? apiKey;
      if (shown === undefined || shown === "bad") throw new Fault("unauthenticated", "no");
      const [id = "", ms] = shown.split("/");
      return { id, ...(ms !== undefined && { expiresAt: Date.now() + Number(ms) }) };
    },
    timing: { heartbeatMs: 2_000, graceMs: 200 },
  };

  test("those of the handshake, or of the first message; what was sent meanwhile waits for them", async () => {
    const { url } = await start(users);
    const byHeader = await Talker.open(url, { headers: { authorization: "Bearer ann" } });
    expect(await byHeader.hears("auth")).toMatchObject({ principal: "ann" });
    const byKey = await Talker.open(url, { headers: { "x-api-key": "kim" } });
    expect(await byKey.hears("auth")).toMatchObject({ principal: "kim" });
    const byMessage = await Talker.open(url);
    byMessage.say({ type: "auth", token: "bob" }, { type: "call", id: 1, method: "s/echo", input: 1 });
    await byMessage.hears("result", 1);
    expect(await byMessage.hears("auth")).toMatchObject({ principal: "bob" });
  });

  test("none, bad ones, and silence are closed with 4401", async () => {
    const { url } = await start(users);
    const bad = await Talker.open(url);
    bad.say({ type: "auth", token: "bad" }, { type: "call", id: 1, method: "s/echo" });
    expect(await bad.isClosed()).toMatchObject({ code: 4401 });
    expect(bad.heard.at(-1)).toMatchObject({ type: "fault", fault: { code: "unauthenticated" } });
    const none = await Talker.open(url);
    none.say({ type: "call", id: 1, method: "s/echo" });
    expect(await none.isClosed()).toMatchObject({ code: 4401 });
    const silent = await Talker.open(url);
    expect(await silent.isClosed()).toMatchObject({ code: 4401 });
  });

  test("renewed in time, a subscription goes on; expired, it is closed", async () => {
    const { url, publish } = await start(users);
    const talker = await Talker.open(url, { headers: { authorization: "Bearer ann/150" } });
    talker.say({ type: "subscribe", id: 1, topic: "news", credit: 10 });
    expect((await talker.hears("events", 1))["verdict"].verdict).toBe("recovered");
    const { expiresAt } = await talker.hears("auth");
    talker.say({ type: "auth", token: "bad" });
    await talker.hears("fault");
    talker.say({ type: "auth", token: "ann/400" });
    await talker.hears("auth");
    await until(() => Date.now() > expiresAt + 50);
    await publish(1);
    expect((await talker.hears("events", 1))["events"]).toHaveLength(1);
    expect(await talker.isClosed()).toMatchObject({ code: 4401 });
  });

  test("of somebody else close the socket", async () => {
    const { url } = await start(users);
    const talker = await Talker.open(url, { headers: { authorization: "Bearer ann" } });
    await talker.hears("auth");
    talker.say({ type: "auth", token: "bob" });
    expect(await talker.isClosed()).toMatchObject({ code: 1008 });
    expect(talker.heard.at(-1)).toMatchObject({ fault: { code: "permission_denied" } });
  });

  test("too many messages before they are checked close the socket", async () => {
    const never = { authenticate: () => new Promise<never>(() => {}) };
    const { url } = await start(never);
    const talker = await Talker.open(url, { headers: { authorization: "Bearer ann" } });
    for (let n = 0; n < 70; n++) talker.say({ type: "leave", id: n });
    expect(await talker.isClosed()).toMatchObject({ code: 1008 });
  });
});

describe("heartbeat", () => {
  const timing = { heartbeatMs: 50, graceMs: 50 };

  test("silence is asked about, an answer keeps the socket, none closes it", async () => {
    const { url } = await start({ timing });
    const talker = await Talker.open(url);
    for (let n = 0; n < 4; n++) {
      await talker.hears("ping");
      talker.say(n % 2 ? { type: "pong" } : { type: "leave", id: 0 });
    }
    expect(talker.closed).toBeUndefined();
    expect(await talker.isClosed()).toMatchObject({ code: expect.any(Number) });
  });

  test("a reader that is sent events is not asked", async () => {
    const { url, publish } = await start({ timing: { heartbeatMs: 200, graceMs: 50 } });
    const talker = await Talker.open(url);
    talker.say({ type: "subscribe", id: 1, topic: "news", credit: 1000 });
    await talker.hears("events", 1);
    // Twice as long as a heartbeat; where this machine was so late that one was due, again.
    for (let n = 0, last = performance.now(); n < 8; n++) {
      await publish(n);
      await talker.hears("events", 1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (performance.now() - last > 150) {
        n = 0;
        talker.heard.length = 0;
      }
      last = performance.now();
    }
    expect(talker.heard.filter(({ type }) => type === "ping")).toEqual([]);
  });
});

describe("the server goes", () => {
  test("everybody is told when to come back, spread over time; readers at once, answers first", async () => {
    const { url, core, handlers } = await start({ drainMs: 5_000, timing: { spreadMs: 4_000 } });
    const readers = await Promise.all(Array.from({ length: 10 }, () => Talker.open(url)));
    for (const reader of readers) reader.say({ type: "subscribe", id: 1, topic: "news", credit: 5 });
    for (const reader of readers) await reader.hears("events", 1);
    const caller = await Talker.open(url);
    caller.say({ type: "call", id: 1, method: "s/wait", input: "last" });
    caller.say({ type: "call", id: 2, method: "s/wait", input: "other", keep: true });
    const { call } = await caller.hears("opened", 2);
    caller.say({ type: "state", id: 3, call, waitMs: 60_000 });
    await caller.settles();
    const drained = core.drain();
    const delays = new Set<number>();
    for (const reader of readers) {
      delays.add((await reader.hears("goaway"))["retryAfterMs"]);
      expect(await reader.isClosed()).toMatchObject({ code: 1001 });
    }
    expect(delays.size).toBeGreaterThan(5);
    for (const delay of delays) expect(delay).toBeLessThanOrEqual(4_000);
    await caller.hears("goaway");
    expect((await caller.hears("result", 3))["data"].state).toBe("running");
    caller.say({ type: "call", id: 4, method: "s/echo", input: 1 });
    expect((await caller.hears("fault", 4))["fault"]).toMatchObject({ code: "unavailable", retryable: true });
    expect(caller.closed).toBeUndefined();
    gate("last").resolve("said");
    gate("other").resolve("too");
    expect(await caller.hears("result", 1)).toMatchObject({ data: "said" });
    expect(await caller.isClosed()).toMatchObject({ code: 1001 });
    await drained;
    await until(() => handlers.size === 0);
    const answer = await fetch(`${url}/ws`, {
      headers: {
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": "backtalk.v1",
      },
    });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
  });
});

describe("options", () => {
  test("an origin on the list may connect, and * means all", async () => {
    const listed = await start({}, { origins: ["https://app.example"] });
    (await Talker.open(listed.url, { headers: { origin: "https://app.example" } })).close();
    await expect(Talker.open(listed.url, { headers: { origin: "https://other.example" } })).rejects.toThrow();
    const all = await start({}, { origins: "*" });
    (await Talker.open(all.url, { headers: { origin: "https://other.example" } })).close();
  });

  test("deflate: large messages arrive whole", async () => {
    const { url } = await start({}, { deflate: true });
    const talker = await Talker.open(url);
    talker.say({ type: "call", id: 1, method: "s/big", input: { chars: 100_000 } });
    expect((await talker.hears("result", 1))["data"]).toHaveLength(100_000);
  });
});
