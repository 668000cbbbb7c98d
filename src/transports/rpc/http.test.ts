/** Connect and gRPC-Web on the HTTP listeners: what Bun's server does to headers, breaks and half of a stream. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import { Control, suiteService } from "../../../suites/transport/service.ts";
import { until } from "../../../suites/transport/world.ts";
import { ANONYMOUS, type CallState } from "../../contract/index.ts";
import { describeProto } from "../../describe/proto/index.ts";
import { type Served, serve } from "../../net/serve.ts";
import { type Core, createCore, memoryStore } from "../../server.ts";
import { httpHandler } from "../http/server.ts";
import { rpcHandlers, rpcMount } from "./server.ts";

const control = new Control();
let core: Core;
let served: Served;
let port = 0;
let tlsPort = 0;

beforeAll(async () => {
  core = createCore(suiteService(control), { store: memoryStore(), drainMs: 0 });
  await core.start();
  const mount = rpcMount(rpcHandlers(core, describeProto(core.contract)), { limits: core.limits });
  served = await serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { ...testCertificate(), port: 0 },
    fetch: httpHandler(core, { mounts: [mount] }) as never,
    limits: core.limits,
  });
  port = served.listeners[0]!.port;
  tlsPort = served.listeners[1]!.port;
});

afterAll(async () => {
  await core.close();
  await served.stop();
});

function frame(text: string): Buffer {
  const head = Buffer.alloc(5);
  const body = Buffer.from(text);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

const JSON_STREAM = { "content-type": "application/connect+json" };

async function stateOf(id: string): Promise<CallState> {
  const exchange = await core.peer({ to: `calls/${id}`, principal: ANONYMOUS, via: "t" });
  return (await exchange.state()) as CallState;
}

/** The messages of a stream of Connect. */
function framesIn(bytes: Uint8Array): string[] {
  const all = Buffer.from(bytes);
  const texts: string[] = [];
  for (let at = 0; at + 5 <= all.length; at += 5 + all.readUInt32BE(at + 1)) {
    texts.push(all.subarray(at + 5, at + 5 + all.readUInt32BE(at + 1)).toString());
  }
  return texts;
}

describe("a stream", () => {
  for (const [protocol, url, more] of [
    ["http1.1", () => `http://127.0.0.1:${port}`, {}],
    ["http2", () => `https://127.0.0.1:${tlsPort}`, { protocol: "http2", tls: { rejectUnauthorized: false } }],
    ["http3", () => `https://127.0.0.1:${tlsPort}`, { protocol: "http3", tls: { rejectUnauthorized: false } }],
  ] as const) {
    test(`${protocol}: its header tells the call and the verdict`, async () => {
      const name = `header-${protocol}`;
      // Bun's server sends no header before the first byte of a body.
      control.source(name).push("a");
      const answer = await fetch(`${url()}/t.T/Stream`, {
        method: "POST",
        headers: JSON_STREAM,
        body: new Uint8Array(frame(`{"source":"${name}"}`)),
        ...more,
      } as RequestInit);
      expect(answer.headers.get("backtalk-call")).toMatch(/^c\w{26}$/);
      expect(answer.headers.get("backtalk-verdict")).toBe("recovered");
      control.source(name).end();
      const texts = framesIn(await answer.bytes());
      expect(texts.map((text) => JSON.parse(text) as unknown)).toEqual([
        { value: "a" },
        { metadata: { "backtalk-cursor": [expect.stringMatching(/^\w+-\w+$/)] } },
      ]);
    }, 60_000);
  }
});

describe("HTTP/1.1", () => {
  test("a client stream that breaks off is not ended, and a bidirectional one works one way after the other", async () => {
    const socket = connect(port, "127.0.0.1");
    const chunk = (bytes: Buffer) =>
      Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
    socket.on("error", () => {});
    socket.write("POST /t.T/Sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\n");
    socket.write("Idempotency-Key: cut\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const n of [1, 2, 3]) socket.write(chunk(frame(`{"value":${n}}`)));
    const opened = await core.peer({ to: "t/sum", key: "cut", principal: ANONYMOUS, via: "t" });
    const id = opened.id!;
    await until(async () => (await stateOf(id)).received?.items === 3, "the items");
    socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect((await stateOf(id)).received).toEqual({ items: 3, ended: false });
    expect((await stateOf(id)).state).toBe("running");
    const rest = await fetch(`http://127.0.0.1:${port}/t.T/Sum`, {
      method: "POST",
      headers: { ...JSON_STREAM, "backtalk-call": id, "backtalk-seq": "3" },
      body: new Uint8Array(frame('{"value":4}')),
    });
    expect(framesIn(await rest.bytes())[0]).toBe('{"value":10}');
    const shout = await fetch(`http://127.0.0.1:${port}/t.T/Shout`, {
      method: "POST",
      headers: JSON_STREAM,
      body: new Uint8Array(Buffer.concat([frame('{"value":"a"}'), frame('{"value":"b"}')])),
    });
    expect(framesIn(await shout.bytes()).slice(0, 2)).toEqual(['{"value":"A"}', '{"value":"B"}']);
  }, 60_000);

  test("a reader that goes away ends its reading, and not its call", async () => {
    const abort = new AbortController();
    control.source("leaves").push(1);
    const answer = await fetch(`http://127.0.0.1:${port}/t.T/Stream`, {
      method: "POST",
      headers: JSON_STREAM,
      body: new Uint8Array(frame('{"source":"leaves"}')),
      signal: abort.signal,
    });
    const id = answer.headers.get("backtalk-call")!;
    const open = 'backtalk_subscriptions{transport="connect"} 1';
    expect(core.metrics.text()).toContain(open);
    abort.abort();
    await until(() => !core.metrics.text().includes(open), "the end of the reading");
    expect((await stateOf(id)).state).toBe("running");
  }, 60_000);
});
