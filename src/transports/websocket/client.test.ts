import { afterEach, describe, expect, test } from "bun:test";
import { z } from "zod";
import { ANONYMOUS, type Call, service, topic, unary } from "../../contract/index.ts";
import { Fault, type Page } from "../../log/index.ts";
import { type CoreOptions, createCore, memoryStore } from "../../server.ts";
import { type WebSocketPeerOptions, websocketPeer } from "./client.ts";
import { serveWebSocket } from "./testing.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0)) await end();
});

async function start(options: Partial<CoreOptions> = {}) {
  const gate = Promise.withResolvers<string>();
  const sample = service("s", {
    echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
    wait: unary({ input: z.object({}), output: z.string() }, () => gate.promise),
    news: topic({ event: z.object({ n: z.number() }) }),
  });
  const core = createCore(sample, { store: memoryStore(), drainMs: 0, ...options });
  await core.start();
  const served = serveWebSocket(core);
  ending.push(
    () => served.server.stop(true),
    () => core.close(),
  );
  const publish = async (from: number, to: number) => {
    const exchange = await core.peer(call("topics/news"));
    for (let n = from; n <= to; n++) await exchange.append({ items: [{ n }] });
  };
  return { ...served, core, gate, publish };
}

function peerOf(url: string, options: Partial<WebSocketPeerOptions> = {}) {
  const peer = websocketPeer({ url, ...options });
  ending.push(() => peer.close());
  return peer;
}

const call = (to: string, rest: Partial<Call> = {}): Call => ({ to, principal: ANONYMOUS, via: "test", ...rest });

async function faultOf(promise: unknown): Promise<Fault> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("no fault came");
}

async function until(condition: () => unknown): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("the socket", () => {
  test("is opened when it is used, and carries everything", async () => {
    const { url, sockets } = await start();
    let opened = 0;
    const peer = peerOf(url, { onOpen: () => opened++ });
    expect(peer.state).toBe("idle");
    const exchanges = await Promise.all([1, 2, 3].map(() => peer(call("s/echo", { input: "x" }))));
    expect(sockets).toHaveLength(0);
    const results = exchanges.map((exchange) => exchange.result());
    expect(peer.state).toBe("connecting");
    expect(await Promise.all(results)).toEqual(["x", "x", "x"]);
    expect(peer.state).toBe("open");
    expect([sockets.length, opened]).toEqual([1, 1]);
  });

  test("that breaks fails everything that waits, and the next use opens another", async () => {
    const { url, sockets } = await start();
    const closed: Fault[] = [];
    const peer = peerOf(url, { onClose: (fault) => closed.push(fault) });
    const result = (await peer(call("s/wait", { input: {} }))).result();
    const reading = (await peer(call("topics/news"))).read({ from: "now", follow: true })[Symbol.asyncIterator]();
    await reading.next();
    const next = reading.next();
    sockets[0]!.terminate();
    for (const waiting of [result, next]) {
      const fault = await faultOf(waiting);
      expect(fault).toMatchObject({ code: "unavailable", retryable: true });
      // It was sent: nobody knows whether it was done.
      expect(fault.detail?.["sent"]).toBeUndefined();
    }
    expect([closed.length, peer.state]).toEqual([1, "idle"]);
    expect(await (await peer(call("s/echo", { input: 1 }))).result()).toBe(1);
    expect(sockets).toHaveLength(2);
  });

  test("that cannot be opened says that nothing was sent", async () => {
    const { url, server } = await start();
    await server.stop(true);
    const fault = await faultOf((await peerOf(url)(call("s/echo", { input: 1 }))).result());
    expect(fault).toMatchObject({ code: "unavailable", retryable: true, detail: { sent: false } });
  });

  test("that is silent is given up", async () => {
    const { url } = await start();
    const peer = peerOf(url, { silenceMs: 60 });
    const fault = await faultOf((await peer(call("s/wait", { input: {} }))).result());
    expect(fault).toMatchObject({ code: "unavailable", retryable: true });
  });

  test("closed by its owner cancels what waits", async () => {
    const { url, handlers } = await start();
    const peer = peerOf(url);
    const result = (await peer(call("s/wait", { input: {} }))).result();
    await until(() => peer.state === "open");
    peer.close();
    expect((await faultOf(result)).code).toBe("cancelled");
    await until(() => handlers.size === 0);
  });

  test("of a server that goes: what waits is told when to come back", async () => {
    const { url, core, gate } = await start({ drainMs: 5_000, random: () => 0.5, timing: { spreadMs: 3_000 } });
    const peer = peerOf(url);
    const reading = (await peer(call("topics/news"))).read({ from: "now", follow: true })[Symbol.asyncIterator]();
    await reading.next();
    const next = reading.next();
    const result = (await peer(call("s/wait", { input: {} }))).result();
    await (await peer(call("s/echo", { input: 1 }))).result();
    const drained = core.drain();
    gate.resolve("in time");
    expect(await result).toBe("in time");
    expect(await faultOf(next)).toMatchObject({
      code: "unavailable",
      retryAfterMs: 1_500,
      detail: { close: "draining" },
    });
    await drained;
  });
});

describe("credit", () => {
  test("no more is sent than the window, until the reader takes it", async () => {
    const { url, publish, core } = await start();
    await publish(1, 300);
    const exchange = await peerOf(url, { window: 20 })(call("topics/news"));
    const sent = () =>
      Number(/backtalk_events_sent_total\{transport="websocket"\} (\d+)/.exec(core.metrics.text())?.[1] ?? 0);
    const seen: number[] = [];
    const take = (page: Page) => seen.push(...page.events.map(({ json }) => (JSON.parse(json) as { n: number }).n));
    const abort = new AbortController();
    const pages = exchange.read({ from: "start", follow: true, signal: abort.signal })[Symbol.asyncIterator]();
    while (seen.length < 40) take((await pages.next()).value!);
    // Told once a tick.
    await until(() => sent() >= 40);
    expect(sent()).toBeLessThanOrEqual(seen.length + 20);
    while (seen.length < 300) take((await pages.next()).value!);
    expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    abort.abort();
    expect(await pages.next()).toEqual({ done: true, value: undefined });
  });

  test("a reading that is given up while nobody waits for it is left", async () => {
    const { url, core } = await start();
    const exchange = await peerOf(url)(call("topics/news"));
    const abort = new AbortController();
    const pages = exchange.read({ from: "now", follow: true, signal: abort.signal })[Symbol.asyncIterator]();
    await pages.next();
    abort.abort();
    await until(() => core.metrics.text().includes('backtalk_subscriptions{transport="websocket"} 0'));
  });
});

describe("a call that is being made", () => {
  test("is made once, whatever is asked of it meanwhile", async () => {
    const { url, gate } = await start();
    const exchange = await peerOf(url)(call("s/wait", { input: {}, key: "one" }));
    const reading = exchange.read({ from: "start", follow: true })[Symbol.asyncIterator]();
    const [first, state, cancelled] = await Promise.all([reading.next(), exchange.state(), exchange.state()]);
    expect(first.value?.verdict?.verdict).toBe("recovered");
    expect(state).toMatchObject({ id: exchange.id, state: "running" });
    expect(cancelled).toMatchObject({ id: exchange.id });
    expect(exchange.replayed).toBe(false);
    gate.resolve("ok");
    expect(await exchange.result()).toBe("ok");
    await reading.return?.();
  });

  test("and is not recorded has nothing to come back to", async () => {
    const { url } = await start();
    const exchange = await peerOf(url)(call("s/echo", { input: 1 }));
    expect(await exchange.result()).toBe(1);
    expect((await faultOf(exchange.state())).code).toBe("failed_precondition");
  });

  test("larger than the server takes is refused here, and the socket goes on", async () => {
    const { url, sockets } = await start({ limits: { bodyBytes: 1_000 } });
    const peer = peerOf(url);
    const large = await faultOf((await peer(call("s/echo", { input: "ü".repeat(600) }))).result());
    expect(large).toMatchObject({ code: "resource_exhausted", limit: "bodyBytes", retryable: false });
    expect(await (await peer(call("s/echo", { input: 1 }))).result()).toBe(1);
    expect(sockets).toHaveLength(1);
  });
});

describe("credentials", () => {
  const users: Partial<CoreOptions> = {
    authenticate: ({ bearer = "bad" }) => {
      if (bearer === "bad") throw new Fault("unauthenticated", "no");
      const [id = "", ms] = bearer.split("/");
      return { id, ...(ms !== undefined && { expiresAt: Date.now() + Number(ms) }) };
    },
    timing: { heartbeatMs: 500 },
  };

  test("that are refused are unauthenticated", async () => {
    const { url } = await start(users);
    const fault = await faultOf((await peerOf(url, { token: "bad" })(call("s/echo", { input: 1 }))).result());
    expect(fault).toMatchObject({ code: "unauthenticated" });
  });

  test("are renewed before they expire, and readings go on", async () => {
    const { url, publish, sockets } = await start(users);
    const asked: (boolean | undefined)[] = [];
    const token = (renew?: boolean) => {
      asked.push(renew);
      return asked.length < 3 ? "ann/120" : "ann";
    };
    const exchange = await peerOf(url, { token })(call("topics/news"));
    const pages = exchange.read({ from: "now", follow: true })[Symbol.asyncIterator]();
    await pages.next();
    await until(() => asked.length === 3);
    await publish(1, 1);
    expect((await pages.next()).value?.events).toHaveLength(1);
    expect(asked).toEqual([false, true, true]);
    expect(sockets).toHaveLength(1);
  });

  test("that expire break the socket: what was sent may have been done", async () => {
    const { url } = await start(users);
    const peer = peerOf(url, { token: "ann/60" });
    const fault = await faultOf((await peer(call("s/wait", { input: {} }))).result());
    expect(fault).toMatchObject({ code: "unavailable", detail: { close: "expired" } });
  });
});
