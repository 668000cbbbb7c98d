import { afterEach, describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { z } from "zod";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import { faultOf, until } from "../../../suites/transport/world.ts";
import { createClient } from "../../client/index.ts";
import { ANONYMOUS, type Call, serverStream, service, topic, unary } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { type Core, type CoreOptions, createCore, memoryStore } from "../../server.ts";
import { encodeFrame, PREFACE } from "../../wire/length-prefix.ts";
import { type TcpPeerOptions, tcpPeer } from "./client.ts";
import { addressOf } from "./client-address.ts";
import { type TcpListener, tcpListener } from "./server.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

const sample = service("s", {
  echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
  count: serverStream(
    { input: z.object({ to: z.number() }), item: z.object({ n: z.number() }) },
    async function* ({ to }) {
      for (let n = 1; n <= to; n++) {
        yield { n };
        if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
  ),
  news: topic({ event: z.object({ n: z.number() }) }),
});

async function started(options: Partial<CoreOptions> = {}): Promise<Core> {
  const core = createCore(sample, { store: memoryStore(), drainMs: 0, ...options });
  await core.start();
  ending.push(() => core.close());
  return core;
}

async function listen(core: Core, port = 0, isTls = false): Promise<TcpListener> {
  const tls = isTls ? testCertificate() : undefined;
  const listener = await tcpListener(core, { hostname: "127.0.0.1", port, tls });
  ending.push(() => listener.stop(0));
  return listener;
}

function peerOf(url: string, options: Partial<TcpPeerOptions> = {}) {
  const peer = tcpPeer({ url, ...options });
  ending.push(() => peer.close());
  return peer;
}

const call = (to: string, rest: Partial<Call> = {}): Call => ({ to, principal: ANONYMOUS, via: "test", ...rest });

async function failing(url: string, options: Partial<TcpPeerOptions> = {}): Promise<Fault> {
  const exchange = await peerOf(url, options)(call("s/echo", { input: 1 }));
  return faultOf(() => exchange.result());
}

/** A server that says and does what it is told to. */
async function strange(run: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    run(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  ending.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `tcp://127.0.0.1:${(server.address() as { port: number }).port}`;
}

const WELCOME = encodeFrame('{"type":"welcome","heartbeatMs":1,"graceMs":1,"limits":{"bodyBytes":1000}}');

describe("addresses", () => {
  test.each([
    ["tcp://localhost", { url: "tcp://localhost:4460", isTls: false, target: { host: "localhost", port: 4460 } }],
    ["tls://a.b.example", { url: "tls://a.b.example:4461", isTls: true, target: { host: "a.b.example", port: 4461 } }],
    ["TCP://127.0.0.1:1/", { url: "tcp://127.0.0.1:1", isTls: false, target: { host: "127.0.0.1", port: 1 } }],
    ["tls://[::1]:9", { url: "tls://[::1]:9", isTls: true, target: { host: "::1", port: 9 } }],
    ["unix:/run/x.sock", { url: "unix:/run/x.sock", isTls: false, target: { path: "/run/x.sock" } }],
    ["unix:///run/x", { url: "unix:/run/x", isTls: false, target: { path: "/run/x" } }],
    ["unix:x", { url: "unix:x", isTls: false, target: { path: "x" } }],
  ])("%s", (url, address) => expect(addressOf(url)).toEqual(address as ReturnType<typeof addressOf>));

  test.each(["", "http://x", "tcp://", "tcp://x:0", "tcp://x:70000", "tcp://x/path", "unix:", "tcp://a:secret@b", "x"])(
    "not %j",
    async (url) => {
      const fault = await faultOf(() => addressOf(url), "invalid_argument");
      expect(fault.message).not.toContain("secret");
      expect(() => tcpPeer({ url })).toThrow();
    },
  );
});

describe("what listens there", () => {
  test("is nothing: nothing was sent", async () => {
    const core = await started();
    const listener = await listen(core);
    await listener.stop();
    expect(await failing(listener.url)).toMatchObject({
      code: "unavailable",
      retryable: true,
      detail: { sent: false },
      message: expect.stringContaining(listener.url),
    });
    expect(await failing("unix:/no/such/socket")).toMatchObject({ code: "unavailable", detail: { sent: false } });
  });

  test("speaks HTTP, or anything else", async () => {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    ending.push(() => server.stop(true));
    for (const [url, says] of [
      [`tcp://127.0.0.1:${server.port}`, "HTTP/1.1 400"],
      [
        await strange((socket) =>
          socket.write("220 mail.example ESMTP Postfix and so on, long enough to be sure of it\r\n"),
        ),
        "220 mail",
      ],
      [await strange((socket) => socket.end("backtalk.v2\n")), "backtalk.v2"],
    ] as const) {
      const fault = await failing(url);
      expect(fault).toMatchObject({ code: "failed_precondition", retryable: false, detail: { sent: false } });
      expect(fault.message).toContain(says);
    }
  });

  test("speaks TLS, or does not", async () => {
    const core = await started();
    const [plain, tls] = [await listen(core), await listen(core, 0, true)];
    const without = await failing(`tls://127.0.0.1:${plain.port}`, { tls: { rejectUnauthorized: false } });
    expect(without).toMatchObject({ code: "failed_precondition", hint: expect.stringContaining("tcp://") });
    const withIt = await failing(`tcp://127.0.0.1:${tls.port}`);
    expect(withIt.hint).toContain("tls://");
  });

  test("has a certificate that is not trusted, until it is", async () => {
    const core = await started();
    const { url, port } = await listen(core, 0, true);
    expect(await failing(url)).toMatchObject({
      code: "failed_precondition",
      hint: expect.stringContaining("certificate"),
    });
    const tls = { ca: testCertificate().cert };
    const trusting = await peerOf(`tls://localhost:${port}`, { tls })(call("s/echo", { input: 1 }));
    expect(await trusting.result()).toBe(1);
    // It is for that name alone.
    expect(await failing(url, { tls })).toMatchObject({ code: "failed_precondition" });
  });

  test("is silent, before and after its preface", async () => {
    for (const says of ["", PREFACE, PREFACE.slice(0, 5)]) {
      const fault = await failing(await strange((socket) => socket.write(says)), { silenceMs: 90 });
      expect(fault).toMatchObject({ code: "unavailable", retryable: true, detail: { sent: false } });
    }
  });

  test("closes before, in and after its welcome", async () => {
    for (const says of ["", PREFACE, `${PREFACE}\0\0\0`, `${PREFACE}\0\0\0\x09{`]) {
      expect(await failing(await strange((socket) => socket.end(says)))).toMatchObject({ code: "unavailable" });
    }
    const url = await strange((socket) => socket.end(Buffer.concat([Buffer.from(PREFACE), WELCOME])));
    expect(await failing(url)).toMatchObject({ code: "unavailable" });
  });

  test("says what cannot be read", async () => {
    for (const frame of [
      encodeFrame("no JSON"),
      Buffer.from([0, 0, 0, 1, 0xff]),
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
      // 64 MiB and a byte.
      Buffer.from([0x04, 0, 0, 1]),
      encodeFrame("null"),
      encodeFrame('{"type":"close"'),
    ]) {
      const url = await strange((socket) => socket.write(Buffer.concat([Buffer.from(PREFACE), WELCOME, frame])));
      expect(await failing(url)).toMatchObject({ code: "unavailable" });
    }
    // At once: not when the connection has been silent for long.
  }, 20_000);

  test("closes with a code", async () => {
    const says = (...frames: string[]) =>
      strange((socket) => socket.end(Buffer.concat([Buffer.from(PREFACE), WELCOME, ...frames.map(encodeFrame)])));
    const closed = (code: number) => `{"type":"close","code":${code},"reason":"r"}`;
    const fault = '{"type":"fault","fault":{"code":"unauthenticated","message":"no"}}';
    expect(await failing(await says(closed(1009)))).toMatchObject({ code: "resource_exhausted", limit: "bodyBytes" });
    expect(await failing(await says(fault, closed(4401)))).toMatchObject({ code: "unauthenticated" });
    expect(await failing(await says(fault, closed(1008)))).toMatchObject({ code: "unauthenticated" });
    const goes = '{"type":"goaway","retryAfterMs":7,"reason":"draining"}';
    expect(await failing(await says(goes, closed(1001)))).toMatchObject({
      code: "unavailable",
      retryAfterMs: 7,
      detail: { close: "draining" },
    });
  });
});

describe("the connection", () => {
  test("is made when it is used, carries everything, and is closed by its owner", async () => {
    const { url, ...listener } = await listenOn();
    let opened = 0;
    const peer = peerOf(url, { onOpen: () => opened++ });
    expect(peer.state).toBe("idle");
    const exchanges = await Promise.all([1, 2, 3].map((n) => peer(call("s/echo", { input: n }))));
    expect(await Promise.all(exchanges.map((each) => each.result()))).toEqual([1, 2, 3]);
    expect([opened, peer.state]).toEqual([1, "open"]);
    peer.close();
    await until(() => listener.size() === 0, "the server to see it");
    expect(peer.state).toBe("idle");
  });

  test("shows no credential in the trace", async () => {
    const core = await started({ authenticate: ({ bearer }) => ({ id: bearer ?? "" }) });
    const { url } = await listen(core);
    const lines: string[] = [];
    const peer = peerOf(url, { token: "secret", trace: (_, text) => lines.push(text) });
    expect(await (await peer(call("s/echo", { input: 1 }))).result()).toBe(1);
    expect(lines.filter((line) => line.includes("secret") && !line.includes("principal"))).toEqual([]);
  });

  async function listenOn() {
    const listener = await listen(await started());
    return { url: listener.url, size: () => listener.size };
  }
});

describe("the SDK", () => {
  test("over TCP: every kind of use, and a stream through a server that comes back", async () => {
    const core = await started();
    let listener = await listen(core);
    const client = createClient<typeof sample>(listener.url, { transport: tcpPeer });
    ending.push(() => client.close());
    expect(client.transport).toBe("own");
    expect(await client.s.echo({ a: 1 })).toEqual({ a: 1 });
    const seen: number[] = [];
    const handle = await client.s.count.start({ to: 500 });
    expect(handle.url).toBe(`${listener.url}/calls/${handle.id}`);
    for await (const event of handle.events) {
      if (event.kind === "item") seen.push(event.data.n);
      if (seen.length === 100) {
        await listener.stop(0);
        listener = await listen(core, listener.port);
      }
    }
    expect(seen).toEqual(Array.from({ length: 500 }, (_, n) => n + 1));
    const { cursor } = await client.topics.news.publish({ n: 1 });
    expect(cursor).toBeString();
    for await (const { data } of client.topics.news.subscribe({ after: "start" })) {
      expect(data).toEqual({ n: 1 });
      break;
    }
  });

  test("asks for a new token when the server wants one", async () => {
    const authenticate: CoreOptions["authenticate"] = ({ bearer }) => {
      if (bearer === "new") return { id: "ann" };
      throw new Fault("unauthenticated", "no");
    };
    const { url } = await listen(await started({ authenticate }));
    let asked = 0;
    const client = createClient<typeof sample>(url, {
      transport: tcpPeer,
      token: () => (asked++ === 0 ? "old" : "new"),
    });
    ending.push(() => client.close());
    expect(await client.s.echo(5)).toBe(5);
    expect(asked).toBe(2);
  });

  test("over TLS, with the options of the client", async () => {
    const { port } = await listen(await started(), 0, true);
    const client = createClient<typeof sample>(`tls://localhost:${port}`, {
      transport: tcpPeer,
      tls: { ca: testCertificate().cert },
    });
    ending.push(() => client.close());
    expect(await client.s.echo(5)).toBe(5);
  });
});
