/** Servers that send more than anybody wants: a length that nobody would read, and answers without an end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { ANONYMOUS } from "../../contract/index.ts";
import { toFault } from "../../log/index.ts";
import { connectPeer, grpcWebPeer, type RpcPeer } from "./client.ts";
import { bounded } from "./client-bounds.ts";
import { grpcPeer } from "./client-grpc.ts";

/** The prefix of a message of 4 GiB less one byte. */
const VAST = new Uint8Array([0, 255, 255, 255, 255]);
const MEBIBYTE = new Uint8Array(1024 * 1024);
let sent = 0;

/** Its first bytes, then zeros for as long as somebody takes them. */
function endless(first: Uint8Array): ReadableStream<Uint8Array> {
  let isFirst = true;
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(isFirst ? first : MEBIBYTE);
      isFirst = false;
      sent++;
    },
  });
}

const web = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request) {
    const type = request.headers.get("content-type")!;
    const isUnary = !/grpc-web|connect\+/.test(type);
    return new Response(endless(isUnary ? new Uint8Array(0) : VAST), { headers: { "content-type": type } });
  },
});
let http2: Http2Server;
let peers: Readonly<Record<string, RpcPeer>>;

beforeAll(async () => {
  http2 = createServer();
  http2.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.write(VAST);
    const more = (): void => {
      while (!stream.destroyed && stream.write(MEBIBYTE)) sent++;
    };
    stream.on("drain", more);
    more();
  });
  await new Promise<void>((resolve) => http2.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${web.port}`;
  const grpcUrl = `http://127.0.0.1:${(http2.address() as AddressInfo).port}`;
  peers = {
    connect: connectPeer({ url }),
    "grpc-web": grpcWebPeer({ url }),
    grpc: grpcPeer({ url: grpcUrl }),
    "grpc with gzip": grpcPeer({ url: grpcUrl, gzip: true }),
  };
});

afterAll(async () => {
  for (const peer of Object.values(peers)) peer.close();
  http2.close();
  await web.stop(true);
});

describe.each(["connect", "grpc-web", "grpc", "grpc with gzip"])("%s", (name) => {
  test("a unary answer is not read on for ever, and not asked for again", async () => {
    sent = 0;
    const exchange = await peers[name]!({ to: "a/b", input: {}, principal: ANONYMOUS, via: "test" });
    const fault = await (async () => exchange.result())().catch(toFault);
    expect(fault).toMatchObject({ code: "data_loss", retryable: false });
    expect(sent).toBeLessThan(100);
  });

  test("nor is a message of a stream", async () => {
    sent = 0;
    const exchange = await peers[name]!({ to: "calls/c1", principal: ANONYMOUS, via: "test" });
    const read = async () => {
      for await (const _ of exchange.read({ from: "start", follow: true }));
    };
    expect(await read().catch(toFault)).toMatchObject({ code: "data_loss", retryable: false });
    expect(sent).toBeLessThan(100);
  });
});

test("messages pass as they were, however they are cut; the first that is too long ends it", async () => {
  const messages = [
    [0, 0, 0, 0, 3, 1, 2, 3],
    [0, 0, 0, 0, 0],
    [128, 0, 0, 0, 4, 1, 2, 3, 4],
  ].flat();
  const long = [0, 0, 0, 0, 5];
  for (let size = 1; size <= messages.length + long.length; size++) {
    const all = [...messages, ...long];
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= all.length) return controller.close();
        controller.enqueue(new Uint8Array(all.slice(at, at + size)));
        at += size;
      },
    });
    const headers = { "content-type": "application/connect+proto", "x-kept": "1" };
    const { status, headers: kept, body: out } = bounded(new Response(body, { status: 201, headers }), 4);
    expect([status, kept.get("x-kept")]).toEqual([201, "1"]);
    const seen: number[] = [];
    let thrown: unknown;
    try {
      for await (const chunk of out!) seen.push(...chunk);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "data_loss" });
    expect(seen).toEqual(all.slice(0, seen.length));
    // With a chunk that shows the length nothing of it is passed on.
    expect(seen.length).toBe(size * Math.ceil(all.length / size - 1));
  }
});
