/** What nobody should send: the process lives, others are served meanwhile, and its memory stays as it is. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { type EchoClient, echoClient, enveloped, prefixed, until } from "./testing/echo.ts";
import * as h2 from "./testing/h2.ts";
import type { Ports } from "./testing/server.ts";

let child: Bun.Subprocess<"ignore", "pipe", "inherit">;
let ports: Ports;
let others: readonly EchoClient[];

beforeAll(async () => {
  child = Bun.spawn([process.execPath, `${import.meta.dirname}/testing/server.ts`], {
    stdin: "ignore",
    stdout: "pipe",
  });
  const { value } = await child.stdout.getReader().read();
  ports = JSON.parse(new TextDecoder().decode(value));
  others = [
    echoClient(createGrpcTransport({ baseUrl: `http://127.0.0.1:${ports.grpc}` })),
    echoClient(createConnectTransport({ baseUrl: `http://127.0.0.1:${ports.http}`, httpVersion: "1.1" })),
  ];
  for (let at = 0; at < 300; at++) await serves();
});

afterAll(() => {
  child.kill();
});

async function serves(): Promise<void> {
  for (const client of others) expect((await client.unary({ text: "on" })).text).toBe("on");
}

/** Of the server, in KiB, after garbage was collected. */
async function rss(): Promise<number> {
  return (await others[0]!.unary({ text: "rss" })).times;
}

/** The attack runs twice: the first time warms up what is allocated once. */
async function isFlat(attack: () => Promise<void>, growthKiB = 48 * 1024): Promise<void> {
  await attack();
  await serves();
  const before = await rss();
  await attack();
  await serves();
  expect((await rss()) - before).toBeLessThan(growthKiB);
  expect(child.exitCode).toBe(null);
}

describe("bodies of gRPC", () => {
  const unary = "/test.v1.Echo/Unary";
  const cases: readonly (readonly [name: string, body: Uint8Array, fields?: Record<string, string>])[] = [
    ["a length that lies, within the limit", prefixed(Buffer.alloc(10), 0, 1_000_000)],
    ["a length that lies, beyond it", prefixed(Buffer.alloc(10), 0, 4_294_967_295)],
    ["half a prefix", Buffer.from([0, 0, 0])],
    ["no message", Buffer.alloc(0)],
    ["two messages", Buffer.concat([enveloped({ text: "a" }), enveloped({ text: "b" })])],
    ["a message that is none", prefixed(Buffer.from([255, 255, 255, 255]))],
    ["text that is no UTF-8", prefixed(Buffer.from([10, 2, 0xc3, 0x28]))],
    ["packed by nothing", enveloped({ text: "a" }, 1)],
    ["packed by what is unknown", enveloped({ text: "a" }, 1), { "grpc-encoding": "lzma" }],
    ["gzip that is none", prefixed(Buffer.from("not gzip"), 1), { "grpc-encoding": "gzip" }],
    ["gzip that breaks off", prefixed(gzipSync("x".repeat(1000)).subarray(0, 15), 1), { "grpc-encoding": "gzip" }],
    ["a bomb", prefixed(gzipSync(Buffer.alloc(40_000_000)), 1), { "grpc-encoding": "gzip" }],
    ["unknown flags", prefixed(Buffer.alloc(0), 0xfe)],
    ["a timeout that is none", enveloped({ text: "a" }), { "grpc-timeout": "soon" }],
    ["another type", enveloped({ text: "a" }), { "content-type": "application/grpc+xml" }],
  ];
  for (const [name, body, fields] of cases) {
    test(`${name}: the call fails, the connection goes on`, async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      client.call(1, unary, fields);
      for (let at = 0; at < body.length; at += 16_000) client.send(h2.DATA, 0, 1, body.subarray(at, at + 16_000));
      client.send(h2.DATA, h2.END_STREAM, 1);
      await until(() =>
        client.frames.some(({ stream, flags, type }) => stream === 1 && type <= 1 && flags & h2.END_STREAM),
      );
      client.call(3, unary);
      client.send(h2.DATA, h2.END_STREAM, 3, enveloped({ text: "on" }));
      await until(() => client.of(h2.DATA, 3).length > 0);
      client.close();
      await serves();
    });
  }

  test("half of a body, then silence or a lost connection", async () => {
    await isFlat(async () => {
      for (let round = 0; round < 20; round++) {
        const client = await h2.RawHttp2.open(ports.grpc);
        for (let at = 0; at < 50; at++) {
          const stream = 1 + 2 * at;
          client.call(stream, at % 2 ? unary : "/test.v1.Echo/Both");
          client.send(h2.DATA, 0, stream, prefixed(Buffer.alloc(100), 0, 1_000_000));
        }
        client.send(h2.PING, 0, 0, Buffer.alloc(8));
        await until(() => client.of(h2.PING).length > 0);
        client.close();
      }
    });
  }, 60_000);

  test("bombs in a row", async () => {
    const bomb = prefixed(gzipSync(Buffer.alloc(40_000_000)), 1);
    await isFlat(async () => {
      for (let round = 0; round < 10; round++) {
        const client = await h2.RawHttp2.open(ports.grpc);
        client.call(1, unary, { "grpc-encoding": "gzip" });
        for (let at = 0; at < bomb.length; at += 16_000) client.send(h2.DATA, 0, 1, bomb.subarray(at, at + 16_000));
        await until(() => client.of(h2.HEADERS, 1).length > 0);
        client.close();
      }
    });
  }, 60_000);

  test("a body of one-byte frames does not keep the others waiting", async () => {
    const client = await h2.RawHttp2.open(ports.grpc);
    client.call(1, unary);
    const message = enveloped({ text: "x".repeat(60_000) });
    const frames = Array.from(message, (_, at) => h2.frame(h2.DATA, 0, 1, message.subarray(at, at + 1)));
    client.write(Buffer.concat(frames));
    client.send(h2.DATA, h2.END_STREAM, 1);
    await until(() => client.of(h2.HEADERS, 1).length > 0);
    client.close();
    await serves();
  }, 60_000);
});

describe("floods", () => {
  /** Until the server has taken all that was sent, or has closed. */
  async function flushed(client: h2.RawHttp2): Promise<void> {
    const before = client.of(h2.PING).length;
    client.send(h2.PING, 0, 0, Buffer.alloc(8, 7));
    await until(() => client.isClosed || client.of(h2.PING).length > before, 40_000);
    client.close();
  }

  test("10,000 streams that are reset at once", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      const fields = h2.callFields("/test.v1.Echo/Up");
      for (let at = 0; at < 10_000 && !client.isClosed; at++) {
        const stream = 1 + 2 * at;
        client.write(
          Buffer.concat([
            h2.frame(h2.HEADERS, h2.END_HEADERS, stream, fields),
            h2.frame(h2.RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8])),
          ]),
        );
        if (at % 500 === 0) await Bun.sleep(1);
      }
      await serves();
      await flushed(client);
    });
  }, 60_000);

  test("10,000 streams more than are allowed", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      for (let at = 0; at < 10_000 && !client.isClosed; at++) {
        client.call(1 + 2 * at, "/test.v1.Echo/Up");
        if (at % 500 === 0) await Bun.sleep(1);
      }
      await serves();
      await flushed(client);
    });
  }, 60_000);

  test("streams that the server itself resets (MadeYouReset)", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      for (let at = 0; at < 5_000 && !client.isClosed; at++) {
        const stream = 1 + 2 * at;
        client.call(stream, "/test.v1.Echo/Up");
        // An increment of 0 is an error of the stream (RFC 9113 §6.9).
        client.send(h2.WINDOW_UPDATE, 0, stream, Buffer.alloc(4));
        if (at % 500 === 0) await Bun.sleep(1);
      }
      await serves();
      await flushed(client);
    });
  }, 60_000);

  for (const [name, type, payload] of [
    ["PING", h2.PING, Buffer.alloc(8)],
    ["SETTINGS", h2.SETTINGS, Buffer.from([0, 4, 0, 1, 0, 0])],
    ["empty SETTINGS", h2.SETTINGS, Buffer.alloc(0)],
    ["WINDOW_UPDATE", h2.WINDOW_UPDATE, Buffer.from([0, 0, 0, 1])],
    ["an unknown type", 0xfa, Buffer.alloc(100)],
  ] as const) {
    for (const reads of [true, false]) {
      test(`100,000 frames of ${name}, ${reads ? "with" : "without"} taking the answers`, async () => {
        await isFlat(async () => {
          const client = await h2.RawHttp2.open(ports.grpc);
          if (!reads) client.pause();
          const many = Buffer.concat(Array.from({ length: 1000 }, () => h2.frame(type, 0, 0, payload)));
          for (let at = 0; at < 100 && !client.isClosed; at++) {
            client.write(many);
            if (at % 10 === 0) await Bun.sleep(1);
          }
          await serves();
          if (reads) await flushed(client);
          client.close();
        });
      }, 60_000);
    }
  }

  test("a header that never ends (CONTINUATION), and one that is too large", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      client.send(h2.HEADERS, 0, 1, h2.callFields("/test.v1.Echo/Unary"));
      const piece = h2.encodeFields({ "x-more": "y".repeat(16_000) });
      for (let at = 0; at < 1_000 && !client.isClosed; at++) {
        client.send(h2.CONTINUATION, 0, 1, piece);
        if (at % 50 === 0) await Bun.sleep(1);
      }
      await until(() => client.isClosed || client.of(h2.GOAWAY).length > 0);
      client.close();
    });
  }, 60_000);

  test("empty CONTINUATION frames", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      client.send(h2.HEADERS, 0, 1, h2.callFields("/test.v1.Echo/Unary"));
      const many = Buffer.concat(Array.from({ length: 1000 }, () => h2.frame(h2.CONTINUATION, 0, 1)));
      for (let at = 0; at < 100 && !client.isClosed; at++) {
        client.write(many);
        await Bun.sleep(0);
      }
      await serves();
      client.close();
    });
  }, 60_000);

  test("empty DATA frames", async () => {
    await isFlat(async () => {
      const client = await h2.RawHttp2.open(ports.grpc);
      client.call(1, "/test.v1.Echo/Up");
      const many = Buffer.concat(Array.from({ length: 1000 }, () => h2.frame(h2.DATA, 0, 1)));
      for (let at = 0; at < 100 && !client.isClosed; at++) {
        client.write(many);
        await Bun.sleep(0);
      }
      await serves();
      await flushed(client);
    });
  }, 60_000);

  test("500 connections that come and go", async () => {
    await isFlat(async () => {
      for (let at = 0; at < 500; at++) {
        const client = await h2.RawHttp2.open(ports.grpc);
        client.call(1, "/test.v1.Echo/Up");
        client.close();
      }
    });
  }, 60_000);
});

describe("readers", () => {
  test("of 100 endless answers that take nothing", async () => {
    const clients: h2.RawHttp2[] = [];
    const before = await rss();
    for (let at = 0; at < 10; at++) {
      const client = await h2.RawHttp2.open(ports.grpc);
      clients.push(client);
      client.pause();
      for (let stream = 1; stream <= 19; stream += 2) {
        client.call(stream, "/test.v1.Echo/Down");
        const request = enveloped({ text: "x".repeat(5_000), times: 1_000_000 });
        for (let from = 0; from < request.length; from += 16_000)
          client.send(h2.DATA, 0, stream, request.subarray(from, from + 16_000));
        client.send(h2.DATA, h2.END_STREAM, stream);
        client.send(h2.WINDOW_UPDATE, 0, stream, Buffer.from([0x7f, 0, 0, 0]));
      }
      client.send(h2.WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0, 0, 0]));
    }
    await Bun.sleep(1_000);
    await serves();
    expect((await rss()) - before).toBeLessThan(128 * 1024);
    for (const client of clients) client.close();
    await serves();
  }, 60_000);
});

test("a fault tells the caller nothing of the program", async () => {
  const fault = await others[0]!.down({ text: "fail" })[Symbol.asyncIterator]().next().catch(ConnectError.from);
  expect((fault as ConnectError).code).toBe(Code.DataLoss);
  expect((fault as ConnectError).message).not.toContain("/");
});
