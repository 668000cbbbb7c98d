/** When the client sends, sends again and gives up: by a clock and randomness of the test. */
import { afterEach, describe, expect, test } from "bun:test";
import { createSocket, type Socket } from "node:dgram";
import { faultOf, open, until } from "../../../suites/transport/world.ts";
import type { Exchange } from "../../contract/index.ts";
import type { Fault } from "../../log/index.ts";
import {
  bodyObject,
  DATAGRAM,
  type Datagram,
  type DatagramType,
  encodeDatagram,
  jsonBytes,
  parseDatagram,
} from "../../wire/datagram.ts";
import { type Clock, type UdpPeer, type UdpPeerOptions, udpPeer } from "./client.ts";
import { Window } from "./client-window.ts";

const ending: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ending.splice(0).reverse()) end();
});

/** Time goes on when the test says so. */
class ManualClock implements Clock {
  time = 0;
  readonly timers = new Set<{ at: number; run: () => void }>();

  now = () => this.time;

  after = (ms: number, run: () => void) => {
    const timer = { at: this.time + ms, run };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  };

  /** To the next timer. */
  next(): number {
    const first = [...this.timers].sort((a, b) => a.at - b.at)[0]!;
    this.timers.delete(first);
    this.time = first.at;
    first.run();
    return this.time;
  }
}

/** A server that says what the test tells it to. */
class Answerer {
  readonly heard: (Datagram & { readonly port: number; readonly json: Record<string, unknown> | undefined })[] = [];
  readonly #socket: Socket = createSocket("udp4");

  static async start(): Promise<Answerer> {
    const made = new Answerer();
    made.#socket.on("message", (received, { port }) => {
      const datagram = parseDatagram(Uint8Array.from(received))!;
      made.heard.push({ ...datagram, port, json: bodyObject(datagram.body) });
    });
    await new Promise<void>((resolve) => made.#socket.bind(0, "127.0.0.1", resolve));
    ending.push(() => made.#socket.close());
    return made;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  asks(): number {
    return this.heard.filter(({ type }) => type === DATAGRAM.ask).length;
  }

  say(type: DatagramType, json?: object, to = this.heard.at(-1)!, token?: Uint8Array): void {
    this.#socket.send(encodeDatagram(type, to.id, json && jsonBytes(json), token), to.port, "127.0.0.1");
  }
}

const TOKEN = Uint8Array.from({ length: 32 }, (_, n) => n);
const OTHER = Uint8Array.from({ length: 32 }, (_, n) => 255 - n);

async function world(options: Partial<UdpPeerOptions> = {}) {
  const clock = new ManualClock();
  const server = await Answerer.start();
  const peer: UdpPeer = udpPeer({ url: `udp://127.0.0.1:${server.port}`, clock, random: () => 0, ...options });
  ending.push(() => peer.close());
  const result = (rest: Parameters<typeof open>[2] = {}) => {
    const ended = open(peer, "s/m", { input: 1, ...rest }).then((exchange: Exchange) => exchange.result());
    ended.catch(() => {});
    return ended;
  };
  /** Answers the first question, so that there is a token. */
  const met = async () => {
    const first = result();
    await until(() => server.asks() === 1, "the question");
    server.say(DATAGRAM.retry, { sinceMs: 1e9 }, undefined, TOKEN);
    await until(() => server.asks() === 2, "the question again");
    server.say(DATAGRAM.result, { result: "first" });
    expect(await first).toBe("first");
    server.heard.length = 0;
  };
  return { clock, server, peer, result, met };
}

describe("a question without an answer", () => {
  test("is sent six times, each wait twice as long, then given up", async () => {
    const { clock, server, result } = await world();
    const ended = result();
    const times = [0];
    await until(() => server.asks() === 1, "the question");
    for (let n = 2; n <= 6; n++) {
      times.push(clock.next());
      await until(() => server.asks() === n, `question ${n}`);
    }
    expect(times).toEqual([0, 1_000, 3_000, 7_000, 15_000, 31_000]);
    expect(clock.next()).toBe(63_000);
    expect(await faultOf(() => ended)).toMatchObject({ code: "unavailable", retryable: true, detail: { sent: false } });
    expect(new Set(server.heard.map(({ id }) => id)).size).toBe(1);
    expect(clock.timers.size).toBe(0);
  });

  test("with a token may have run: nobody says that it was not sent", async () => {
    const { clock, server, result, met } = await world();
    await met();
    const ended = result();
    await until(() => server.asks() === 1, "the question");
    while (clock.timers.size > 0) clock.next();
    const fault: Fault = await faultOf(() => ended, "unavailable");
    expect(fault.detail).toBeUndefined();
  });

  test("is not repeated when the server may have forgotten it: 60 s after the first time", async () => {
    const { clock, server, result, met } = await world({ random: () => 0.999 });
    await met();
    // Slow answers, until the RTO is at its most.
    for (let n = 0; n < 20; n++) {
      const slow = result();
      await until(() => server.asks() === n + 1, "the question");
      clock.time += 20_000;
      server.say(DATAGRAM.result, {});
      await slow;
    }
    server.heard.length = 0;
    const ended = result();
    await until(() => server.asks() === 1, "the question");
    const from = clock.time;
    let last = from;
    for (let n = 1; clock.timers.size > 0; n = server.asks()) {
      const at = clock.next();
      if (clock.timers.size === 0) break;
      last = at;
      await until(() => server.asks() === n + 1, "the question again");
    }
    expect((await faultOf(() => ended)).code).toBe("unavailable");
    expect(server.asks()).toBeLessThan(6);
    expect(last - from).toBeLessThanOrEqual(60_000);
  });

  test("has jitter of up to half of each wait", async () => {
    const { clock, server, result } = await world({ random: () => 0.999_999 });
    result();
    await until(() => server.asks() === 1, "the question");
    expect(Math.round(clock.next())).toBe(1_500);
  });
});

describe("a call that takes long", () => {
  test("is asked about less and less often, for as long as the server says that it runs", async () => {
    const { clock, server, result, met } = await world();
    await met();
    const ended = result();
    await until(() => server.asks() === 1, "the question");
    const waits: number[] = [];
    for (let n = 1; n < 12; n++) {
      const before = clock.timers;
      server.say(DATAGRAM.running);
      const was = [...before][0];
      if (n === 1) await until(() => ![...clock.timers].includes(was!), "the timer to be set anew");
      else await new Promise((resolve) => setTimeout(resolve, 5));
      const from = clock.time;
      waits.push(clock.next() - from);
      await until(() => server.asks() === n + 1, "the question again");
    }
    expect(waits.slice(0, 6)).toEqual([2_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    server.say(DATAGRAM.result, { result: "late" });
    expect(await ended).toBe("late");
  });
});

describe("a retry", () => {
  test("is believed when the question cannot have run before, and not when it can", async () => {
    const { clock, server, result, met } = await world();
    await met();
    for (const [sinceMs, rest, isAsked] of [
      [501, {}, true],
      [500, {}, false],
      [0, { key: "k" }, true],
    ] as const) {
      server.heard.length = 0;
      const ended = result(rest);
      await until(() => server.asks() === 1, "the question");
      clock.time += 500;
      server.say(DATAGRAM.retry, { sinceMs }, undefined, OTHER);
      if (!isAsked) {
        const fault = await faultOf(() => ended, "unavailable");
        expect(fault.message).toContain("restarted");
        expect(server.asks()).toBe(1);
        await met2(server, result);
        continue;
      }
      await until(() => server.asks() === 2, "the question again");
      expect([...server.heard[1]!.token]).toEqual([...OTHER]);
      server.say(DATAGRAM.result, { result: "there" });
      expect(await ended).toBe("there");
      await met2(server, result);
    }

    /** Back to the first token. */
    async function met2(answerer: Answerer, ask: typeof result): Promise<void> {
      answerer.heard.length = 0;
      const again = ask();
      await until(() => answerer.asks() === 1, "the question");
      answerer.say(DATAGRAM.retry, { sinceMs: 1e9 }, undefined, TOKEN);
      await until(() => answerer.asks() === 2, "the question again");
      answerer.say(DATAGRAM.result, {});
      await again;
    }
  });

  test("for one question does not change the token of another that was sent", async () => {
    const { clock, server, result, met } = await world();
    await met();
    const [one, two] = [result(), result()];
    await until(() => server.asks() === 2, "both");
    const [first, second] = server.heard;
    server.say(DATAGRAM.retry, { sinceMs: 1e9 }, first, OTHER);
    await until(() => server.asks() === 3, "the first again");
    clock.next();
    await until(() => server.heard.filter(({ id }) => id === second!.id).length === 2, "the second again");
    const tokens = server.heard.filter(({ id }) => id === second!.id).map(({ token }) => [...token]);
    expect(tokens).toEqual([[...TOKEN], [...TOKEN]]);
    for (const each of [first!, second!]) server.say(DATAGRAM.result, { result: each.id }, each);
    expect(await Promise.all([one, two])).toEqual([first!.id, second!.id]);
  });
});

describe("answers", () => {
  test("to nothing, of no kind, or twice, change nothing", async () => {
    const { server, result } = await world();
    const ended = result();
    await until(() => server.asks() === 1, "the question");
    const asked = server.heard[0]!;
    server.say(DATAGRAM.result, { result: "of somebody else" }, { ...asked, id: "00".repeat(8) });
    server.say(DATAGRAM.ask, { result: "no answer" });
    server.say(DATAGRAM.result, { result: "right" });
    server.say(DATAGRAM.result, { result: "twice" });
    expect(await ended).toBe("right");
  });

  test("that give up tell the server, that wait for the deadline do not wait longer", async () => {
    const { server, result, met, clock } = await world({ now: () => 5_000 });
    await met();
    const abort = new AbortController();
    const given = result({ signal: abort.signal });
    await until(() => server.asks() === 1, "the question");
    abort.abort();
    expect((await faultOf(() => given)).code).toBe("cancelled");
    await until(() => server.heard.some(({ type }) => type === DATAGRAM.stop), "stop");
    const late = result({ deadline: 5_700 });
    await until(() => server.asks() === 2, "the question");
    expect(server.heard.at(-1)!.json).toMatchObject({ timeoutMs: 700 });
    const until700 = clock.time + 700;
    while (clock.time < until700) clock.next();
    expect((await faultOf(() => late)).code).toBe("deadline_exceeded");
  });
});

describe("the client", () => {
  test("says at once what UDP does not carry, and sends nothing", async () => {
    const { server, peer } = await world();
    await faultOf(() => open(peer, "topics/news"), "unimplemented");
    const exchange = await open(peer, "calls/c1");
    const read = await faultOf(async () => {
      for await (const _ of exchange.read({ from: "start", follow: true })) return;
    }, "unimplemented");
    expect(read.hint).toContain("another transport");
    await faultOf(() => exchange.append({ items: [1] }), "unimplemented");
    const large = await faultOf(async () => (await open(peer, "s/m", { input: "x".repeat(1_200) })).result());
    expect(large).toMatchObject({ code: "resource_exhausted", limit: "datagramBytes", detail: { sent: false } });
    expect(server.heard).toEqual([]);
  });

  test("is told when nobody listens: after the second time, and that nothing was sent", async () => {
    const { clock } = await world();
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    const { port } = socket.address();
    await new Promise<void>((resolve) => socket.close(resolve));
    const nobody = udpPeer({ url: `udp://127.0.0.1:${port}`, clock, random: () => 0 });
    ending.push(() => nobody.close());
    let isOver = false;
    const ended = open(nobody, "s/m").then((exchange) => exchange.result());
    ended.catch(() => {
      isOver = true;
    });
    // What the kernel says comes some time after the question.
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (clock.timers.size > 0) clock.next();
    }
    const fault = await faultOf(() => ended, "unavailable");
    expect(fault.message).toContain("nobody listens");
    expect([fault.detail, (fault.cause as { code?: string }).code]).toEqual([{ sent: false }, "ECONNREFUSED"]);
  });

  test("goes on to the other address of a name when nobody listens at the first", async () => {
    const { server } = await world();
    // Of 127/8 all are this machine's, on Linux; the server listens at the first only.
    const addresses = ["127.0.0.9", "127.0.0.1"].map((address) => ({ address, family: 4 }));
    const peer = udpPeer({ url: `udp://both:${server.port}`, lookup: async () => addresses });
    ending.push(() => peer.close());
    const ended = open(peer, "s/m").then((exchange) => exchange.result());
    await until(() => server.asks() === 1, "the question");
    server.say(DATAGRAM.result, { result: "here" });
    expect(await ended).toBe("here");
    // Credentials stay here only when all of its addresses are here.
    const mixed = [
      { address: "127.0.0.1", family: 4 },
      { address: "192.0.2.1", family: 4 },
    ];
    const shy = udpPeer({ url: `udp://both:${server.port}`, lookup: async () => mixed, token: "secret" });
    ending.push(() => shy.close());
    await faultOf(async () => (await open(shy, "s/m")).result(), "permission_denied");
  });

  test("takes addresses of its kind only", async () => {
    for (const url of ["http://x", "udp://", "udp://h:1/path", "udp://u@h", "h:1", "udp://h:99999"]) {
      expect(await faultOf(() => udpPeer({ url }))).toMatchObject({ code: "invalid_argument" });
    }
    const nowhere = udpPeer({ url: "udp://nowhere.invalid" });
    const fault = await faultOf(async () => (await open(nowhere, "s/m")).result(), "unavailable");
    expect(fault.detail).toEqual({ sent: false });
    nowhere.close();
    expect((await faultOf(async () => (await open(nowhere, "s/m")).result())).code).toBe("cancelled");
  });

  test("shows no credentials in its trace", async () => {
    const lines: string[] = [];
    const { server, result } = await world({ token: "secret", apiKey: "secret", trace: (_, text) => lines.push(text) });
    result();
    await until(() => server.asks() === 1, "the question");
    expect(server.heard[0]!.json).toMatchObject({ token: "secret", apiKey: "secret" });
    expect(lines.join("\n")).toContain("s/m");
    expect(lines.join("\n")).not.toContain("secret");
  });
});

describe("the window", () => {
  test("RTO: 1 s at first, then by RFC 6298, from 250 ms to 4 s", () => {
    const window = new Window(() => 0);
    expect(window.timeoutMs).toBe(1_000);
    window.measured(200);
    // SRTT 200, RTTVAR 100.
    expect(window.timeoutMs).toBe(600);
    window.measured(400);
    // RTTVAR 3/4 100 + 1/4 200 = 125, SRTT 7/8 200 + 1/8 400 = 225.
    expect(window.timeoutMs).toBe(725);
    for (let n = 0; n < 50; n++) window.measured(1);
    expect(window.timeoutMs).toBe(250);
    for (let n = 0; n < 50; n++) window.measured(60_000);
    expect(window.timeoutMs).toBe(4_000);
  });

  test("grows by one for each window, is halved at a loss, and stays between 1 and 64", () => {
    const window = new Window(() => 0);
    expect(window.size).toBe(4);
    for (let n = 0; n < 5; n++) window.measured(1);
    expect(window.size).toBe(5);
    for (let n = 0; n < 5_000; n++) window.measured(1);
    expect(window.size).toBe(64);
    for (const now of [0, 0, 100, 249]) window.lost(now);
    expect(window.size).toBe(32);
    for (let n = 1; n < 20; n++) window.lost(n * 250);
    expect(window.size).toBe(1);
  });

  test("holds questions back", async () => {
    const { server, result } = await world();
    const ended = Array.from({ length: 10 }, () => result());
    await until(() => server.asks() === 4, "the first window");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(server.asks()).toBe(4);
    for (let n = 0; n < 10; n++) {
      await until(() => server.heard.length > n, "another one");
      server.say(DATAGRAM.result, { result: 1 }, server.heard[n]);
    }
    expect(await Promise.all(ended)).toEqual(Array(10).fill(1));
  });
});
