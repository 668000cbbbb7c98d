/**
 * Hostile input at every door of a real server process: a clear fault or a closed connection, the server
 * lives, and its memory returns. HOSTILE_SEED=N repeats what is random.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { type ServerProcess, startIdle, startServer } from "../crash/process.ts";
import { toolsOf } from "../store/case.ts";
import { until } from "../transport/world.ts";
import { closeCode, frame, post, rawWebSocket, request, say } from "./raw.ts";

const seed = Number(process.env["HOSTILE_SEED"] ?? 1);
const limits = { bodyBytes: 1_000_000, bodyMs: 1_000, callBytes: 4_000_000, itemBytes: 500_000, heldPolls: 50 };
let server: ServerProcess;
let before: number;

beforeAll(async () => {
  server = await startServer({
    service: fileURLToPath(new URL("service.ts", import.meta.url)),
    port: 0,
    tlsPort: 0,
    users: true,
    limits,
    idleSeconds: 20,
    timing: { heartbeatMs: 60_000 },
  });
  // Warm: what a server takes once is not what it loses.
  for (let i = 0; i < 50; i++)
    await fetch(`${url()}/t/echo`, { method: "POST", body: JSON.stringify("x".repeat(100_000)) });
  before = (await memory()).rss;
}, 60_000);

afterEach(async () => {
  const response = await fetch(`${url()}/healthz`, { signal: AbortSignal.timeout(20_000) });
  expect(response.status).toBe(200);
});

afterAll(async () => {
  await server.kill();
});

const url = () => `http://127.0.0.1:${server.port}`;
const memory = async () => (await (await fetch(`${url()}/memory`)).json()) as { rss: number; sockets: number };
const nothing = "c00000000000000000000000000";

interface Row {
  readonly name: string;
  readonly bytes: () => readonly (string | Uint8Array)[];
  /** The statuses that are right; 0: closed without an answer. */
  readonly expect: readonly number[];
  /** A member of the fault. */
  readonly fault?: string;
}

const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const rows: readonly Row[] = [
  { name: "not JSON", bytes: () => [post("/t/echo", "{not json")], expect: [400], fault: "invalid_argument" },
  { name: "half of a JSON text", bytes: () => [post("/t/echo", '{"a":')], expect: [400] },
  {
    name: "bytes that are not UTF-8",
    bytes: () => [
      post("/t/echo", "").replace("Content-Length: 0", "Content-Length: 4"),
      Uint8Array.of(34, 255, 254, 34),
    ],
    expect: [200, 400],
  },
  {
    name: "JSON nested 100,000 deep",
    bytes: () => [post("/t/echo", deep(100_000))],
    expect: [400],
    fault: "jsonDepth",
  },
  {
    name: "JSON nested 100,000 deep, never closed",
    bytes: () => [post("/t/echo", "[".repeat(100_000))],
    expect: [400],
  },
  {
    name: "a body beyond the limit",
    bytes: () => [post("/t/echo", `"${"x".repeat(1_100_000)}"`)],
    expect: [413, 0],
    fault: "bodyBytes",
  },
  {
    name: "a chunked body beyond the limit",
    bytes: () => [chunked("/t/echo", Array(20).fill("x".repeat(100_000)))],
    expect: [413, 0],
  },
  {
    name: "a body announced as 2^53 bytes",
    bytes: () => [post("/t/echo", "").replace("Content-Length: 0", "Content-Length: 9007199254740992")],
    expect: [413, 400, 0],
  },
  { name: "a number beyond all numbers", bytes: () => [post("/t/double", '{"n":1e999}')], expect: [400] },
  { name: "wrong types", bytes: () => [post("/t/double", '{"n":{"$gt":""}}')], expect: [400], fault: "fields" },
  { name: "no object at all", bytes: () => [post("/t/double", "null")], expect: [400] },
  { name: "an array for an object", bytes: () => [post("/t/nested", "[[],[]]")], expect: [400] },
  {
    name: "__proto__",
    bytes: () => [post("/t/echo", '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}')],
    expect: [200],
  },
  { name: "__proto__ as a method", bytes: () => [post("/t/__proto__", "{}")], expect: [404] },
  { name: "constructor as a service", bytes: () => [post("/constructor/prototype", "{}")], expect: [404] },
  { name: "toString as a topic", bytes: () => [post("/topics/toString", "{}")], expect: [404] },
  { name: "an unknown method", bytes: () => [post("/t/nothing_like_it", "{}")], expect: [404], fault: "not_found" },
  { name: "another media type", bytes: () => [post("/t/echo", "<a/>", { "Content-Type": "text/xml" })], expect: [415] },
  { name: "a compressed body", bytes: () => [post("/t/echo", "xxxx", { "Content-Encoding": "gzip" })], expect: [415] },
  { name: "an unknown method of HTTP", bytes: () => [request("BREW", "/t/echo")], expect: [405, 400, 501, 0] },
  { name: "a GET of an unsafe method", bytes: () => [request("GET", "/t/echo")], expect: [405] },
  { name: "a GET whose input is not JSON", bytes: () => [request("GET", "/t/double?input=%7Bx")], expect: [400] },
  {
    name: "a GET whose input is no URL encoding",
    bytes: () => [request("GET", "/t/double?input=%E0%A4%A")],
    expect: [400],
  },
  {
    name: "a cursor that is none",
    bytes: () => [request("GET", "/topics/ticks?after=drop%20table")],
    expect: [400],
    fault: "after",
  },
  {
    name: "a cursor of another log",
    bytes: () => [request("GET", "/topics/ticks?after=zzzzzzzz-b10")],
    expect: [200],
    fault: "reset",
  },
  {
    name: "a cursor of a megabyte",
    bytes: () => [request("GET", `/topics/ticks?after=${"a".repeat(1_000_000)}`)],
    expect: [414, 400, 431, 0],
  },
  {
    name: "a Last-Event-ID with a NUL",
    bytes: () => [request("GET", "/topics/ticks", { Accept: "text/event-stream", "Last-Event-ID": "a\u0000b" })],
    expect: [400, 0],
  },
  { name: "a call that never was", bytes: () => [request("GET", `/calls/${nothing}`)], expect: [404] },
  {
    name: "items for a call that never was",
    bytes: () => [post(`/calls/${nothing}/items?seq=0`, "[1]")],
    expect: [404],
  },
  { name: "a cancel of a call that never was", bytes: () => [request("DELETE", `/calls/${nothing}`)], expect: [404] },
  { name: "a path that climbs", bytes: () => [request("GET", "/calls/../../etc/passwd")], expect: [404, 400] },
  {
    name: "an id that climbs",
    bytes: () => [request("GET", "/calls/..%2f..%2fetc%2fpasswd/events")],
    expect: [404, 400],
  },
  { name: "a topic that climbs", bytes: () => [request("GET", "/topics/..%2f..%2fcalls%2fx")], expect: [404, 400] },
  { name: "an id with a NUL", bytes: () => [request("GET", "/calls/c%00/events")], expect: [404, 400] },
  { name: "a raw NUL in the target", bytes: () => [request("GET", "/calls/\u0000")], expect: [404, 400, 505, 0] },
  {
    name: "a target of 100,000 characters",
    bytes: () => [request("GET", `/${"a".repeat(100_000)}`)],
    expect: [414, 431, 400, 0],
  },
  {
    name: "10,000 parameters",
    bytes: () => [request("GET", `/calls?${"state=done&".repeat(700)}`)],
    expect: [200, 400],
  },
  {
    name: "a key of 8,000 characters",
    bytes: () => [post("/t/echo", "1", { "Idempotency-Key": "k".repeat(8_000) })],
    expect: [400],
    fault: "keyChars",
  },
  {
    name: "a key with odd bytes",
    bytes: () => [post("/t/echo", "1", { "Idempotency-Key": '"\u00ff\u0001' })],
    expect: [400, 0],
  },
  {
    name: "wait=1e99",
    bytes: () => [request("GET", "/topics/ticks?after=start", { Prefer: "wait=1e99" })],
    expect: [200],
  },
  {
    name: "wait=-1",
    bytes: () => [request("GET", "/topics/ticks?after=start", { Prefer: "wait=-1, respond-async=x;;;" })],
    expect: [200],
  },
  {
    name: "a Request-Timeout that is none",
    bytes: () => [post("/t/echo", "1", { "Request-Timeout": "1e99" })],
    expect: [400],
  },
  { name: "a seq that is none", bytes: () => [post(`/calls/${nothing}/items?seq=-1`, "[1]")], expect: [400] },
  {
    name: "an Accept of many thousand types",
    bytes: () => [request("GET", "/topics/ticks", { Accept: "a/b;q=0.1,".repeat(1_000) })],
    expect: [406, 400, 431, 200],
  },
  {
    name: "a broken traceparent",
    bytes: () => [post("/t/echo", "1", { traceparent: "00-zz-zz-zz-00000000000000000000" })],
    expect: [200],
  },
  {
    name: "a page of calls beyond all bounds",
    bytes: () => [request("GET", "/calls?limit=99999999&after=-1")],
    expect: [400],
  },
  {
    name: "an Origin of somebody else",
    bytes: () => [post("/t/echo", "1", { Origin: "https://evil.example" })],
    expect: [403],
  },
  {
    name: "1,000 header fields",
    bytes: () => [
      request(
        "GET",
        "/healthz",
        Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`X-${i}`, "x".repeat(100)])),
      ),
    ],
    expect: [431, 400, 200, 0],
  },
  {
    name: "one header field of a megabyte",
    bytes: () => [request("GET", "/healthz", { "X-Big": "x".repeat(1_000_000) })],
    expect: [431, 400, 0],
  },
  {
    name: "a header line without a colon",
    bytes: () => ["GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"],
    expect: [400, 0],
  },
  {
    name: "a folded header line",
    bytes: () => ["GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"],
    expect: [200, 400, 0],
  },
  { name: "no Host", bytes: () => ["GET /healthz HTTP/1.1\r\n\r\n"], expect: [400, 0] },
  { name: "a version that is none", bytes: () => ["GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"], expect: [400, 505, 0] },
  {
    name: "TLS on a port without TLS",
    bytes: () => [Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3)],
    expect: [400, 0],
  },
  {
    name: "a smuggled request: both lengths",
    bytes: () => [
      "POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    expect: [400, 0],
  },
  {
    name: "a smuggled request: two lengths",
    bytes: () => ["POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\n12345"],
    expect: [400, 0],
  },
  {
    name: "a smuggled request: an odd transfer coding",
    bytes: () => ["POST /t/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"],
    expect: [400, 501, 0],
  },
  {
    name: "a chunk size that is none",
    bytes: () => ["POST /t/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n"],
    expect: [400, 0],
  },
  {
    name: "a chunk size beyond all bounds",
    bytes: () => ["POST /t/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n1"],
    expect: [400, 413, 0, 408],
  },
  {
    name: "a length with a sign",
    bytes: () => ["POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n1"],
    expect: [400, 0],
  },
  {
    name: "a handshake without the subprotocol",
    bytes: () => [handshake({ "Sec-WebSocket-Protocol": "other" })],
    expect: [400],
  },
  {
    name: "a handshake of a foreign page",
    bytes: () => [handshake({ Origin: "https://evil.example" })],
    expect: [403],
  },
  { name: "a handshake without a key", bytes: () => [handshake({ "Sec-WebSocket-Key": "" })], expect: [400] },
  {
    name: "a handshake of another version",
    bytes: () => [handshake({ "Sec-WebSocket-Version": "99" })],
    expect: [400, 426],
  },
  { name: "/ws without an upgrade", bytes: () => [request("GET", "/ws")], expect: [426] },
];

describe("one request", () => {
  for (const row of rows) {
    test(row.name, async () => {
      const { text, statuses } = await say(server.port, row.bytes());
      expect({ statuses, text: text.slice(0, 300), isRight: row.expect.includes(statuses[0] ?? 0) }).toMatchObject({
        isRight: true,
      });
      // A second response would be that of a smuggled request.
      expect(statuses.length).toBeLessThanOrEqual(1);
      if (row.fault !== undefined && text !== "") expect(text).toContain(row.fault);
      expect(text).not.toContain("    at ");
      // The platform's own words for what is no HTTP that it knows; anything else from 500 is a defect.
      expect(statuses[0] ?? 0).not.toBeOneOf([500, 502, 503, 504]);
    }, 60_000);
  }
});

function chunked(target: string, chunks: readonly string[]): string {
  const body = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
  return `POST ${target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body}0\r\n\r\n`;
}

function handshake(headers: Readonly<Record<string, string>>): string {
  const right = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13" };
  const rest = { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "backtalk.v1" };
  return request("GET", "/ws", { ...right, ...rest, ...headers });
}

describe("a connection", () => {
  test("the calls of somebody else are not found, by any verb", async () => {
    const opened = await fetch(`${url()}/t/gate`, {
      method: "POST",
      headers: { authorization: "Bearer ann", prefer: "respond-async" },
      body: JSON.stringify({ source: "theirs" }),
    });
    const { id } = (await opened.json()) as { id: string };
    const bob = { Authorization: "Bearer bob" };
    for (const bytes of [
      request("GET", `/calls/${id}`, bob),
      request("GET", `/calls/${id}/events`, bob),
      request("GET", `/calls/${id}/events`, { ...bob, Accept: "text/event-stream" }),
      request("DELETE", `/calls/${id}`, bob),
      post(`/calls/${id}/items?end=true`, "[]", bob),
    ]) {
      const { statuses, text } = await say(server.port, [bytes]);
      expect(statuses).toEqual([404]);
      expect(text).not.toContain("theirs");
    }
  }, 60_000);

  test("pipelined requests are answered in order, or not at all", async () => {
    const bytes = Array.from({ length: 20 }, (_, n) => post("/t/double", JSON.stringify({ n }))).join("");
    const { text } = await say(server.port, [bytes], 20, 1_000);
    const numbers = [...text.matchAll(/\{"n":(\d+)\}/g)].map(([, n]) => Number(n));
    expect(numbers).toEqual(numbers.map((_, i) => i * 2));
  }, 60_000);

  test("a body that comes too slowly is given up", async () => {
    const { statuses, isClosed } = await say(server.port, [post("/t/echo", "12345").slice(0, -3)], 1, 20_000);
    expect(statuses[0] ?? 0).toBeOneOf([408, 400, 0]);
    expect(isClosed || statuses.length > 0).toBe(true);
  }, 60_000);

  test("bytes at random", async () => {
    const { random, pick } = toolsOf(seed);
    for (let n = 0; n < 100; n++) {
      const bytes = Uint8Array.from({ length: pick(400) }, () => pick(256));
      await say(server.port, [bytes], 1, 30);
    }
    for (let n = 0; n < 200; n++) {
      // A right request with some bytes changed.
      const bytes = Buffer.from(post("/t/double", '{"n":1}', { Prefer: "wait=1", "Idempotency-Key": `k${n}` }));
      for (let i = 0; i < 1 + pick(4); i++) bytes[pick(bytes.length)] = Math.floor(random() * 256);
      const { text } = await say(server.port, [bytes], 1, 30);
      expect([seed, n, /HTTP\/1\.1 50[0-4][\s\S]*/.exec(text)?.[0]]).toEqual([seed, n, undefined]);
    }
  }, 120_000);
});

describe("a WebSocket", () => {
  const bad: Readonly<Record<string, { send: () => Buffer; code: readonly (number | undefined)[] }>> = {
    "an unmasked frame": { send: () => frame(1, "{}", { masked: false }), code: [1002, undefined] },
    "a reserved bit": { send: () => frame(1, "{}", { rsv: 2 }), code: [1002, undefined] },
    "a reserved opcode": { send: () => frame(3, "{}"), code: [1002, undefined] },
    "a control frame in parts": { send: () => frame(9, "", { fin: false }), code: [1002, undefined] },
    "a ping of more than 125 bytes": { send: () => frame(9, "x".repeat(126)), code: [1002, undefined] },
    "a continuation of nothing": { send: () => frame(0, "x"), code: [1002, undefined] },
    "a message within a message": {
      send: () => Buffer.concat([frame(1, "{", { fin: false }), frame(1, "{}")]),
      code: [1002, undefined],
    },
    "text that is not UTF-8": { send: () => frame(1, Uint8Array.of(0xff, 0xfe)), code: [1007, 1002, undefined] },
    "a message of 2^62 bytes": { send: () => frame(1, "x", { length: 2n ** 62n }), code: [1009, 1002, undefined] },
    "a message beyond the limit": { send: () => frame(1, "x".repeat(1_100_000)), code: [1009, undefined] },
    "a close with one byte": { send: () => frame(8, "x"), code: [1002, 1000, 1005, undefined] },
    "a close with a code that is none": { send: () => frame(8, Uint8Array.of(0, 1)), code: [1002, 1000, 1, undefined] },
  };
  for (const [name, { send, code }] of Object.entries(bad)) {
    test(`${name} closes it`, async () => {
      const { socket, received, closed } = await rawWebSocket(server.port);
      socket.write(send());
      await Promise.race([closed, until(() => closeCode(received()) !== undefined, "a close")]);
      expect(code).toContain(closeCode(received()));
      socket.destroy();
    }, 60_000);
  }

  const messages: readonly string[] = [
    "",
    "not json",
    "null",
    "[]",
    "{}",
    '{"type":"nothing"}',
    '{"type":["call"]}',
    '{"type":"__proto__"}',
    '{"type":"call"}',
    '{"type":"call","id":-1,"method":"t/echo"}',
    '{"type":"call","id":1e99,"method":"t/echo"}',
    '{"type":"call","id":"1","method":"t/echo"}',
    '{"type":"call","id":1,"method":{"a":1}}',
    '{"type":"call","id":2,"method":"calls/x"}',
    '{"type":"call","id":3,"method":"t/echo","input":1,"key":7}',
    '{"type":"call","id":4,"method":"t/count","input":{"to":3},"credit":-5}',
    '{"type":"call","id":5,"method":"t/count","input":{"to":3},"credit":1e308}',
    '{"type":"attach","id":6,"call":"../../x","after":"x"}',
    '{"type":"attach","id":7,"call":"c00000000000000000000000000","after":{}}',
    '{"type":"subscribe","id":8,"topic":"__proto__","credit":1}',
    '{"type":"subscribe","id":9,"topic":"ticks","after":"zzzz","credit":1}',
    '{"type":"credit","id":99,"n":1}',
    '{"type":"items","id":10,"call":"x","items":"no"}',
    '{"type":"items","id":11,"call":"x","items":[1],"seq":-1}',
    '{"type":"publish","id":12,"topic":"ticks","event":{"n":"x"}}',
    '{"type":"publish","id":13,"topic":"ticks"}',
    '{"type":"state","id":14,"call":"x","waitMs":1e99}',
    '{"type":"cancel","id":15}',
    '{"type":"leave","id":16}',
    '{"type":"auth","token":{}}',
    deep(50_000),
  ];

  test("messages that are wrong get a fault or an end, and never an end of the server", async () => {
    for (const message of messages) {
      const { socket, received, closed } = await rawWebSocket(server.port);
      socket.write(frame(1, message));
      const text = () => received().toString();
      await Promise.race([
        closed,
        until(
          () => /"type":"(fault|result|done|auth|events|opened)"/.test(text()) || closeCode(received()) !== undefined,
          `an answer to ${message.slice(0, 80)}`,
        ),
      ]);
      socket.destroy();
    }
  }, 120_000);

  test("binary messages get a fault, or an end", async () => {
    const { socket, received, closed } = await rawWebSocket(server.port);
    socket.write(frame(2, "{}"));
    await Promise.race([closed, until(() => received().includes('"fault"') || closeCode(received()) !== undefined)]);
    socket.destroy();
  }, 60_000);

  test("frames at random", async () => {
    const { pick } = toolsOf(seed + 1);
    for (let n = 0; n < 100; n++) {
      const { socket } = await rawWebSocket(server.port);
      const valid = frame(1, messages[pick(messages.length - 1)]!);
      const bytes = Buffer.concat([
        frame(pick(16), "x".repeat(pick(200)), { fin: pick(2) === 0, rsv: pick(8) }),
        valid,
      ]);
      for (let i = 0; i < pick(3); i++) bytes[pick(bytes.length)] = pick(256);
      socket.write(bytes);
      await new Promise((resolve) => setTimeout(resolve, 2));
      socket.destroy();
    }
  }, 60_000);
});

describe("many", () => {
  test("10,000 idle connections leave room for work, and go again", async () => {
    const idle = await startIdle(server.port, 10_000);
    if (idle.open < 10_000) console.log(`only ${idle.open} idle connections: the limit of open files is lower`);
    expect(idle.open).toBeGreaterThan(500);
    const answer = await fetch(`${url()}/t/double`, {
      method: "POST",
      body: '{"n":2}',
      signal: AbortSignal.timeout(20_000),
    });
    expect(await answer.json()).toEqual({ n: 4 });
    await idle.end();
  }, 120_000);

  test("half-open readers and sockets are let go", async () => {
    const streams = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        if (i % 2) return (await rawWebSocket(server.port)).socket;
        const socket = connect(server.port, "127.0.0.1");
        socket.on("error", () => {});
        socket.write(request("GET", "/topics/ticks", { Accept: "text/event-stream" }));
        await new Promise((resolve) => socket.once("data", resolve));
        return socket;
      }),
    );
    for (const socket of streams) socket.resetAndDestroy();
    await until(async () => (await memory()).sockets === 0, "the sockets to be let go");
    await until(async () => {
      const metrics = await (await fetch(`${url()}/metrics`)).text();
      return [...metrics.matchAll(/^backtalk_connections\{[^}]*\} (\d+)/gm)].every(([, n]) => n === "0");
    }, "the streams to be let go");
  }, 60_000);

  test("more held requests than are allowed are refused, and the rest is let go", async () => {
    const held = Array.from({ length: 60 }, () => {
      const abort = new AbortController();
      const headers = { prefer: "wait=30" };
      const answer = fetch(`${url()}/topics/notes?after=now`, { headers, signal: abort.signal });
      return {
        abort,
        answer: answer.then(
          (response) => response.status,
          () => 0,
        ),
      };
    });
    await until(
      async () => /backtalk_held_polls(?:\{\})? 50/.test(await (await fetch(`${url()}/metrics`)).text()),
      "50 held",
    );
    expect(
      await Promise.race(
        held.map(async ({ answer }) => ((await answer) === 429 ? 429 : new Promise<number>(() => {}))),
      ),
    ).toBe(429);
    for (const { abort } of held) abort.abort();
    await until(
      async () => /backtalk_held_polls(?:\{\})? 0/.test(await (await fetch(`${url()}/metrics`)).text()),
      "none held",
    );
  }, 60_000);

  test("at the end the memory is near what it was", async () => {
    let rss = 0;
    await until(async () => {
      ({ rss } = await memory());
      return rss < before + 150 * 1024 * 1024;
    }, `memory to return: it was ${before}, and is ${rss}`);
    console.log(
      `memory of the server: ${Math.round(before / 2 ** 20)} MiB before, ${Math.round(rss / 2 ** 20)} MiB after`,
    );
  }, 60_000);
});
