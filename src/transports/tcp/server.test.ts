import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import { faultOf, until } from "../../../suites/transport/world.ts";
import { service, topic, unary } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { type Core, type CoreOptions, createCore, type Logger, memoryStore } from "../../server.ts";
import { encodeFrame, PREFACE } from "../../wire/length-prefix.ts";
import { type TcpListener, type TcpListenerOptions, tcpListener } from "./server.ts";
import { Raw } from "./testing.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

interface World {
  readonly core: Core;
  readonly listener: TcpListener;
  readonly gate: PromiseWithResolvers<string>;
  /** Of the handler `wait`. */
  readonly aborted: { count: number };
  readonly open: () => Promise<Raw>;
  /** Before its preface. */
  readonly raw: () => Raw;
  publish(n: number, text?: string): Promise<void>;
}

/** For a Unix socket. */
function place(name = "s"): string {
  const folder = mkdtempSync(join(tmpdir(), "bt-"));
  ending.push(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, name);
}

const HERE: TcpListenerOptions = { hostname: "127.0.0.1", port: 0 };

async function start(options: Partial<CoreOptions> = {}, where: TcpListenerOptions = HERE): Promise<World> {
  const gate = Promise.withResolvers<string>();
  const aborted = { count: 0 };
  const sample = service("s", {
    echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
    big: unary({ input: z.object({ chars: z.number() }), output: z.string() }, ({ chars }) => "x".repeat(chars)),
    wait: unary({ input: z.unknown(), output: z.string() }, (_, { signal }) => {
      signal.addEventListener("abort", () => aborted.count++);
      return gate.promise;
    }),
    news: topic({ event: z.object({ n: z.number(), text: z.string().optional() }) }),
  });
  const core = createCore(sample, { store: memoryStore(), drainMs: 0, ...options });
  await core.start();
  const listener = await tcpListener(core, where);
  ending.push(
    () => core.close(),
    () => listener.stop(0),
  );
  const target = () =>
    "unix" in where ? { path: where.unix } : { port: listener.port!, isTls: where.tls !== undefined };
  const raws: Raw[] = [];
  const kept = (raw: Raw) => {
    raws.push(raw);
    return raw;
  };
  ending.push(() => {
    for (const raw of raws) raw.destroy();
  });
  return {
    core,
    listener,
    gate,
    aborted,
    raw: () => kept(new Raw(target())),
    open: async () => kept(await Raw.open(target())),
    async publish(n, text) {
      const exchange = await core.peer({ to: "topics/news", principal: { id: "" }, via: "memory" });
      await exchange.append({ items: [{ n, ...(text !== undefined && { text }) }] });
    },
  };
}

const metric = (core: Core, name: string, via = "tcp") =>
  Number(new RegExp(`^${name}\\{transport="${via}"\\} (\\d+)`, "m").exec(core.metrics.text())?.[1] ?? 0);

describe("a connection", () => {
  test("begins with a preface on both sides; messages may come right behind it", async () => {
    const { raw } = await start();
    const one = raw();
    one.write(
      Buffer.concat([
        Buffer.from(PREFACE),
        encodeFrame('{"type":"call","id":1,"method":"s/echo","input":{"a":"ü"}}'),
        encodeFrame('{"type":"subscribe","id":2,"topic":"news","credit":1,"follow":false}'),
      ]),
    );
    expect(await one.hears("result", 1)).toMatchObject({ data: { a: "ü" } });
    await one.hears("done", 2);
    expect(one.text.startsWith(PREFACE)).toBe(true);
    // First of all.
    expect(one.heard.map(({ type }) => type)).toEqual(["welcome", "events"]);
  });

  test("carries its transport to the calls and the counts", async () => {
    const lines: string[] = [];
    const logger: Logger = { calls: "all", call: ({ via }) => lines.push(via), note() {} };
    const { open, core, listener } = await start({ logger });
    const one = await open();
    one.say({ type: "call", id: 1, method: "s/echo", input: 1 });
    await one.hears("result", 1);
    expect([metric(core, "backtalk_connections"), listener.size]).toEqual([1, 1]);
    expect(lines).toEqual(["tcp"]);
  });

  test("that the client ends is over, also when it only ends its side", async () => {
    const { open, aborted, listener } = await start();
    const [one, two] = [await open(), await open()];
    for (const each of [one, two]) each.say({ type: "call", id: 1, method: "s/wait", input: 0 });
    one.socket.end();
    // Half a frame is none.
    two.write(encodeFrame('{"type":"publish"}').subarray(0, 9));
    two.socket.resetAndDestroy();
    await until(() => aborted.count === 2 && listener.size === 0, "both to be noticed");
  });

  test("1,000 that come, call, read and go leave nothing", async () => {
    const { open, core, listener, publish } = await start();
    for (let round = 0; round < 10; round++) {
      const raws = await Promise.all(Array.from({ length: 100 }, open));
      for (const raw of raws) {
        raw.say(
          { type: "subscribe", id: 1, topic: "news", credit: 2 },
          { type: "call", id: 2, method: "s/wait", input: 0 },
        );
      }
      await Promise.all(raws.map((raw) => raw.hears("events", 1)));
      await publish(round);
      await Promise.all(raws.map((raw) => raw.hears("events", 1)));
      for (const [index, raw] of raws.entries()) {
        if (index % 2 === 0) raw.destroy();
        else raw.socket.end();
      }
    }
    await until(() => listener.size === 0, "all to be gone");
    await until(() => metric(core, "backtalk_subscriptions") === 0, "the readings to end");
    expect(metric(core, "backtalk_connections")).toBe(0);
    await until(() => /backtalk_calls_running\{method="s\/wait"\} 0/.test(core.metrics.text()), "the calls to end");
  }, 60_000);

  test("beyond the limit is told so, and the others go on", async () => {
    const { open, raw } = await start({ limits: { connections: 2 } });
    const [one, two] = [await open(), await open()];
    const three = raw();
    three.write(PREFACE);
    expect(await three.hears("fault")).toMatchObject({ fault: { code: "resource_exhausted", limit: "connections" } });
    expect(await three.closes()).toMatchObject({ code: 1008, reason: "resource_exhausted" });
    one.say({ type: "call", id: 1, method: "s/echo", input: 1 });
    await one.hears("result", 1);
    two.destroy();
    await until(async () => {
      const next = raw();
      next.write(PREFACE);
      await next.until(() => next.heard.length > 0 || next.isClosed);
      return next.heard[0]?.type === "welcome";
    }, "room");
  });

  test("many more than the limit do not pile up", async () => {
    const { open, raw, listener } = await start({ limits: { connections: 1 } });
    await open();
    // They do not end their side, as a client would that is told.
    const raws = Array.from({ length: 300 }, raw);
    await Promise.all(raws.map((each) => each.until(() => each.isEnded || each.isClosed)));
    await until(() => listener.size <= 101, "all but a hundred to be cut");
  });

  test("over TLS", async () => {
    const { open, listener } = await start({}, { hostname: "127.0.0.1", port: 0, tls: testCertificate() });
    expect(listener.url).toBe(`tls://127.0.0.1:${listener.port}`);
    const one = await open();
    const text = "x".repeat(3_000_000);
    one.say({ type: "call", id: 1, method: "s/echo", input: { text } });
    expect((await one.hears("result", 1))["data"]).toEqual({ text });
  });
});

describe("time", () => {
  const timing = { heartbeatMs: 100, graceMs: 80 };

  test("no preface, or half of one: cut without a word", async () => {
    const { raw, listener } = await start({ timing });
    const [one, two] = [raw(), raw()];
    two.write("backtalk");
    await Promise.all([one, two].map((each) => each.until(() => each.isEnded || each.isClosed)));
    expect([one.bytes.length, two.bytes.length]).toEqual([0, 0]);
    await until(() => listener.size === 0);
  });

  test("on the port with TLS no handshake is no preface either", async () => {
    const { listener } = await start({ timing }, { hostname: "127.0.0.1", port: 0, tls: testCertificate() });
    const one = new Raw({ port: listener.port! });
    await one.until(() => one.isEnded || one.isClosed);
    await until(() => listener.size === 0);
  });

  test("silence is asked about; an answer keeps the connection, none closes it", async () => {
    const { open } = await start({ timing });
    const [alive, dead] = [await open(), await open()];
    await alive.hears("ping");
    alive.say({ type: "pong" });
    expect(await dead.closes()).toMatchObject({ code: 3008 });
    alive.say({ type: "pong" });
    await alive.hears("ping");
    expect(alive.isEnded).toBe(false);
  });

  test("a frame that takes too long is refused; meanwhile its bytes are a sign of life", async () => {
    const { open } = await start({ timing, limits: { bodyMs: 600 } });
    const one = await open();
    const frame = encodeFrame(JSON.stringify({ type: "call", id: 1, method: "s/echo", input: "x".repeat(1000) }));
    const began = performance.now();
    let at = 0;
    const timer = setInterval(() => one.write(frame.subarray(at, ++at)), 20);
    try {
      expect(await one.hears("fault")).toMatchObject({ fault: { code: "deadline_exceeded", limit: "bodyMs" } });
      expect(await one.closes()).toMatchObject({ code: 1008 });
    } finally {
      clearInterval(timer);
    }
    // Longer than silence would have been allowed.
    expect(performance.now() - began).toBeGreaterThan(500);
    expect(at).toBeGreaterThan(10);
  });

  test("many whole frames may take as long as they like", async () => {
    const { open } = await start({ timing, limits: { bodyMs: 150 } });
    const one = await open();
    // Always in the middle of one, but never long of the same.
    const halves = (id: number) => {
      const frame = encodeFrame(JSON.stringify({ type: "call", id, method: "s/echo", input: id }));
      return [frame.subarray(0, 7), frame.subarray(7)] as const;
    };
    one.write(halves(0)[0]);
    for (let id = 0; id < 20; id++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      one.write(Buffer.concat([halves(id)[1], halves(id + 1)[0]]));
      expect(await one.hears("result", id)).toMatchObject({ data: id });
    }
  });

  test("a client that does not end its side is cut after the close", async () => {
    const { open, listener } = await start({ timing });
    const one = await open();
    one.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    await one.closes();
    await until(() => listener.size === 0, "the cut");
  });
});

describe("a slow reader", () => {
  const kinds: readonly (readonly [string, () => TcpListenerOptions])[] = [
    ["TCP", () => HERE],
    ["TLS", () => ({ hostname: "127.0.0.1", port: 0, tls: testCertificate() })],
    ["a Unix socket", () => ({ unix: place() })],
  ];
  test.each(kinds)(
    "of events over %s holds no more than its buffer, and still gets all of them in order",
    async (_, of) => {
      const where = of();
      const { open, publish, core } = await start({ limits: { sendBufferBytes: 64 * 1024 } }, where);
      const via = "unix" in where ? "unix" : "tcp";
      const one = await open();
      one.socket.pause();
      one.say({ type: "subscribe", id: 1, topic: "news", after: "start", credit: 1_000_000 });
      const text = "x".repeat(10_000);
      for (let n = 0; n < 3000; n++) await publish(n, text);
      const sent = () => metric(core, "backtalk_events_sent_total", via);
      // 30 MB: what the kernel does not take waits in the log.
      await until(() => sent() > 0);
      expect(sent()).toBeLessThan(2000);
      one.socket.resume();
      const seen: number[] = [];
      while (seen.length < 3000) {
        const { events } = await one.hears("events", 1);
        for (const { data } of events) seen.push(data.n);
      }
      expect(seen).toEqual(Array.from({ length: 3000 }, (_, n) => n));
    },
    60_000,
  );

  // At once is what a busy server reads in one piece, all whose answers are gathered.
  test.each(["one by one", "at once"])(
    "of answers (%s) is refused more work, and closed when they have piled up",
    async (how) => {
      const limits = { bodyBytes: 1_000_000, sendBufferBytes: 100_000 };
      const { open, listener, core } = await start({ limits });
      const one = await open();
      one.socket.pause();
      const before = process.memoryUsage().rss;
      const calls = Array.from({ length: 400 }, (_, id) => {
        return { type: "call", id, method: "s/big", input: { chars: 900_000 } };
      });
      if (how === "at once") one.say(...calls);
      else for (const call of calls) one.say(call);
      const refused = () => Number(/code="resource_exhausted"\} (\d+)/.exec(core.metrics.text())?.[1] ?? 0);
      await until(() => refused() > 0 || listener.size === 0, "the refusal");
      expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
      one.destroy();
      await until(() => listener.size === 0);
    },
    60_000,
  );

  test("that never reads its many answers is closed", async () => {
    const { open, listener, gate } = await start({ limits: { bodyBytes: 200_000, sendBufferBytes: 10_000 } });
    const one = await open();
    one.socket.pause();
    for (let id = 0; id < 500; id++) one.say({ type: "call", id, method: "s/wait", input: 0 });
    await until(() => listener.size === 1);
    one.say({ type: "call", id: 501, method: "s/echo", input: 0 });
    one.socket.resume();
    await one.hears("result", 501);
    one.socket.pause();
    gate.resolve("y".repeat(100_000));
    await until(() => listener.size === 0, "the close");
  }, 60_000);
});

describe("credentials", () => {
  const users: Partial<CoreOptions> = {
    authenticate: ({ bearer, via, address }) => {
      if (bearer === undefined || bearer === "bad") throw new Fault("unauthenticated", `no ${bearer} over ${via}`);
      return { id: `${bearer} ${via} ${address}` };
    },
    timing: { heartbeatMs: 100, graceMs: 80 },
  };

  test("come first; what is sent behind them waits", async () => {
    const { open } = await start(users);
    const one = await open();
    one.say({ type: "auth", token: "ann" }, { type: "call", id: 1, method: "s/echo", input: 1 });
    expect(await one.hears("auth")).toMatchObject({ principal: "ann tcp 127.0.0.1" });
    await one.hears("result", 1);
  });

  test("none, bad ones, and silence close with 4401", async () => {
    const { open } = await start(users);
    const [none, bad, silent] = [await open(), await open(), await open()];
    none.say({ type: "call", id: 1, method: "s/echo", input: 1 });
    bad.say({ type: "auth", token: "bad" });
    for (const each of [none, bad, silent]) {
      expect(await each.hears("fault")).toMatchObject({ fault: { code: "unauthenticated" } });
      expect(await each.closes()).toMatchObject({ code: 4401 });
    }
  });
});

describe("the server goes", () => {
  test("readers are told at once, answers come first, then it closes; whoever comes now is sent away", async () => {
    const { open, raw, core, gate, listener } = await start({ drainMs: 5000, timing: { spreadMs: 1000 } });
    const [reader, caller, silent] = [await open(), await open(), raw()];
    reader.say({ type: "subscribe", id: 1, topic: "news", credit: 1 });
    await reader.hears("events", 1);
    caller.say(
      { type: "call", id: 1, method: "s/wait", input: 0 },
      { type: "call", id: 2, method: "s/echo", input: 2 },
    );
    await caller.hears("result", 2);
    await silent.until(() => listener.size === 3);
    const drained = core.drain();
    expect(await reader.hears("goaway")).toMatchObject({ reason: "draining", retryAfterMs: expect.any(Number) });
    expect(await reader.closes()).toMatchObject({ code: 1001 });
    expect(await silent.closes()).toMatchObject({ code: 1001 });
    const late = raw();
    late.write(PREFACE);
    await late.hears("goaway");
    expect(await late.closes()).toMatchObject({ code: 1001 });
    expect(caller.isEnded).toBe(false);
    gate.resolve("in time");
    expect(await caller.hears("result", 1)).toMatchObject({ data: "in time" });
    expect(await caller.closes()).toMatchObject({ code: 1001 });
    await drained;
    // None of these ends its side: they are cut.
    const began = performance.now();
    await listener.stop(100);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(listener.size).toBe(0);
  });

  test("and takes no new connection after its stop", async () => {
    const { listener } = await start();
    await listener.stop();
    const one = new Raw({ port: listener.port! });
    await one.until(() => one.isClosed);
  });
});

describe("a port", () => {
  test("that is taken is a fault that names it", async () => {
    const { core, listener } = await start();
    const fault = await faultOf(
      () => tcpListener(core, { hostname: "127.0.0.1", port: listener.port!, option: "--tcp-port" }),
      "unavailable",
    );
    expect(fault.detail).toEqual({ port: listener.port! });
    expect(fault.hint).toContain("--tcp-port");
  });

  test("of another machine, and a certificate that cannot serve", async () => {
    const { core } = await start();
    await faultOf(() => tcpListener(core, { hostname: "192.0.2.1", port: 0 }), "invalid_argument");
    const tls = { cert: "no", key: "no" };
    await faultOf(() => tcpListener(core, { hostname: "127.0.0.1", port: 0, tls }), "invalid_argument");
  });
});

describe("a Unix socket", () => {
  test("is for its owner alone unless told otherwise, and goes with its server", async () => {
    const [unix, open] = [place(), place()];
    const { listener } = await start({}, { unix });
    const { listener: other } = await start({}, { unix: open, mode: 0o660 });
    expect(listener).toMatchObject({ url: `unix:${unix}`, port: undefined });
    expect([unix, open].map((path) => (statSync(path).mode & 0o777).toString(8))).toEqual(["600", "660"]);
    await Promise.all([listener.stop(), other.stop()]);
    expect([existsSync(unix), existsSync(open)]).toEqual([false, false]);
  });

  test("has callers without an address, and counts them as its own transport", async () => {
    let address: string | undefined = "?";
    const authenticate: CoreOptions["authenticate"] = (shown) => {
      address = shown.address;
      return { id: shown.via };
    };
    const { open, core } = await start({ authenticate }, { unix: place() });
    const one = await open();
    one.say({ type: "auth", token: "x" }, { type: "call", id: 1, method: "s/echo", input: 1 });
    expect(await one.hears("auth")).toMatchObject({ principal: "unix" });
    await one.hears("result", 1);
    expect(address).toBeUndefined();
    expect(metric(core, "backtalk_connections", "unix")).toBe(1);
  });

  test("of a dead server is replaced, of a living one is not", async () => {
    const unix = place();
    const code = `Bun.listen({ unix: ${JSON.stringify(unix)}, socket: { data() {} } }); console.log("up");`;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe" });
    await child.stdout.getReader().read();
    const { core } = await start();
    const fault = await faultOf(() => tcpListener(core, { unix }), "unavailable");
    expect(fault).toMatchObject({ retryable: false, message: expect.stringContaining(unix) });
    child.kill("SIGKILL");
    await child.exited;
    expect(existsSync(unix)).toBe(true);
    const { open } = await start({}, { unix });
    await open();
  });

  test("needs a path that is short enough, free, and in a directory", async () => {
    const { core } = await start();
    const long = await faultOf(() => tcpListener(core, { unix: `/tmp/${"x".repeat(110)}` }), "invalid_argument");
    expect(long.message).toContain("has 115");
    await faultOf(() => tcpListener(core, { unix: "" }), "invalid_argument");
    await faultOf(() => tcpListener(core, { unix: place("no/such/s") }), "not_found");
    const file = place();
    writeFileSync(file, "mine");
    await faultOf(() => tcpListener(core, { unix: file }), "failed_precondition");
    expect(statSync(file).size).toBe(4);
  });
});
