/**
 * Readers that take nothing. Each holds one page of its log, for as long as the connection lives, and one connection
 * of HTTP/2 carries hundreds of them: the pages of answers that go on have to be small.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:http2";
import { toBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { serverStream, service } from "../../src/contract/index.ts";
import { describeProto } from "../../src/describe/proto/index.ts";
import type { Page, ReadAt, Store } from "../../src/log/index.ts";
import { type Core, createCore, memoryStore } from "../../src/server.ts";
import { httpHandler } from "../../src/transports/http/server.ts";
import { builtinService, made } from "../../src/transports/rpc/builtin.ts";
import { type GrpcListener, grpcListener, rpcHandlers } from "../../src/transports/rpc/server.ts";

const STREAMS = 100;
/** Of a page, its cursors and the like included. */
const MOST = 160 * 1024;

let core: Core;
let web: Bun.Server<undefined>;
let grpc: GrpcListener;
let call: string;
/** Bytes that readers which follow were given, and how many of them there are. */
let given = 0;
let readers = 0;

/** The store, with what is read of it counted. */
function counted(store: Store): Store {
  const read = (log: string, at: ReadAt): AsyncIterable<Page> => {
    const pages = store.read(log, at);
    if (!at.follow || !log.startsWith("calls/")) return pages;
    return {
      [Symbol.asyncIterator]() {
        readers++;
        const iterator = pages[Symbol.asyncIterator]();
        const next = async () => {
          const result = await iterator.next();
          if (!result.done) for (const { json } of result.value.events) given += json.length;
          return result;
        };
        return { next, return: () => iterator.return!() };
      },
    };
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === "read") return read;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

beforeAll(async () => {
  const lab = service("lab", {
    large: serverStream({ input: z.object({}), item: z.string() }, function* () {
      for (let n = 0; n < 300; n++) yield "x".repeat(10_000);
    }),
  });
  core = createCore(lab, { store: counted(memoryStore()), drainMs: 0 });
  await core.start();
  const handler = httpHandler<Bun.Server<undefined>>(core);
  const fetch = (request: Request, server: Bun.Server<undefined>) => handler(request, server) as Response;
  web = Bun.serve({ hostname: "127.0.0.1", port: 0, http2: true, fetch } as never);
  const handlers = rpcHandlers(core, describeProto(core.contract));
  grpc = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits: core.limits });
  const url = `http://127.0.0.1:${web.port}`;
  const opened = await globalThis.fetch(`${url}/lab/large`, {
    method: "POST",
    headers: { prefer: "respond-async", "content-type": "application/json" },
    body: "{}",
  });
  call = ((await opened.json()) as { id: string }).id;
  const ended = await globalThis.fetch(`${url}/calls/${call}/events`, { headers: { accept: "text/event-stream" } });
  expect(await ended.text()).toContain("event: end");
});

afterAll(async () => {
  await web.stop(true);
  await core.close();
  await grpc.stop();
});

async function stalled(url: string, begin: (session: ReturnType<typeof connect>) => void): Promise<number> {
  given = readers = 0;
  const session = connect(url, { settings: { initialWindowSize: 0 } });
  session.on("error", () => {});
  try {
    for (let n = 0; n < STREAMS; n++) begin(session);
    const end = performance.now() + 20_000;
    for (let before = -1; readers < STREAMS || given > before; ) {
      if (performance.now() > end) throw new Error(`${readers} of ${STREAMS} readers have begun`);
      before = readers < STREAMS ? -1 : given;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return given / STREAMS;
  } finally {
    session.destroy();
  }
}

test.each(["text/event-stream", "application/x-ndjson"])("%s", async (accept) => {
  const bytes = await stalled(`http://127.0.0.1:${web.port}`, (session) => {
    session.request({ ":path": `/calls/${call}/events?after=start`, accept }).on("error", () => {});
  });
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThan(MOST);
});

test("gRPC", async () => {
  const { input } = builtinService.methods.find(({ name }) => name === "Read")!;
  const message = toBinary(input, made(input, { log: `calls/${call}`, after: "start", follow: true }) as never);
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  const bytes = await stalled(grpc.url, (session) => {
    const fields = { "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ":method": "POST", ":path": "/backtalk.v1.Backtalk/Read", ...fields });
    stream.on("error", () => {});
    stream.end(body);
  });
  expect(bytes).toBeGreaterThan(10_000);
  // One that is sent, and the one after it.
  expect(bytes).toBeLessThan(2 * MOST);
});
