import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { z } from "zod";
import { service, topic, unary } from "../../contract/index.ts";
import { createCore, memoryStore } from "../../server.ts";
import { type Served, serveWebSocket, Talker } from "./testing.ts";

const core = createCore(
  service("s", {
    echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
    news: topic({ event: z.object({ n: z.number() }) }),
  }),
  { store: memoryStore(), limits: { bodyBytes: 10_000 } },
);
let served: Served;
beforeAll(async () => {
  await core.start();
  served = serveWebSocket(core, 0, { deflate: true });
});
afterAll(async () => {
  await served.server.stop(true);
  await core.close();
});

const HANDSHAKE = {
  Host: "localhost",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Protocol": "backtalk.v1",
};

/** Bytes as they come; `ended` when the server has closed. */
class Raw {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;
  #wake = (): void => {};

  constructor() {
    this.socket = connect(served.server.port!, "127.0.0.1");
    this.socket.on("data", (data) => {
      this.received = Buffer.concat([this.received, data as Buffer]);
      this.#wake();
    });
    for (const event of ["end", "close", "error"]) {
      this.socket.on(event, () => {
        this.ended = true;
        this.#wake();
      });
    }
  }

  static async open(fields: Record<string, string> = {}): Promise<Raw> {
    const raw = new Raw();
    const lines = Object.entries({ ...HANDSHAKE, ...fields }).map(([name, value]) => `${name}: ${value}\r\n`);
    raw.socket.write(`GET /ws HTTP/1.1\r\n${lines.join("")}\r\n`);
    await raw.until(() => raw.text.includes("\r\n\r\n"));
    return raw;
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  async until(condition: () => boolean): Promise<void> {
    const limit = AbortSignal.timeout(30_000);
    while (!condition()) {
      if (limit.aborted) throw new Error(`in vain: ${JSON.stringify(this.text.slice(0, 500))}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        limit.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }
}

/** RFC 6455 §5.2. */
function frame(
  opcode: number,
  payload: Uint8Array | string,
  options: { fin?: boolean; mask?: boolean; rsv?: number } = {},
) {
  const { fin = true, mask = true, rsv = 0 } = options;
  const data = Buffer.from(payload as string);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const length = data.length < 126 ? [data.length] : [126, data.length >> 8, data.length & 0xff];
  length[0]! |= mask ? 0x80 : 0;
  const key = [1, 2, 3, 4];
  const body = mask ? data.map((byte, i) => byte ^ key[i % 4]!) : data;
  return Buffer.concat([Buffer.from([first, ...length, ...(mask ? key : [])]), body]);
}

async function stillServes(): Promise<void> {
  const talker = await Talker.open(served.url);
  talker.say({ type: "call", id: 1, method: "s/echo", input: "alive" });
  expect(await talker.hears("result", 1)).toMatchObject({ data: "alive" });
  talker.close();
}

const PONG = '{"type":"pong"}';

describe("frames that break RFC 6455 close the connection, and the server lives", () => {
  const broken: Readonly<Record<string, Uint8Array>> = {
    "a frame without a mask (§5.1)": frame(1, PONG, { mask: false }),
    "text that is no UTF-8 (§8.1)": frame(1, Buffer.from([0xff, 0xfe, 0x80])),
    "a code point above U+10FFFF (§8.1)": frame(1, Buffer.from([0xf4, 0x90, 0x80, 0x80])),
    "a message above the limit": frame(1, "x".repeat(20_000)),
    "a message of 2^62 bytes": Buffer.from([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    "fragments that together are above the limit": Buffer.concat([
      frame(1, "x".repeat(6_000), { fin: false }),
      frame(0, "x".repeat(6_000)),
    ]),
    "a control frame in fragments (§5.5)": frame(9, "hi", { fin: false }),
    "a control frame above 125 bytes (§5.5)": frame(9, "x".repeat(200)),
    "reserved bit 2 (§5.2)": frame(1, PONG, { rsv: 2 }),
    "reserved bit 3 (§5.2)": frame(1, PONG, { rsv: 1 }),
    "a reserved opcode (§5.2)": frame(3, PONG),
    "a reserved control opcode (§5.2)": frame(11, ""),
    "a continuation of nothing (§5.4)": frame(0, PONG),
    "a close frame of one byte (§5.5.1)": frame(8, Buffer.from([3])),
    "compressed data that was not agreed on (RFC 7692 §6)": frame(1, Buffer.from([0xff, 0xff, 0xff]), { rsv: 4 }),
  };
  for (const [what, bytes] of Object.entries(broken)) {
    test(what, async () => {
      const raw = await Raw.open();
      expect(raw.text).toStartWith("HTTP/1.1 101");
      raw.socket.write(bytes);
      await raw.until(() => raw.ended);
      await stillServes();
    });
  }

  test("a new message inside a fragmented one (§5.4)", async () => {
    const raw = await Raw.open();
    raw.socket.write(Buffer.concat([frame(1, '{"type":', { fin: false }), frame(1, PONG), frame(1, PONG)]));
    await raw.until(() => raw.ended || raw.text.includes("fault"));
    raw.socket.destroy();
    await stillServes();
  });

  test("a compressed bomb is closed at the limit of what it unfolds to", async () => {
    const raw = await Raw.open({ "Sec-WebSocket-Extensions": "permessage-deflate" });
    expect(raw.text).toContain("permessage-deflate");
    const bomb = Bun.deflateSync(Buffer.alloc(5_000_000, "a"));
    raw.socket.write(frame(1, bomb, { rsv: 4 }));
    await raw.until(() => raw.ended);
    await stillServes();
  });

  test("a message in many fragments, with a ping between, is one message", async () => {
    const raw = await Raw.open();
    const text = JSON.stringify({ type: "call", id: 5, method: "s/echo", input: "in pieces" });
    const frames = [...text].map((char, i) => frame(i === 0 ? 1 : 0, char, { fin: i === text.length - 1 }));
    for (const [i, each] of frames.entries()) {
      raw.socket.write(each);
      if (i === 10) raw.socket.write(frame(9, "p"));
    }
    await raw.until(() => raw.text.includes('"data":"in pieces"'));
    expect(raw.text).toContain("\x8a\x01p");
    raw.socket.destroy();
  });

  test("bytes at random, by seed", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const raw = await Raw.open();
      const bytes = Buffer.alloc(600);
      let state = seed * 2654435761;
      for (let i = 0; i < bytes.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        bytes[i] = state >>> 24;
      }
      raw.socket.write(bytes);
      raw.socket.end();
      await raw.until(() => raw.ended);
      raw.socket.destroy();
    }
    await stillServes();
  });

  test("half a handshake, half a frame, and a connection that is cut leave nothing", async () => {
    const half = connect(served.server.port!, "127.0.0.1");
    half.write("GET /ws HTTP/1.1\r\nHost: x\r\n");
    const raw = await Raw.open();
    raw.socket.write(frame(1, PONG).subarray(0, 4));
    raw.socket.resetAndDestroy();
    half.destroy();
    await stillServes();
    while (served.handlers.size > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  });
});

describe("a handshake that is refused says why", () => {
  const refused: readonly (readonly [what: string, fields: Record<string, string>, status: number])[] = [
    ["another subprotocol", { "Sec-WebSocket-Protocol": "chat" }, 400],
    ["an old version (RFC 6455 §4.4)", { "Sec-WebSocket-Version": "8" }, 426],
    ["no upgrade", { Upgrade: "h2c" }, 426],
    ["a page of another origin", { Origin: "https://evil.example" }, 403],
    ["a page without an origin of its own", { Origin: "null" }, 403],
    ["a page whose origin only begins like ours", { Origin: "http://localhost.evil.example" }, 403],
  ];
  for (const [what, fields, status] of refused) {
    test(what, async () => {
      const raw = await Raw.open(fields);
      expect(raw.text).toStartWith(`HTTP/1.1 ${status}`);
      expect(raw.text).toContain("application/problem+json");
      await raw.until(() => raw.text.includes('"hint"'));
      raw.socket.destroy();
    });
  }

  test("the own origin is taken, and one of several subprotocols", async () => {
    const protocols = { "Sec-WebSocket-Protocol": "chat, backtalk.v1" };
    const raw = await Raw.open({ Origin: "http://localhost", ...protocols });
    expect(raw.text).toStartWith("HTTP/1.1 101");
    expect(raw.text.toLowerCase()).toContain("sec-websocket-protocol: backtalk.v1\r\n");
    raw.socket.destroy();
  });
});

describe("messages that make no sense", () => {
  test("each gets a fault, and the socket goes on", async () => {
    const talker = await Talker.open(served.url);
    talker.say("{", "[]", '{"type":"nothing"}', new Uint8Array([1, 2, 3]), '{"type":"call","id":"x"}');
    for (let n = 0; n < 5; n++) expect((await talker.hears("fault"))["fault"].code).toBe("invalid_argument");
    talker.say({ type: "call", id: 3, method: 5 });
    expect(await talker.hears("fault", 3)).toMatchObject({ fault: { fields: [{ path: "method" }] } });
    talker.say({ type: "credit", id: 99, n: 5 }, { type: "leave", id: 99 }, { type: "cancel", id: 99 });
    await talker.settles();
    expect(talker.heard).toEqual([]);
    talker.close();
  });

  test("a hundred of them close it", async () => {
    const talker = await Talker.open(served.url);
    for (let n = 0; n < 100; n++) talker.say("nonsense");
    expect(await talker.isClosed()).toMatchObject({ code: 1008 });
  });

  test("addresses of the peer are no methods, and names do not break out of theirs", async () => {
    const talker = await Talker.open(served.url);
    for (const method of ["calls/x", "topics/news", "s/../s/echo", "__proto__", "s/constructor"]) {
      talker.say({ type: "call", id: 1, method, input: 1 });
      expect((await talker.hears("fault", 1))["fault"].code).toBe("not_found");
    }
    talker.say({ type: "attach", id: 1, call: "../topics/news", credit: 1 });
    expect((await talker.hears("fault", 1))["fault"].code).toBe("not_found");
    talker.say({ type: "subscribe", id: 1, topic: "news", after: "zzz", credit: 1 });
    expect((await talker.hears("fault", 1))["fault"].code).toBe("invalid_argument");
    talker.close();
  });
});
