/** Answers that no server of ours gives, and calls that are given up: each ends as a fault of the right code, once. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcp, type Server } from "node:net";
import { ANONYMOUS } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import type { RpcPeer } from "./client.ts";
import { grpcPeer } from "./client-grpc.ts";

let server: Http2Server;
let answer: (stream: ServerHttp2Stream) => void;
let peer: RpcPeer;

beforeAll(async () => {
  server = createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    answer(stream as ServerHttp2Stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  peer = grpcPeer({ url: `grpc://127.0.0.1:${(server.address() as AddressInfo).port}/prefix/` });
});

afterAll(() => {
  peer.close();
  server.close();
});

const GRPC = { ":status": 200, "content-type": "application/grpc" };
/** `Call` with the output `1` as text. */
const ONE = Buffer.from([0, 0, 0, 0, 5, 10, 3, 18, 1, 49]);

async function call(more: { signal?: AbortSignal; deadline?: number } = {}): Promise<unknown> {
  const exchange = await peer({ to: "a/b", input: {}, principal: ANONYMOUS, via: "test", ...more });
  try {
    return await exchange.result();
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    return `${thrown.code}: ${thrown.message}`;
  }
}

function told(body: readonly Uint8Array[], trailers: Record<string, string>, head: Record<string, unknown> = GRPC) {
  answer = (stream) => {
    stream.respond(head as never, { waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    for (const chunk of body) stream.write(chunk);
    stream.end();
  };
}

describe("answers", () => {
  test("in one piece, in many, and after a request below a path", async () => {
    let path: unknown;
    told([ONE], { "grpc-status": "0" });
    server.once("stream", (_, fields) => {
      path = fields[":path"];
    });
    expect(await call()).toBe(1);
    expect(path).toBe("/prefix/backtalk.v1.Backtalk/Call");
    told(
      [...ONE].map((byte) => Buffer.from([byte])),
      { "grpc-status": "0" },
    );
    expect(await call()).toBe(1);
  });

  const cases: readonly (readonly [name: string, make: () => void, fault: string])[] = [
    ["no message", () => told([], { "grpc-status": "0" }), "unimplemented: protocol error: missing output message"],
    ["two messages", () => told([ONE, ONE], { "grpc-status": "0" }), "unimplemented: protocol error: received extra"],
    ["half a message", () => told([ONE.subarray(0, 8)], { "grpc-status": "0" }), "unavailable: the connection broke"],
    ["a packed one", () => told([Buffer.from([1, 0, 0, 0, 0])], { "grpc-status": "0" }), "unavailable: the connection"],
    ["no Protobuf", () => told([Buffer.from([0, 0, 0, 0, 1, 255])], { "grpc-status": "0" }), "unavailable: the conn"],
    ["no status", () => told([ONE], { "x-other": "0" }), "unavailable: the connection broke: protocol error: missing"],
    ["a status", () => told([], { "grpc-status": "5", "grpc-message": "n%C3%B6" }), "not_found: nö"],
    ["a status that is none", () => told([], { "grpc-status": "99" }), "unavailable: the connection broke: invalid"],
    ["HTTP's 404", () => told([], {}, { ":status": 404 }), "unimplemented: the server answered HTTP 404"],
    ["HTTP's 503", () => told([], {}, { ":status": 503 }), "unavailable: the connection broke: HTTP 503"],
    ["a page", () => told([ONE], {}, { ":status": 200, "content-type": "text/html" }), "unavailable: the connection"],
  ];
  for (const [name, make, fault] of cases) {
    test(name, async () => {
      make();
      expect(await call()).toStartWith(fault);
    });
  }

  test("a page without an end is not read: the server is told (CANCEL)", async () => {
    const reset = new Promise<number | undefined>((resolve) => {
      answer = (stream) => {
        stream.once("close", () => resolve(stream.rstCode));
        stream.respond({ ":status": 404 });
        stream.write("half of a page");
      };
    });
    expect(await call()).toBe("unimplemented: the server answered HTTP 404");
    expect(await reset).toBe(8);
  });

  test("trailers alone", async () => {
    answer = (stream) =>
      stream.respond({ ...GRPC, "grpc-status": "7", "grpc-message": "not%20you" }, { endStream: true });
    expect(await call()).toBe("permission_denied: not you");
  });

  test("a reset, before and after the header", async () => {
    answer = (stream) => stream.close(11);
    // Bun 1.4.5 does not tell the code of a reset after the request was sent; Node does.
    expect(await call()).toMatch(/^(unavailable: the connection broke|resource_exhausted: the server has asked)/);
    answer = (stream) => {
      stream.respond(GRPC);
      stream.write(ONE, () => stream.close(2));
    };
    expect(await call()).toStartWith("unavailable: the connection broke");
  });

  test("a connection that ends in the middle; the next call connects anew", async () => {
    answer = (stream) => stream.session!.destroy();
    expect(await call()).toStartWith("unavailable: the connection broke");
    told([ONE], { "grpc-status": "0" });
    expect(await call()).toBe(1);
  });
});

describe("calls that are given up", () => {
  const resetOf = () =>
    new Promise<number | undefined>((resolve) => {
      answer = (stream) => stream.once("close", () => resolve(stream.rstCode));
    });

  test("by the caller: the server is told (CANCEL)", async () => {
    const reset = resetOf();
    const abort = new AbortController();
    server.once("stream", () => abort.abort());
    expect(await call({ signal: abort.signal })).toStartWith("cancelled");
    expect(await reset).toBe(8);
    expect(await call({ signal: abort.signal })).toStartWith("cancelled");
  });

  test("at the deadline: the server was told of it, and is told of the end", async () => {
    const reset = resetOf();
    let timeout: unknown;
    server.once("stream", (_, fields) => {
      timeout = fields["grpc-timeout"];
    });
    expect(await call({ deadline: Date.now() + 150 })).toStartWith("deadline_exceeded");
    expect(timeout).toMatch(/^\d+m$/);
    expect(await reset).toBe(8);
  });

  test("while it connects: nothing is sent, and nothing is left", async () => {
    const silent: Server = createTcp(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const other = grpcPeer({ url: `grpc://127.0.0.1:${(silent.address() as AddressInfo).port}` });
    const exchange = await other({
      to: "a/b",
      principal: ANONYMOUS,
      via: "test",
      deadline: Date.now() + 50,
    });
    expect((async () => exchange.result())()).rejects.toMatchObject({ code: "deadline_exceeded" });
    other.close();
    silent.close();
  });
});
