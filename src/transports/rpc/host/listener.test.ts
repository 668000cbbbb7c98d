/** gRPC on its own listener: the calls, and the facts of node:http2 on this Bun that the listener is built on. */
import { afterEach, describe, expect, test } from "bun:test";
import { connect as connectH2, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { LIMITS } from "../../../contract/index.ts";
import { type Certificate, makeCertificate } from "../../../net/certificate.ts";
import { type GrpcListener, type GrpcListenerOptions, grpcListener } from "./listener.ts";
import { type EchoHooks, echoClient, echoHandlers, enveloped, texts, until } from "./testing/echo.ts";
import * as h2 from "./testing/h2.ts";

const open: GrpcListener[] = [];

async function listen(options: Partial<GrpcListenerOptions> & { hooks?: EchoHooks } = {}): Promise<GrpcListener> {
  const { hooks, ...rest } = options;
  const limits = rest.limits ?? LIMITS;
  const handlers = echoHandlers(limits, hooks);
  const listener = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits, ...rest });
  open.push(listener);
  return listener;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((listener) => listener.stop()));
});

const grpc = (listener: GrpcListener, options: Partial<Parameters<typeof createGrpcTransport>[0]> = {}) =>
  echoClient(createGrpcTransport({ baseUrl: listener.url, ...options }));

async function codeOf(made: Promise<unknown>): Promise<Code | undefined> {
  try {
    await made;
    return undefined;
  } catch (thrown) {
    return ConnectError.from(thrown).code;
  }
}

/** The status that a request gets, by its header fields alone: of HTTP, and of gRPC. */
function statusOf(listener: GrpcListener, fields: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectH2(listener.url, unsafe);
    session.on("error", reject);
    const stream = session.request({ ":method": "POST", ":path": "/test.v1.Echo/Unary", te: "trailers", ...fields });
    let status = "";
    const add = (more: IncomingHttpHeaders) => {
      for (const name of [":status", "grpc-status", "grpc-message"]) if (more[name]) status += ` ${more[name]}`;
    };
    stream.on("response", add);
    stream.on("trailers", add);
    stream.on("data", (bytes) => {
      if (!fields["content-type"]!.startsWith("application/grpc")) status += ` ${bytes}`;
    });
    stream.on("close", () => {
      session.destroy();
      resolve(decodeURI(status.trim()));
    });
    stream.end(fields["content-type"] === "application/json" ? '{"text":"on"}' : enveloped({ text: "on" }));
  });
}

const unsafe = { rejectUnauthorized: false };
const certificate: Certificate = makeCertificate(["localhost"], Date.now());

describe("names and pages", () => {
  const hosts = ["localhost", "127.0.0.1", "[::1]"];
  const name = "this server does not answer to that name: use localhost or its address";
  const page = "pages of http://evil.example may not use this server: allow the origin";
  const grpc = { "content-type": "application/grpc" };
  const json = { "content-type": "application/json" };

  for (const tls of [undefined, certificate]) {
    test(`it answers to its own names only, over ${tls ? "TLS" : "cleartext"}`, async () => {
      const listener = await listen({ tls, access: { hosts } });
      for (const own of ["localhost:1", "127.0.0.1", "[::1]:4450", "LOCALHOST", "app.localhost:4450"]) {
        expect([own, await statusOf(listener, { ...grpc, ":authority": own })]).toEqual([own, "200 0"]);
      }
      for (const other of ["evil.example:4450", "localhost.evil.example", "127.0.0.1.nip.io", "169.254.1.1"]) {
        expect(await statusOf(listener, { ...grpc, ":authority": other })).toStartWith(`200 7 ${name}`);
        const said = await statusOf(listener, { ...json, ":authority": other });
        expect(said).toStartWith(`421 {"code":"permission_denied","message":"${name}`);
      }
    });
  }

  test("without names it answers to any", async () => {
    const listener = await listen();
    expect(await statusOf(listener, { ...grpc, ":authority": "any.example" })).toBe("200 0");
  });

  test("pages of its own origin and of those that are allowed may use it, no others", async () => {
    const listener = await listen({ access: { origins: ["https://app.example"] } });
    const authority = `127.0.0.1:${listener.port}`;
    for (const origin of [`http://${authority}`, "https://app.example"])
      expect(await statusOf(listener, { ...grpc, ":authority": authority, origin })).toBe("200 0");
    const origin = "http://evil.example";
    expect(await statusOf(listener, { ...grpc, origin })).toStartWith(`200 7 ${page}`);
    expect(await statusOf(listener, { "content-type": "application/grpc-web", origin })).toStartWith(`200 7 ${page}`);
    for (const type of ["application/json", "text/plain"])
      expect(await statusOf(listener, { "content-type": type, origin })).toStartWith(
        `403 {"code":"permission_denied","message":"${page}`,
      );
    expect(await statusOf(listener, { ...json, origin: "null" })).toStartWith("403");
    const all = await listen({ access: { origins: "*" } });
    expect(await statusOf(all, { ...grpc, origin })).toBe("200 0");
  });
});

describe("messages that do not come to their end", () => {
  const KIB = 1024;
  const STREAMS = 20;
  const message = enveloped({ text: "x".repeat(500 * KIB) });
  const limits = { ...LIMITS, bodyBytes: 512 * KIB, messageBytesPerConnection: 1024 * KIB };
  const path = "/test.v1.Echo/Unary";

  /** Bytes of the window of the connection. */
  let spent = 0;

  /** What the client may send, by the windows that it was given. */
  function granted(client: h2.RawHttp2, stream: number): number {
    const given = client.of(h2.WINDOW_UPDATE, stream).reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
    return 65_535 + given;
  }

  /** Sends of each stream what its window takes, up to `length`, until nothing more is taken. Gives how much of each. */
  async function pump(client: h2.RawHttp2, sent: number[], length: number): Promise<number> {
    for (let quiet = 0; quiet < 3; ) {
      const before = sent.reduce((sum, each) => sum + each, 0);
      for (const [at, from] of sent.entries()) {
        const id = 1 + 2 * at;
        const room = Math.min(granted(client, id) - from, granted(client, 0) - spent, length - from, 16 * KIB);
        if (room <= 0 || (room < 1024 && from + room < length)) continue;
        const to = from + room;
        client.send(h2.DATA, to === message.length ? h2.END_STREAM : 0, id, message.subarray(from, to));
        sent[at] = to;
        spent += room;
      }
      const pings = client.of(h2.PING).length;
      client.send(h2.PING, 0, 0, Buffer.alloc(8));
      await until(() => client.of(h2.PING).length > pings);
      quiet = sent.reduce((sum, each) => sum + each, 0) > before ? 0 : quiet + 1;
    }
    return sent.reduce((sum, each) => sum + each, 0);
  }

  test("are held up to a limit for each connection: flow control stops the rest, and small calls pass", async () => {
    const listener = await listen({ limits });
    const client = await h2.RawHttp2.open(listener.port);
    const sent = Array.from({ length: STREAMS }, () => 0);
    for (const at of sent.keys()) client.call(1 + 2 * at, path);
    spent = 0;
    const held = await pump(client, sent, message.length - 1);
    // Beyond the limit: the oldest of them, and of each stream what was read once and what is unread.
    expect(held).toBeLessThan(1024 * KIB + message.length + STREAMS * 200 * KIB);
    expect(held).toBeGreaterThan(1024 * KIB);
    expect(sent[0]).toBe(message.length - 1);

    const small = 1 + 2 * STREAMS;
    client.call(small, path);
    client.send(h2.DATA, h2.END_STREAM, small, enveloped({ text: "on" }));
    spent += 9;
    await until(() => client.of(h2.DATA, small).length > 0);

    // Some give up: what they held is free. All others come to their end.
    for (const at of [0, 7, 8]) {
      client.send(h2.RST_STREAM, 0, 1 + 2 * at, Buffer.from([0, 0, 0, 8]));
      sent[at] = message.length;
    }
    while (sent.some((each) => each < message.length)) await pump(client, sent, message.length);
    const ended = [...sent.keys()].filter((at) => ![0, 7, 8].includes(at)).map((at) => 1 + 2 * at);
    await until(() => ended.every((id) => client.of(h2.HEADERS, id).length > 0));
    client.close();
  }, 30_000);
});

describe("calls", () => {
  for (const tls of [undefined, certificate]) {
    const over = tls ? "TLS" : "cleartext";
    for (const [protocol, make] of [
      ["gRPC", createGrpcTransport],
      ["gRPC-Web", createGrpcWebTransport],
      ["Connect", createConnectTransport],
    ] as const) {
      test(`of all kinds by ${protocol} over ${over}`, async () => {
        const listener = await listen({ tls });
        const client = echoClient(make({ baseUrl: listener.url, httpVersion: "2", nodeOptions: unsafe }));
        const seen: (string | null)[] = [];
        const said = await client.unary(
          { text: "hello" },
          {
            onHeader: (header) => void seen.push(header.get("x-before")),
            onTrailer: (trailer) => void seen.push(trailer.get("x-after")),
          },
        );
        expect([said.text, ...seen]).toEqual(["hello", "1", "2"]);
        const via = { gRPC: "grpc", "gRPC-Web": "grpc-web", Connect: "connect" }[protocol];
        expect(JSON.parse((await client.unary({ text: "who" })).text)).toEqual({ address: "127.0.0.1", via });
        expect(await Array.fromAsync(client.down({ text: "a", times: 500 }))).toHaveLength(500);
        expect((await client.up(texts(500))).times).toBe(1500);
        expect(await Array.fromAsync(client.both(texts(500)))).toHaveLength(500);
        expect(await codeOf(Array.fromAsync(client.down({ text: "fail", times: 3 })))).toBe(Code.DataLoss);
      });
    }
  }

  test("with messages of many frames, packed and not", async () => {
    const listener = await listen();
    for (const packed of [[], [compressionGzip], [compressionBrotli]]) {
      const client = grpc(listener, { acceptCompression: packed, ...(packed[0] && { sendCompression: packed[0] }) });
      const text = "0123456789".repeat(300_000);
      expect((await client.unary({ text })).text === text).toBe(true);
    }
  });

  test("larger than bodyBytes are refused, however they are packed, and the connection goes on", async () => {
    const listener = await listen({ limits: { ...LIMITS, bodyBytes: 100_000 } });
    const text = "x".repeat(100_001);
    for (const packed of [[], [compressionGzip], [compressionBrotli]]) {
      const client = grpc(listener, { acceptCompression: packed, ...(packed[0] && { sendCompression: packed[0] }) });
      expect(await codeOf(client.unary({ text }))).toBe(Code.ResourceExhausted);
      expect(await codeOf(client.up(texts(3, text)))).toBe(Code.ResourceExhausted);
      expect((await client.unary({ text: "on" })).text).toBe("on");
    }
  });

  test("whose body does not arrive within bodyMs end, and those that stream their input do not", async () => {
    const listener = await listen({ limits: { ...LIMITS, bodyMs: 50 } });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Unary");
    client.call(3, "/test.v1.Echo/Up");
    client.send(h2.DATA, 0, 1, enveloped({ text: "abc" }).subarray(0, 6));
    // The answer, then no more is wanted.
    await until(() => client.of(h2.RST_STREAM, 1).length === 1);
    expect(client.of(h2.HEADERS, 1)).toHaveLength(2);
    expect(client.of(h2.HEADERS, 3)).toEqual([]);
    client.send(h2.DATA, h2.END_STREAM, 3, enveloped({ text: "abc" }));
    await until(() => client.of(h2.HEADERS, 3).length === 2);
    client.close();
  });

  test("to what is not there are unimplemented, in one frame", async () => {
    const listener = await listen();
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Nothing", {}, h2.END_HEADERS | h2.END_STREAM);
    await until(() => client.of(h2.HEADERS, 1).length === 1);
    expect(client.of(h2.HEADERS, 1)[0]!.flags & h2.END_STREAM).toBe(h2.END_STREAM);
    client.close();
    const response = await fetchH2(listener, "/test.v1.Echo/Nothing", "application/grpc");
    expect(response).toMatchObject({ ":status": 200, "grpc-status": "12" });
    expect(await fetchH2(listener, "/nothing", "application/json")).toMatchObject({ ":status": 404 });
  });

  test("whose handler sets a trailer that HTTP/2 has no place for fail alone", async () => {
    const client = grpc(await listen());
    expect(await codeOf(client.unary({ text: "misfit" }))).toBe(Code.Internal);
    expect((await client.unary({ text: "on" })).text).toBe("on");
  });

  test("whose header has more than headerBytes are refused", async () => {
    const listener = await listen({ limits: { ...LIMITS, headerBytes: 4_096 } });
    const metadata = { headers: { "x-large": "x".repeat(5_000) } };
    expect(await codeOf(grpc(listener).unary({ text: "a" }, metadata))).toBeDefined();
    expect((await grpc(listener).unary({ text: "on" })).text).toBe("on");
  });

  test("in another type get 415 and what is taken, by another method 405", async () => {
    const listener = await listen();
    expect(await fetchH2(listener, "/test.v1.Echo/Unary", "text/plain")).toMatchObject({
      ":status": 415,
      "accept-post": expect.stringContaining("application/grpc, "),
    });
    expect(await fetchH2(listener, "/test.v1.Echo/Down", "application/grpc", "DELETE")).toMatchObject({
      ":status": 405,
      allow: "POST",
    });
  });
});

async function fetchH2(listener: GrpcListener, path: string, type: string, method = "POST") {
  const { default: http2 } = await import("node:http2");
  const session = http2.connect(listener.url);
  const stream = session.request({ ":path": path, ":method": method, "content-type": type });
  const fields = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.once("response", resolve);
    stream.once("error", reject);
  });
  stream.resume();
  session.destroy();
  return fields;
}

describe("an end", () => {
  test("by the caller aborts the handler: reset, and a lost connection", async () => {
    const reasons: unknown[] = [];
    const listener = await listen({
      hooks: { onAbort: (reason) => reasons.push(reason), gate: () => new Promise(() => {}) },
    });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Down");
    client.send(h2.DATA, h2.END_STREAM, 1, enveloped({ text: "a", times: 2 }));
    await until(() => client.of(h2.DATA, 1).length > 0);
    client.send(h2.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8]));
    await until(() => reasons.length === 1);
    client.call(3, "/test.v1.Echo/Up");
    client.send(h2.DATA, 0, 3, enveloped({ text: "a" }));
    client.call(5, "/test.v1.Echo/Both");
    client.send(h2.DATA, 0, 5, enveloped({ text: "a" }));
    await until(() => client.of(h2.DATA, 5).length > 0);
    client.close();
    await until(() => reasons.length === 3);
    for (const reason of reasons) expect(ConnectError.from(reason).code).toBe(Code.Canceled);
  });

  test("of the deadline is told by the status", async () => {
    const listener = await listen();
    expect(await codeOf(grpc(listener).unary({ text: "wait" }, { timeoutMs: 50 }))).toBe(Code.DeadlineExceeded);
  });

  test("of the listener lets running calls finish, and takes no new one", async () => {
    const { promise: gate, resolve: go } = Promise.withResolvers<void>();
    const listener = await listen({ hooks: { gate: () => gate } });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Down");
    client.send(h2.DATA, h2.END_STREAM, 1, enveloped({ text: "a", times: 2 }));
    await until(() => client.of(h2.DATA, 1).length > 0);
    const stopped = listener.stop(10_000);
    await until(() => client.of(h2.GOAWAY).length > 0);
    expect(client.of(h2.GOAWAY)[0]!.payload.readUInt32BE(4)).toBe(0);
    expect(await refuses(listener.port)).toBe(true);
    go();
    await stopped;
    await until(() => client.isClosed);
    // Header and trailers, and both items.
    expect(client.of(h2.HEADERS, 1)).toHaveLength(2);
    expect(Buffer.concat(client.of(h2.DATA, 1).map(({ payload }) => payload)).length).toBe(
      enveloped({ text: "a" }).length + enveloped({ text: "a", times: 1 }).length,
    );
  });

  test("of the listener cuts what does not finish in time, and never makes it look complete", async () => {
    const reasons: unknown[] = [];
    const listener = await listen({
      hooks: { onAbort: (reason) => reasons.push(reason), gate: () => new Promise(() => {}) },
    });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Down");
    client.send(h2.DATA, h2.END_STREAM, 1, enveloped({ text: "a", times: 2 }));
    await until(() => client.of(h2.DATA, 1).length > 0);
    await listener.stop(50);
    await until(() => client.isClosed && reasons.length === 1);
    expect(
      client.frames.filter(({ stream, flags, type }) => stream === 1 && type <= 1 && flags & h2.END_STREAM),
    ).toEqual([]);
  });
});

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => resolve(true));
  });
}

describe("flow control", () => {
  test("stops a handler whose reader takes nothing", async () => {
    let items = 0;
    const listener = await listen({ hooks: { onItem: () => items++ } });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Down");
    // 10 GB, if all of it was made.
    client.send(h2.DATA, h2.END_STREAM, 1, enveloped({ text: "x".repeat(10_000), times: 1_000_000 }));
    await until(() => client.of(h2.DATA, 1).length > 0);
    await settled(() => items);
    // The window of RFC 9113 §6.9.2 (65,535 bytes), and what lies in the buffers of the stream.
    expect(items).toBeLessThan(100);
    const before = items;
    client.send(h2.WINDOW_UPDATE, 0, 0, uint32(1_000_000));
    client.send(h2.WINDOW_UPDATE, 0, 1, uint32(1_000_000));
    await until(() => items >= before + 90);
    await settled(() => items);
    expect(items).toBeLessThan(before + 200);
    client.close();
  });

  test("stops a client whose handler takes nothing, and goes on with the others", async () => {
    const listener = await listen({ hooks: { gate: () => new Promise(() => {}) } });
    const client = await h2.RawHttp2.open(listener.port);
    // The reader of this answer takes nothing, so its handler reads nothing more.
    client.call(1, "/test.v1.Echo/Both");
    const message = enveloped({ text: "x".repeat(16_000) });
    let sent = 0;
    const pump = () => {
      const room = () => 65_535 + Math.min(windowsOf(client, 0), windowsOf(client, 1)) - sent;
      for (; room() >= message.length; sent += message.length) client.send(h2.DATA, 0, 1, message);
      return sent;
    };
    await settled(pump);
    expect(sent).toBeGreaterThan(60_000);
    expect(sent).toBeLessThan(1_000_000);
    client.close();
    expect((await grpc(listener).unary({ text: "on" })).text).toBe("on");
  });

  test("gives back what came for calls that nobody reads", async () => {
    const listener = await listen();
    const client = await h2.RawHttp2.open(listener.port);
    let sent = 0;
    for (let at = 0; at < 20; at++) {
      const stream = 1 + 2 * at;
      client.call(stream, "/test.v1.Echo/Nothing");
      for (let each = 0; each < 4; each++) {
        client.send(h2.DATA, 0, stream, Buffer.alloc(8_000));
        sent += 8_000;
      }
      await until(() => client.of(h2.RST_STREAM, stream).length > 0 || client.isClosed);
      // As a client that keeps to the window would have to.
      await until(() => sent - windowsOf(client, 0) < 65_535 - 32_000 || client.isClosed);
    }
    expect(client.isClosed).toBe(false);
    client.close();
  });

  test("resets what is left of a request after its answer, without an error", async () => {
    const listener = await listen({ limits: { ...LIMITS, bodyBytes: 1000 } });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Up");
    client.send(h2.DATA, 0, 1, enveloped({ text: "x".repeat(2000) }));
    await until(() => client.of(h2.RST_STREAM, 1).length === 1);
    // RFC 9113 §8.1
    expect(client.of(h2.RST_STREAM, 1)[0]!.payload.readUInt32BE()).toBe(0);
    expect(client.of(h2.HEADERS, 1).at(-1)!.flags & h2.END_STREAM).toBe(h2.END_STREAM);
    client.close();
  });
});

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function windowsOf(client: h2.RawHttp2, stream: number): number {
  return client.of(h2.WINDOW_UPDATE, stream).reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0);
}

/** Waits until a number stays as it is for a while. */
async function settled(value: () => number, quietMs = 150): Promise<void> {
  for (let last = Number.NaN; last !== value(); ) {
    last = value();
    await Bun.sleep(quietMs);
  }
}

describe("connections", () => {
  test("hold at most exchangesPerConnection calls", async () => {
    const limits = { ...LIMITS, exchangesPerConnection: 3 };
    const listener = await listen({ limits, hooks: { gate: () => new Promise(() => {}) } });
    const client = await h2.RawHttp2.open(listener.port);
    await until(() => client.of(h2.SETTINGS).length > 0);
    const settings = client.of(h2.SETTINGS)[0]!.payload;
    const most = [...Array(settings.length / 6).keys()].find((at) => settings.readUInt16BE(6 * at) === 3)!;
    expect(settings.readUInt32BE(6 * most + 2)).toBe(3);
    for (const stream of [1, 3, 5, 7]) client.call(stream, "/test.v1.Echo/Both");
    await until(() => client.of(h2.RST_STREAM, 7).length === 1 || client.of(h2.GOAWAY).length > 0);
    // REFUSED_STREAM: the client may try it again.
    expect(client.of(h2.RST_STREAM, 7)[0]?.payload.readUInt32BE()).toBe(7);
    client.close();
  });

  test("are limited by connections, and counted", async () => {
    let count = 0;
    const onConnection = (by: number) => {
      count += by;
    };
    const listener = await listen({ limits: { ...LIMITS, connections: 2 }, onConnection });
    const kept = [await h2.RawHttp2.open(listener.port), await h2.RawHttp2.open(listener.port)];
    await until(() => kept.every((client) => client.of(h2.SETTINGS).length > 0));
    const third = await h2.RawHttp2.open(listener.port);
    await until(() => third.isClosed);
    expect([count, ...kept.map(({ isClosed }) => isClosed)]).toEqual([2, false, false]);
    kept[0]!.close();
    await until(() => count === 1);
    const next = await h2.RawHttp2.open(listener.port);
    await until(() => next.of(h2.SETTINGS).length > 0);
    for (const client of [...kept, next]) client.close();
  });

  test("that are idle are closed, those with a call are not", async () => {
    const { promise: gate, resolve: go } = Promise.withResolvers<void>();
    const listener = await listen({ idleMs: 60, hooks: { gate: () => gate } });
    const [idle, busy] = [await h2.RawHttp2.open(listener.port), await h2.RawHttp2.open(listener.port)];
    busy.call(1, "/test.v1.Echo/Down");
    busy.send(h2.DATA, h2.END_STREAM, 1, enveloped({ text: "a", times: 2 }));
    await until(() => idle.isClosed);
    expect(idle.of(h2.GOAWAY)[0]!.payload.readUInt32BE(4)).toBe(0);
    expect(busy.isClosed).toBe(false);
    go();
    await until(() => busy.isClosed);
    expect(busy.of(h2.HEADERS, 1)).toHaveLength(2);
  });

  test("that do not greet in time are closed, in cleartext and in TLS", async () => {
    for (const tls of [undefined, certificate]) {
      const listener = await listen({ greetingMs: 50, tls });
      const socket = connect(listener.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
    }
  });

  test("with a call are asked whether they live, and cut when they are silent", async () => {
    const reasons: unknown[] = [];
    const hooks: EchoHooks = { onAbort: (reason) => reasons.push(reason), gate: () => new Promise(() => {}) };
    const listener = await listen({ timing: { heartbeatMs: 50, graceMs: 100 }, hooks });
    const client = await h2.RawHttp2.open(listener.port);
    client.call(1, "/test.v1.Echo/Both");
    await until(() => client.of(h2.PING).length > 0);
    client.send(h2.PING, h2.ACK, 0, client.of(h2.PING)[0]!.payload);
    // It was answered: the next one is due.
    await until(() => client.of(h2.PING).length > 1);
    expect(client.isClosed).toBe(false);
    await until(() => client.isClosed && reasons.length === 1);
  });

  test("get the answer to each PING", async () => {
    const listener = await listen();
    const client = await h2.RawHttp2.open(listener.port);
    for (let at = 0; at < 10; at++) client.send(h2.PING, 0, 0, Buffer.alloc(8, at));
    await until(() => client.of(h2.PING).length === 10);
    expect(client.of(h2.PING).every(({ flags, payload }, at) => flags === h2.ACK && payload[0] === at)).toBe(true);
    client.close();
  });

  test("of who speaks something else are closed", async () => {
    const listener = await listen();
    for (const said of ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "x".repeat(100_000)])
      expect(await heard(listener.port, said)).toContain("invalid connection preface");
    const secure = await listen({ tls: certificate });
    await heard(secure.port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const socket = connectTls({ port: secure.port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(await allOf(socket)).toContain("this port speaks gRPC");
    for (const each of [listener, secure])
      expect((await grpc(each, { nodeOptions: unsafe }).unary({ text: "on" })).text).toBe("on");
  });

  test("on a port that is taken, and with a certificate that is none, are faults", async () => {
    const listener = await listen();
    expect(listen({ port: listener.port })).rejects.toMatchObject({ detail: { port: listener.port } });
    expect(listen({ tls: { cert: "x", key: "y" } })).rejects.toMatchObject({ name: "Fault" });
  });
});

function heard(port: number, said: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(said);
  return allOf(socket);
}

function allOf(socket: ReturnType<typeof connect>): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (data: Buffer) => {
      text += data.toString("latin1");
    });
    socket.on("close", () => resolve(text));
  });
}
