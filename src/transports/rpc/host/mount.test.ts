/** Connect and gRPC-Web on the HTTP listeners: HTTP/1.1, 2 and 3. */
import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createConnectTransport as createFetchTransport } from "@connectrpc/connect-web";
import { LIMITS } from "../../../contract/index.ts";
import { makeCertificate } from "../../../net/certificate.ts";
import type { HttpServer } from "../../../net/mount.ts";
import { type Served, serve } from "../../../net/serve.ts";
import { type RpcMountOptions, rpcMount } from "./mount.ts";
import {
  type EchoClient,
  type EchoHooks,
  echoClient,
  echoHandlers,
  enveloped,
  prefixed,
  texts,
  until,
} from "./testing/echo.ts";

const certificate = makeCertificate(["localhost"], Date.now());
const open: Served[] = [];

async function host(
  options: Partial<RpcMountOptions> & { hooks?: EchoHooks; tls?: boolean; idleSeconds?: number } = {},
) {
  const { hooks, tls, ...rest } = options;
  const limits = rest.limits ?? LIMITS;
  const mount = rpcMount(echoHandlers(limits, hooks), { limits, ...rest });
  const served = await serve<undefined>({
    hostname: "127.0.0.1",
    ...(tls ? { tls: { ...certificate, port: 0 } } : { port: 0 }),
    limits: LIMITS,
    fetch: (request, server) => {
      if (!mount.matches(new URL(request.url).pathname)) return new Response("not ours", { status: 404 });
      return mount.fetch(request, server as unknown as HttpServer);
    },
    ...(rest.idleSeconds !== undefined && { idleSeconds: rest.idleSeconds }),
  });
  open.push(served);
  return { mount, url: served.listeners[0]!.url, port: served.listeners[0]!.port };
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((served) => served.stop()));
});

async function codeOf(made: Promise<unknown>): Promise<Code | undefined> {
  try {
    await made;
    return undefined;
  } catch (thrown) {
    return ConnectError.from(thrown).code;
  }
}

const nodeOptions = { rejectUnauthorized: false };
const WAYS: readonly (readonly [name: string, tls: boolean, (url: string) => EchoClient])[] = [
  ["Connect over HTTP/1.1", false, (baseUrl) => echoClient(createConnectTransport({ baseUrl, httpVersion: "1.1" }))],
  ["Connect over h2c", false, (baseUrl) => echoClient(createConnectTransport({ baseUrl, httpVersion: "2" }))],
  [
    "Connect over h2",
    true,
    (baseUrl) => echoClient(createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions })),
  ],
  ["gRPC-Web over HTTP/1.1", false, (baseUrl) => echoClient(createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }))],
  [
    "gRPC-Web over h2",
    true,
    (baseUrl) => echoClient(createGrpcWebTransport({ baseUrl, httpVersion: "2", nodeOptions })),
  ],
  [
    "packed",
    false,
    (baseUrl) => echoClient(createConnectTransport({ baseUrl, httpVersion: "2", sendCompression: compressionGzip })),
  ],
];

describe("calls", () => {
  for (const [name, tls, make] of WAYS) {
    test(`of all kinds by ${name}`, async () => {
      const { url } = await host({ tls });
      const client = make(url);
      const seen: (string | null)[] = [];
      const said = await client.unary(
        { text: "hello" },
        {
          onHeader: (header) => void seen.push(header.get("x-before")),
          onTrailer: (trailer) => void seen.push(trailer.get("x-after")),
        },
      );
      expect([said.text, ...seen]).toEqual(["hello", "1", "2"]);
      const via = name.startsWith("gRPC-Web") ? "grpc-web" : "connect";
      expect(JSON.parse((await client.unary({ text: "who" })).text)).toEqual({ address: "127.0.0.1", via });
      const text = "0123456789".repeat(300_000);
      expect((await client.unary({ text })).text === text).toBe(true);
      expect(await Array.fromAsync(client.down({ text: "a", times: 500 }))).toHaveLength(500);
      expect((await client.up(texts(500))).times).toBe(1500);
      expect(await Array.fromAsync(client.both(texts(500)))).toHaveLength(500);
      expect(await codeOf(Array.fromAsync(client.down({ text: "fail", times: 3 })))).toBe(Code.DataLoss);
      expect(await codeOf(client.unary({ text: "wait" }, { timeoutMs: 50 }))).toBe(Code.DeadlineExceeded);
    });
  }

  test("over HTTP/3", async () => {
    const { url } = await host({ tls: true });
    const overQuic = ((input: string, init: RequestInit) =>
      fetch(input, { ...init, protocol: "http3", tls: { rejectUnauthorized: false } } as RequestInit)) as typeof fetch;
    const client = echoClient(createFetchTransport({ baseUrl: url, fetch: overQuic, useBinaryFormat: true }));
    expect((await client.unary({ text: "hello" })).text).toBe("hello");
    expect(await Array.fromAsync(client.down({ text: "a", times: 500 }))).toHaveLength(500);
    expect(await codeOf(Array.fromAsync(client.down({ text: "fail", times: 3 })))).toBe(Code.DataLoss);
  });

  test("by GET, and by curl's POST of JSON", async () => {
    const { url } = await host();
    const query = new URLSearchParams({ connect: "v1", encoding: "json", message: '{"text":"hello"}' });
    const got = await fetch(`${url}/test.v1.Echo/Unary?${query}`);
    expect([got.status, await got.json()]).toEqual([200, { text: "hello" }]);
    expect(got.headers.get("content-length")).toBe("16");
    const headers = { "content-type": "application/json" };
    const posted = await fetch(`${url}/test.v1.Echo/Unary`, { method: "POST", headers, body: '{"text":"hello"}' });
    expect([posted.status, await posted.json()]).toEqual([200, { text: "hello" }]);
  });

  test("may be silent for longer than the idle timeout of the listener", async () => {
    const { promise: gate, resolve: go } = Promise.withResolvers<void>();
    const timeouts: number[] = [];
    const { mount } = await host({ hooks: { gate: () => gate }, idleSeconds: 7 });
    const body = enveloped({ text: "a", times: 2 });
    const headers = { "content-type": "application/grpc-web" };
    const server: HttpServer = {
      requestIP: () => null,
      timeout: (_, seconds) => void timeouts.push(seconds),
    };
    const response = await mount.fetch(
      new Request("http://a/test.v1.Echo/Down", { method: "POST", headers, body: body as BodyInit }),
      server,
    );
    expect(timeouts).toEqual([0]);
    go();
    await response!.bytes();
    expect(timeouts).toEqual([0, 7]);
  });
});

describe("refusals", () => {
  const post = (
    url: string,
    type: string | undefined,
    body: Uint8Array | string = "{}",
    more: Record<string, string> = {},
  ) =>
    fetch(url, { method: "POST", body: body as BodyInit, headers: { ...(type && { "content-type": type }), ...more } });

  test("of another type say what is taken", async () => {
    const { url } = await host();
    for (const type of ["text/plain", "application/connect+json", "application/json+foo", undefined]) {
      const refused = await post(`${url}/test.v1.Echo/Unary`, type, Buffer.from("{}"));
      expect([type, refused.status, refused.headers.get("accept-post")]).toEqual([
        type,
        415,
        "application/json, application/proto, application/grpc-web, application/grpc-web+json",
      ]);
      expect(await refused.json()).toMatchObject({ status: 415, code: "invalid_argument" });
    }
    const stream = await post(`${url}/test.v1.Echo/Down`, "application/json");
    expect([stream.status, stream.headers.get("accept-post")]).toEqual([
      415,
      "application/connect+json, application/connect+proto, application/grpc-web, application/grpc-web+json",
    ]);
  });

  test("of another method say which is possible", async () => {
    const { url } = await host();
    for (const [method, path, allow] of [
      ["GET", "Down", "POST"],
      ["PUT", "Unary", "POST, GET"],
      ["OPTIONS", "Up", "POST"],
    ] as const) {
      const refused = await fetch(`${url}/test.v1.Echo/${path}`, { method });
      expect([method, refused.status, refused.headers.get("allow")]).toEqual([method, 405, allow]);
    }
  });

  test("of what is not there are unimplemented in each protocol", async () => {
    const { url } = await host();
    const connect = await post(`${url}/test.v1.Echo/Nothing`, "application/json");
    expect([connect.status, await connect.json()]).toEqual([
      404,
      { code: "unimplemented", message: "there is no method /test.v1.Echo/Nothing" },
    ]);
    const web = await post(`${url}/test.v1.Nobody/Unary`, "application/grpc-web+proto");
    expect([web.status, web.headers.get("grpc-status"), (await web.bytes()).length]).toEqual([200, "12", 0]);
    for (const [, , make] of WAYS.slice(0, 2)) {
      const client = make(`${url}`);
      expect((await client.unary({ text: "on" })).text).toBe("on");
    }
  });

  test("of gRPC say where it is spoken", async () => {
    const { url } = await host({ grpcUrl: () => "http://127.0.0.1:4402" });
    const client = echoClient(createGrpcTransport({ baseUrl: url }));
    const fault = await client.unary({ text: "a" }).catch((thrown) => ConnectError.from(thrown));
    expect(fault).toMatchObject({ code: Code.Unimplemented });
    expect((fault as ConnectError).message).toContain("http://127.0.0.1:4402");
  });

  test("of what is too large, packed or not, and of what is broken", async () => {
    const { url } = await host({ limits: { ...LIMITS, bodyBytes: 10_000 } });
    const unary = `${url}/test.v1.Echo/Unary`;
    const large = JSON.stringify({ text: "x".repeat(10_000) });
    expect(await (await post(unary, "application/json", large)).json()).toMatchObject({ code: "resource_exhausted" });
    const bomb = gzipSync(JSON.stringify({ text: "x".repeat(10_000_000) }));
    const packed = await post(unary, "application/json", bomb, { "content-encoding": "gzip" });
    expect(await packed.json()).toMatchObject({ code: "resource_exhausted" });
    for (const [name, body] of [
      ["no gzip", "not gzip"],
      ["gzip that breaks off", gzipSync('{"text":"hello"}').subarray(0, 20)],
    ] as const) {
      const broken = await post(unary, "application/json", body, { "content-encoding": "gzip" });
      expect([name, broken.ok, broken.status < 600]).toEqual([name, false, true]);
    }
    const unknown = await post(unary, "application/json", "{}", { "content-encoding": "lzma" });
    expect(await unknown.json()).toMatchObject({ code: "unimplemented" });
    const down = `${url}/test.v1.Echo/Down`;
    for (const [name, body, code] of [
      ["a length that lies", prefixed(Buffer.alloc(3), 0, 4_000_000_000), "resource_exhausted"],
      ["a length beyond the end", prefixed(Buffer.alloc(3), 0, 100), "invalid_argument"],
      ["half a prefix", Buffer.from([0, 0]), "invalid_argument"],
      ["nothing", Buffer.alloc(0), "unimplemented"],
      ["packed by nothing", enveloped({ text: "a" }, 1), "internal"],
      ["no message", prefixed(Buffer.from([255, 255, 255])), "internal"],
    ] as const) {
      const answer = await post(down, "application/connect+proto", body);
      const end = Buffer.from(await answer.bytes())
        .subarray(5)
        .toString();
      expect([name, answer.status, JSON.parse(end).error?.code]).toEqual([name, 200, code]);
    }
  });

  test("of a body that does not arrive in time", async () => {
    const { port } = await host({ limits: { ...LIMITS, bodyMs: 50 } });
    const socket = connect(port, "127.0.0.1");
    let said = "";
    socket.on("data", (data: Buffer) => {
      said += data.toString("latin1");
    });
    socket.write(
      "POST /test.v1.Echo/Unary HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    );
    await until(() => said.includes("deadline_exceeded"));
    socket.destroy();
  });
});

describe("bodies that nobody reads", () => {
  /** Sends a request of HTTP/1.1 whose body is as long as it says, or not; gives what comes. */
  function send(port: number, head: string, body: Uint8Array, until: (said: string) => boolean): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1");
      let said = "";
      socket.on("error", () => {});
      socket.on("data", (data: Buffer) => {
        said += data.toString("latin1");
        if (until(said)) socket.destroy();
      });
      socket.on("close", () => resolve(said));
      socket.write(`${head}\r\n\r\n`);
      socket.write(body);
    });
  }

  test("are taken when they are short, so that the connection goes on", async () => {
    const { port } = await host();
    const refused =
      "POST /test.v1.Echo/Unary HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 100000";
    const next = "GET /test.v1.Echo/Unary?connect=v1&encoding=json&message=%7B%7D HTTP/1.1\r\nHost: a\r\n\r\n";
    const socket = connect(port, "127.0.0.1");
    let said = "";
    socket.on("data", (data: Buffer) => {
      said += data.toString("latin1");
    });
    socket.write(`${refused}\r\n\r\n`);
    socket.write(Buffer.alloc(100_000));
    await until(() => said.includes("HTTP/1.1 415"));
    expect(said.toLowerCase()).not.toContain("connection: close");
    socket.write(next);
    await until(() => said.includes("HTTP/1.1 200"));
    socket.destroy();
  });

  test("end the connection when they are long, or do not come", async () => {
    const { port } = await host({ limits: { ...LIMITS, bodyBytes: 1000 } });
    for (const [name, head, body] of [
      ["refused, long", "Content-Type: text/plain\r\nContent-Length: 1000000", Buffer.alloc(10_000)],
      ["refused, and then silent", "Content-Type: text/plain\r\nContent-Length: 1000", Buffer.alloc(10)],
      ["too large", "Content-Type: application/json\r\nContent-Length: 1000000", Buffer.alloc(10_000)],
    ] as const) {
      const said = await send(port, `POST /test.v1.Echo/Unary HTTP/1.1\r\nHost: a\r\n${head}`, body, (all) =>
        all.includes("}"),
      );
      expect([name, /HTTP\/1.1 4(15|29)/.test(said), said.toLowerCase().includes("connection: close")]).toEqual([
        name,
        true,
        true,
      ]);
    }
  });
});

test("Bun sends the header of a stream with its first byte: nothing shorter than a message can go out before", async () => {
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const body = () =>
    (async function* () {
      yield new Uint8Array(0);
      await gate;
      yield new Uint8Array(1);
    })();
  const served = await serve<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    limits: LIMITS,
    fetch: () => new Response(body() as unknown as BodyInit),
  });
  open.push(served);
  let isHere = false;
  const response = fetch(served.listeners[0]!.url).then((each) => {
    isHere = true;
    return each;
  });
  // When this fails, streams can tell their header at once: see toResponse in mount.ts.
  await Bun.sleep(100);
  expect(isHere).toBe(false);
  go();
  expect(await (await response).bytes()).toHaveLength(1);
});

describe("readers", () => {
  test("that leave abort the handler", async () => {
    for (const httpVersion of ["1.1", "2"] as const) {
      const reasons: unknown[] = [];
      const { url } = await host({
        hooks: { onAbort: (reason) => reasons.push(reason), gate: () => new Promise(() => {}) },
      });
      const client = echoClient(createConnectTransport({ baseUrl: url, httpVersion }));
      const leave = new AbortController();
      const items = client.down({ text: "a", times: 2 }, { signal: leave.signal })[Symbol.asyncIterator]();
      await items.next();
      leave.abort();
      await items.next().catch(() => {});
      await until(() => reasons.length === 1);
      const gone = new AbortController();
      const waiting = client.unary({ text: "wait" }, { signal: gone.signal }).catch(() => {});
      await Bun.sleep(20);
      gone.abort();
      await waiting;
      await until(() => reasons.length === 2);
    }
  });

  test("that are slow stop the handler", async () => {
    let items = 0;
    const { port } = await host({ hooks: { onItem: () => items++ } });
    const socket = connect(port, "127.0.0.1");
    socket.pause();
    // 10 GB, if all of it was made.
    const body = prefixed(Buffer.from(JSON.stringify({ text: "x".repeat(10_000), times: 1_000_000 })));
    const type = "Content-Type: application/connect+json";
    socket.write(`POST /test.v1.Echo/Down HTTP/1.1\r\nHost: a\r\n${type}\r\nContent-Length: ${body.length}\r\n\r\n`);
    socket.write(body);
    await until(() => items > 0);
    for (let last = -1; last !== items; ) {
      last = items;
      await Bun.sleep(200);
    }
    // What the kernel takes for a socket that nobody reads is several megabytes.
    expect(items).toBeLessThan(2_000);
    socket.destroy();
  });
});

describe("addresses", () => {
  test("are those with a package, and no others", async () => {
    const { mount } = await host();
    for (const path of ["/test.v1.Echo/Unary", "/a.B/c", "/grpc.health.v1.Health/Check"])
      expect([path, mount.matches(path)]).toEqual([path, true]);
    for (const path of [
      "/studio/isPrime",
      "/.well-known/x",
      "/a.b",
      "/a.b/",
      "/a.b/c/d",
      "/a..b/c",
      "/favicon.ico",
      "/",
    ])
      expect([path, mount.matches(path)]).toEqual([path, false]);
  });

  test("may be used by pages with the fields of the protocols", async () => {
    const { mount } = await host();
    const { methods, accepts, exposes } = mount.cors!;
    expect(methods).toBe("POST, GET");
    for (const name of ["connect-protocol-version", "connect-timeout-ms", "grpc-timeout", "x-grpc-web", "x-user-agent"])
      expect(accepts!.split(", ")).toContain(name);
    for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin"])
      expect(exposes!.split(", ")).toContain(name);
  });
});
