/** What no client should send: each gets a status, nothing half is done, and the server goes on. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ClientHttp2Session, connect } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { toolsOf } from "../../../suites/store/case.ts";
import { Control, suiteService } from "../../../suites/transport/service.ts";
import { ANONYMOUS, type CallState } from "../../contract/index.ts";
import { describeProto } from "../../describe/proto/index.ts";
import { type Core, createCore, memoryStore } from "../../server.ts";
import { httpHandler } from "../http/server.ts";
import { builtinService, made } from "./builtin.ts";
import { type GrpcListener, grpcListener, rpcHandlers, rpcMount } from "./server.ts";

const LIMITS = { bodyBytes: 100_000, jsonDepth: 20, keyChars: 20 };

let core: Core;
let listener: GrpcListener;
let web: Bun.Server<undefined>;
let session: ClientHttp2Session;

beforeAll(async () => {
  core = createCore(suiteService(new Control()), { store: memoryStore(), drainMs: 0, limits: LIMITS });
  await core.start();
  const handlers = rpcHandlers(core, describeProto(core.contract));
  listener = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits: core.limits });
  const handler = httpHandler<Bun.Server<undefined>>(core, { mounts: [rpcMount(handlers, { limits: core.limits })] });
  web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request, server) => handler(request, server) as Response });
  session = connect(listener.url);
  session.on("error", () => {});
});

afterAll(async () => {
  session.destroy();
  await web.stop(true);
  await core.close();
  await listener.stop();
});

interface Status {
  readonly status: string | undefined;
  readonly message: string;
  readonly details: string;
  readonly bytes: Buffer;
}

/** Sends bytes as the body of a gRPC call, and gives the status that it gets. */
function grpc(path: string, body: Uint8Array, fields: Record<string, string> = {}): Promise<Status> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":path": path,
      ":method": "POST",
      "content-type": "application/grpc",
      te: "trailers",
      ...fields,
    });
    let all: Record<string, unknown> = {};
    const chunks: Buffer[] = [];
    stream.on("response", (headers) => {
      all = { ...all, ...headers };
    });
    stream.on("trailers", (trailers) => {
      all = { ...all, ...trailers };
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () =>
      resolve({
        status: all["grpc-status"] as string | undefined,
        message: decodeURIComponent(String(all["grpc-message"] ?? "")),
        details: Buffer.from(String(all["grpc-status-details-bin"] ?? ""), "base64").toString("latin1"),
        bytes: Buffer.concat(chunks),
      }),
    );
    stream.end(body);
  });
}

function frame(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** A field that holds bytes: number, length, bytes. */
function field(number: number, bytes: Uint8Array): Buffer {
  const length: number[] = [];
  let left = bytes.length;
  for (; left > 127; left >>>= 7) length.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, left]), bytes]);
}

const lives = async () => {
  const { status, bytes } = await grpc("/t.T/Double", frame(Buffer.from([9, 0, 0, 0, 0, 0, 0, 8, 64])));
  expect([status, bytes.length > 5]).toEqual(["0", true]);
};

const OK = "0";
const INVALID = "3";
const DEADLINE = "4";
const NOT_FOUND = "5";
const EXHAUSTED = "8";
const UNIMPLEMENTED = "12";
const INTERNAL = "13";

describe("gRPC", () => {
  test("bytes of all kinds get a status", async () => {
    const paths = ["/t.T/Double", "/t.T/Count", "/t.T/Sum", "/t.T/Shout", "/t.T/Nested", "/t.T/PublishTicks"];
    for (const name of ["Describe", "Call", "Open", "Read", "State", "Append", "Publish", "Cancel", "Result"])
      paths.push(`/backtalk.v1.Backtalk/${name}`);
    paths.push("/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    for (let seed = 1; seed <= 40; seed++) {
      const { pick } = toolsOf(seed);
      const bytes = (most: number) => Buffer.from(Array.from({ length: pick(most) }, () => pick(256)));
      for (const path of paths) {
        const message = bytes(60);
        const body = [frame(message), message, frame(message, pick(256)), Buffer.concat([frame(message), bytes(9)])][
          pick(4)
        ]!;
        const { status } = await grpc(path, body);
        expect([seed, path, status]).toEqual([seed, path, expect.stringMatching(/^\d+$/)]);
      }
    }
    await lives();
  }, 120_000);

  test("fields of a wrong type, and numbers that are none", async () => {
    // Field 1 as a string, where it is a double.
    expect((await grpc("/t.T/Double", frame(Buffer.from([10, 1, 65])))).status).toBe(INTERNAL);
    const nan = Buffer.alloc(9);
    nan[0] = 9;
    nan.writeDoubleLE(Number.NaN, 1);
    const { status, message } = await grpc("/t.T/Double", frame(nan));
    expect([status, message]).toEqual([INVALID, expect.stringContaining("n must be a number")]);
    // Text that is not UTF-8.
    expect((await grpc("/t.T/Gate", frame(Buffer.from([10, 2, 0xc3, 0x28])))).status).not.toBe(OK);
    await lives();
  });

  test("no message, two messages, and a message without its end", async () => {
    expect((await grpc("/t.T/Double", Buffer.alloc(0))).status).toBe(UNIMPLEMENTED);
    const two = Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))]);
    expect((await grpc("/t.T/Double", two)).status).toBe(UNIMPLEMENTED);
    expect((await grpc("/t.T/Double", Buffer.from([0, 0, 0, 0, 9, 1]))).status).toBe(INVALID);
    await lives();
  });

  test("too large: announced, sent, and unpacked", async () => {
    const lie = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]);
    const large = frame(Buffer.concat([Buffer.from([10, 0xc0, 0x9a, 0x0c]), Buffer.alloc(200_000, 65)]));
    const bomb = frame(gzipSync(Buffer.alloc(20_000_000)), 1);
    for (const [body, fields] of [
      [lie, {}],
      [large, {}],
      [bomb, { "grpc-encoding": "gzip" }],
    ] as const) {
      const { status, details } = await grpc("/t.T/Gate", body, fields);
      expect([status, details.includes("bodyBytes")]).toEqual([EXHAUSTED, true]);
    }
    await lives();
  });

  test("compression that is unknown, or is none", async () => {
    const packed = frame(Buffer.from("not gzip"), 1);
    expect((await grpc("/t.T/Double", packed, { "grpc-encoding": "lzma" })).status).toBe(UNIMPLEMENTED);
    expect((await grpc("/t.T/Double", packed, { "grpc-encoding": "gzip" })).status).toBe(INVALID);
    // Packed, but not said how.
    expect((await grpc("/t.T/Double", packed)).status).toBe(INTERNAL);
    await lives();
  });

  test("deadlines and metadata", async () => {
    const call = (fields: Record<string, string>) => grpc("/t.T/Double", frame(Buffer.alloc(0)), fields);
    expect((await call({ "grpc-timeout": "0m" })).status).toBe(DEADLINE);
    expect((await call({ "grpc-timeout": "soon" })).status).toBe(INVALID);
    expect((await call({ "grpc-timeout": "999999999H" })).status).toBe(INVALID);
    expect((await call({ "grpc-timeout": "99999999H" })).status).toBe(OK);
    const long = await call({ "idempotency-key": "k".repeat(21) });
    expect([long.status, long.details.includes("keyChars")]).toEqual([INVALID, true]);
    expect((await call({ "backtalk-call": "../../etc" })).status).toBe(NOT_FOUND);
    expect((await call({ "backtalk-after": "now " })).status).toBe(OK);
    expect((await call({ "idempotency-key": "ümlaut" })).status).toBe(INVALID);
    expect((await call({ traceparent: "00-xyz" })).status).toBe(OK);
    await lives();
  });

  test("what nests too deeply", async () => {
    const append = builtinService.methods.find(({ name }) => name === "Call")!;
    const call = (input: object) => {
      const request = made(append.input, { method: "t/echo", input, text: true });
      return grpc("/backtalk.v1.Backtalk/Call", frame(toBinary(append.input, request)));
    };
    const text = (levels: number) => ({ text: "[".repeat(levels) + "]".repeat(levels) });
    expect((await call(text(19))).status).toBe(OK);
    const deep = await call(text(21));
    expect([deep.status, deep.details.includes("jsonDepth")]).toEqual([INVALID, true]);
    expect((await call({ text: "{" })).status).toBe(INVALID);
    expect(
      (await call({ text: "1", value: create(ValueSchema, { kind: { case: "boolValue", value: true } }) })).status,
    ).toBe(INVALID);
    // Arrays in arrays as Value messages: within what is parsed, and far beyond it.
    const typed = (levels: number) => {
      let value: Buffer = Buffer.alloc(0);
      for (let n = 0; n < levels; n++) value = field(6, field(1, value));
      return grpc("/t.T/Echo", frame(field(1, value)));
    };
    expect((await typed(19)).status).toBe(OK);
    const between = await typed(40);
    expect([between.status, between.details.includes("jsonDepth")]).toEqual([INVALID, true]);
    expect((await typed(9_000)).status).toBe(INTERNAL);
    await lives();
  });

  test("requests that are reset in the middle, many at once, end no stream of items", async () => {
    const other = connect(listener.url);
    other.on("error", () => {});
    const count = 200;
    await Promise.all(
      Array.from(
        { length: count },
        (_, n) =>
          new Promise<void>((resolve) => {
            const fields = { "content-type": "application/grpc", "idempotency-key": `reset-${n}` };
            const stream = other.request({ ":path": "/t.T/Sum", ":method": "POST", ...fields });
            stream.on("error", () => {});
            stream.on("close", resolve);
            stream.on("response", () => stream.close(8));
            stream.write(frame(Buffer.from([9, 0, 0, 0, 0, 0, 0, 8, 64])));
          }),
      ),
    );
    await lives();
    for (let n = 0; n < count; n++) {
      const call = { to: "t/sum", key: `reset-${n}`, principal: ANONYMOUS, via: "t" };
      const state = (await (await core.peer(call)).state()) as CallState;
      expect([n, state.state, state.received?.ended]).toEqual([n, "running", false]);
    }
    other.destroy();
  });

  test("what a handler gives and no message can hold is internal, and is there as text", async () => {
    const call = builtinService.methods.find(({ name }) => name === "Call")!;
    const request = made(call.input, { method: "t/echo", input: { text: '"\\ud800"' }, text: false });
    const { status, bytes } = await grpc("/backtalk.v1.Backtalk/Call", frame(toBinary(call.input, request)));
    expect([status, bytes.toString("latin1").includes('"\\ud800"')]).toEqual([OK, true]);
    const open = builtinService.methods.find(({ name }) => name === "Open")!;
    const opened = await grpc(
      "/backtalk.v1.Backtalk/Open",
      frame(toBinary(open.input, made(open.input, { method: "t/echo", input: { text: '"\\ud800"' } }))),
    );
    const id = /c[0-9a-z]{26}/.exec(opened.bytes.toString("latin1"))![0];
    const typed = await grpc("/t.T/Echo", frame(Buffer.alloc(0)), { "backtalk-call": id });
    expect([typed.status, typed.details.includes("text: true")]).toEqual([INTERNAL, true]);
  });

  test("a fault that is too large for a trailer is cut, not lost", async () => {
    const fault = {
      code: "aborted",
      message: "ä".repeat(5_000),
      hint: "h".repeat(5_000),
      retryAfterMs: 7,
      limit: "someLimit",
      fields: Array.from({ length: 500 }, (_, n) => ({ path: `list[${n}]`, message: "wrong" })),
    };
    const call = builtinService.methods.find(({ name }) => name === "Call")!;
    const request = made(call.input, { method: "t/fails", input: { text: JSON.stringify(fault) } });
    const answer = await grpc("/backtalk.v1.Backtalk/Call", frame(toBinary(call.input, request)));
    expect(answer.status).toBe("10");
    expect(answer.message).toBe(`${"ä".repeat(510)}…`);
    expect(answer.details.length).toBeLessThan(3_300);
    for (const kept of ["someLimit", "list[0]", "RetryInfo"]) expect(answer.details).toContain(kept);
  });
});

describe("Connect and gRPC-Web", () => {
  const post = (
    path: string,
    body: string | Uint8Array<ArrayBuffer> | ReadableStream,
    type = "application/json",
    more: Record<string, string> = {},
  ) => fetch(`${web.url.origin}${path}`, { method: "POST", body, headers: { "content-type": type, ...more } });

  test("JSON of all kinds, and what is no JSON", async () => {
    for (const [body, status] of [
      ["{", 400],
      ["[]", 400],
      ['{"n":"x"}', 400],
      ['{"n":1,"unknown":1}', 200],
      ['{"n":1e999}', 400],
      [`{"n":${"9".repeat(400)}}`, 400],
      ["", 400],
      ['{"__proto__":{"x":1},"n":1}', 200],
    ] as const) {
      const answer = await post("/t.T/Double", body);
      expect([body.slice(0, 40), answer.status]).toEqual([body.slice(0, 40), status]);
      if (status !== 200) expect(await answer.json()).toMatchObject({ code: "invalid_argument" });
    }
    const deep = await post("/t.T/Echo", `{"value":${"[".repeat(40_000)}${"]".repeat(40_000)}}`);
    expect(deep.status).toBeGreaterThanOrEqual(400);
    await deep.text();
    expect((await post("/t.T/Double", '{"n":2}')).status).toBe(200);
  });

  test("too large, announced and sent in pieces", async () => {
    const big = JSON.stringify({ source: "x".repeat(200_000) });
    for (const body of [big, new Blob([big]).stream()]) {
      const answer = await post("/t.T/Gate", body);
      expect(answer.status).toBe(429);
      const fault = (await answer.json()) as { code: string; details: { type: string }[] };
      expect([fault.code, fault.details[0]?.type]).toEqual(["resource_exhausted", "google.rpc.ErrorInfo"]);
    }
  });

  test("bytes of all kinds, framed and not", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { pick } = toolsOf(seed);
      const bytes = Buffer.from(Array.from({ length: pick(80) }, () => pick(256)));
      const body = new Uint8Array(pick(2) === 0 ? bytes : frame(bytes, pick(4) === 0 ? pick(256) : 0));
      const types = [
        "application/proto",
        "application/connect+proto",
        "application/grpc-web+proto",
        "application/connect+json",
      ];
      const paths = ["/t.T/Double", "/t.T/Count", "/t.T/Sum", "/t.T/Shout", "/backtalk.v1.Backtalk/Read"];
      const answer = await post(paths[pick(paths.length)]!, body, types[pick(types.length)]);
      expect(answer.status).toBeLessThan(501);
      await answer.arrayBuffer();
    }
    for (const query of [
      "?connect=v1",
      "?connect=v1&encoding=json&message=%",
      "?connect=v1&encoding=proto&base64=1&message=***",
    ]) {
      const answer = await fetch(`${web.url.origin}/t.T/Double${query}`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(501);
      await answer.arrayBuffer();
    }
    expect((await post("/t.T/Double", '{"n":2}')).status).toBe(200);
  });

  test("deadlines", async () => {
    const zero = await post("/t.T/Double", '{"n":2}', "application/json", { "connect-timeout-ms": "0" });
    expect([zero.status, await zero.json()]).toEqual([504, expect.objectContaining({ code: "deadline_exceeded" })]);
    const bad = await post("/t.T/Double", '{"n":2}', "application/json", { "connect-timeout-ms": "soon" });
    expect(bad.status).toBe(400);
  });
});
