/** The typed methods over all three protocols, by the clients of Connect: metadata, resume, deadlines, drains. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { create, type DescMethodStreaming, type DescMethodUnary, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Control, suiteService } from "../../../suites/transport/service.ts";
import { until } from "../../../suites/transport/world.ts";
import { ANONYMOUS } from "../../contract/index.ts";
import { describeProto, type ProtoDescription } from "../../describe/proto/index.ts";
import { Fault } from "../../log/index.ts";
import { type Core, createCore, memoryStore } from "../../server.ts";
import { fromStatus } from "./faults.ts";
import { type GrpcListener, grpcListener, rpcHandlers } from "./server.ts";

class Server {
  readonly control = new Control();
  readonly store = memoryStore();
  readonly core: Core;
  readonly description: ProtoDescription;
  #listener: GrpcListener | undefined;

  constructor(options: Partial<Parameters<typeof createCore>[1]> = {}) {
    this.core = createCore(suiteService(this.control), { drainMs: 0, store: this.store, ...options });
    this.description = describeProto(this.core.contract);
  }

  async start(): Promise<this> {
    await this.core.start();
    const handlers = rpcHandlers(this.core, this.description);
    const { limits } = this.core;
    this.#listener = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits });
    return this;
  }

  transport(protocol: string): Transport {
    const options = { baseUrl: this.#listener!.url, httpVersion: "2" as const };
    if (protocol === "grpc") return createGrpcTransport(options);
    return protocol === "grpc-web" ? createGrpcWebTransport(options) : createConnectTransport(options);
  }

  method(name: string) {
    return this.description.methods.get(`/t.T/${name}`)!;
  }

  async stop(): Promise<void> {
    await this.core.close();
    await this.#listener?.stop();
    await this.store.close();
  }
}

type Given = Readonly<Record<string, string>>;

class Typed {
  readonly #server: Server;
  readonly #transport: Transport;

  constructor(server: Server, protocol: string) {
    this.#server = server;
    this.#transport = server.transport(protocol);
  }

  async unary(name: string, input: unknown, header: Given = {}, timeoutMs?: number, signal?: AbortSignal) {
    const { desc, input: codec, output } = this.#server.method(name);
    const answer = await this.#transport.unary(
      desc as DescMethodUnary,
      signal,
      timeoutMs,
      header,
      codec.toMessage(input) as never,
    );
    return { output: output.fromMessage(answer.message), header: answer.header, trailer: answer.trailer };
  }

  async stream(
    name: string,
    inputs: readonly unknown[] | AsyncIterable<unknown>,
    header: Given = {},
    signal?: AbortSignal,
  ) {
    const { desc, input } = this.#server.method(name);
    return this.#open(desc as DescMethodStreaming, map(inputs, input.toMessage), header, signal);
  }

  async subscribe(topic: string, after: string | undefined, header: Given = {}, signal?: AbortSignal) {
    const { subscribe } = this.#server.description.topics.get(`/t.T/${topic}`)!;
    const message = create(subscribe.input, { ...(after !== undefined && { after }) } as never);
    return this.#open(
      subscribe as DescMethodStreaming,
      map([message], (each) => each as Message),
      header,
      signal,
    );
  }

  async publish(topic: string, event: unknown, header: Given = {}) {
    const { publish, event: codec } = this.#server.description.topics.get(`/t.T/${topic}`)!;
    const request = codec.toMessage(event) as never;
    const { message } = await this.#transport.unary(publish as DescMethodUnary, undefined, undefined, header, request);
    return message as unknown as { cursor: string; duplicate: boolean };
  }

  async #open(desc: DescMethodStreaming, messages: AsyncIterable<Message>, header: Given, signal?: AbortSignal) {
    const answer = await this.#transport.stream(desc, signal, undefined, header, messages as never);
    const iterator = answer.message[Symbol.asyncIterator]();
    return { header: answer.header, trailer: answer.trailer, iterator, all: () => collect(iterator) };
  }
}

async function* map(inputs: readonly unknown[] | AsyncIterable<unknown>, to: (input: unknown) => Message) {
  for await (const each of inputs) yield to(each);
}

type Each = Record<string, unknown>;

async function collect(iterator: AsyncIterator<unknown>): Promise<Each[]> {
  const all: Each[] = [];
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) all.push(next.value as Each);
  return all;
}

async function statusOf(run: () => unknown): Promise<{ fault: Fault; error: ConnectError }> {
  try {
    await run();
  } catch (thrown) {
    if (thrown instanceof ConnectError) return { fault: fromStatus(thrown), error: thrown };
    throw thrown;
  }
  throw new Error("no status");
}

const metaOf = (error: ConnectError, trailer: Headers, name: string) => error.metadata.get(name) ?? trailer.get(name);

for (const protocol of ["grpc", "grpc-web", "connect"]) {
  describe(protocol, () => {
    let server: Server;
    let typed: Typed;
    beforeAll(async () => {
      server = await new Server().start();
      typed = new Typed(server, protocol);
    });
    afterAll(() => server.stop());

    test("a plain unary call is answered and not recorded", async () => {
      const { output, header } = await typed.unary("Double", { n: 21 });
      expect(output).toEqual({ n: 42 });
      expect(header.get("backtalk-call")).toBeNull();
    });

    test("kept and keyed calls tell their id, and a key is replayed", async () => {
      for (const meta of [{ "backtalk-keep": "true" }, { prefer: "respond-async" }] as Given[]) {
        const { header } = await typed.unary("Double", { n: 1 }, meta);
        expect(header.get("backtalk-call")).toMatch(/^c[0-9a-z]{26}$/);
      }
      const key = { "idempotency-key": `k-${protocol}` };
      const first = await typed.unary("Double", { n: 3 }, key);
      const again = await typed.unary("Double", { n: 3 }, key);
      expect(again.output).toEqual({ n: 6 });
      expect(again.header.get("backtalk-call")).toBe(first.header.get("backtalk-call"));
      expect([first, again].map(({ header }) => header.get("idempotency-replayed"))).toEqual([null, "true"]);
      const { fault } = await statusOf(() => typed.unary("Double", { n: 4 }, key));
      expect(fault).toMatchObject({ code: "invalid_argument", detail: { key: "reused" } });
    });

    test("a unary call whose caller has gone is gone on with by its id", async () => {
      const name = `gone-${protocol}`;
      const caller = new AbortController();
      const key = { "idempotency-key": name };
      const lost = typed.unary("Gate", { source: name }, key, undefined, caller.signal).catch(() => "gone");
      await until(() => server.control.started(name) === 1, "the handler");
      caller.abort();
      expect(await lost).toBe("gone");
      const core = await server.core.peer({
        to: "t/gate",
        input: { source: name },
        key: name,
        principal: ANONYMOUS,
        via: "t",
      });
      const back = typed.unary("Gate", { source: "ignored" }, { "backtalk-call": core.id! });
      server.control.source(name).push("there");
      expect((await back).output).toBe("there");
      expect(server.control.started(name)).toBe(1);
    });

    test("a call that is not recorded is cancelled with its caller, one of onDisconnect cancel too", async () => {
      for (const [method, meta] of [
        ["Gate", {}],
        ["Tied", { "backtalk-keep": "true" }],
      ] as const) {
        const name = `cancel-${method}-${protocol}`;
        const caller = new AbortController();
        const lost = typed.unary(method, { source: name }, meta, undefined, caller.signal).catch(() => {});
        await until(() => server.control.started(name) === 1, "the handler");
        caller.abort();
        await lost;
        await until(() => server.control.aborted(name) !== undefined, "the abort");
      }
    });

    test("the trace is continued", async () => {
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
      const { output, header } = await typed.unary("Trace", {}, { traceparent });
      const own = (output as { traceparent: string }).traceparent;
      expect(own.slice(0, 35)).toBe(traceparent.slice(0, 35));
      expect(own).not.toBe(traceparent);
      expect(header.get("traceparent")).toBe(own);
    });

    test("a deadline ends the call, also one that has passed before it came", async () => {
      const name = `deadline-${protocol}`;
      const { fault } = await statusOf(() => typed.unary("Gate", { source: name }, {}, 60));
      expect(fault.code).toBe("deadline_exceeded");
      await until(() => server.control.started(name) === 0 || server.control.aborted(name) !== undefined, "the abort");
      const meta: Given = protocol === "connect" ? { "connect-timeout-ms": "0" } : { "grpc-timeout": "0n" };
      const past = `past-${protocol}`;
      const zero = await statusOf(() => typed.unary("Gate", { source: past }, meta));
      expect(zero.fault.code).toBe("deadline_exceeded");
      expect(server.control.started(past)).toBe(0);
    });

    test("a fault has its details", async () => {
      const sent = { code: "aborted", message: "no: „nein“", retryable: false, hint: "h", retryAfterMs: 1500.25 };
      const { fault } = await statusOf(() => typed.unary("Fails", sent));
      expect(fault.toJSON()).toEqual(sent as never);
    });

    test("a stream tells its call and verdict before its first item, and its cursor at the end", async () => {
      const name = `s-${protocol}`;
      const { header, trailer, iterator } = await typed.stream("Stream", [{ source: name }], {
        "backtalk-cursors": "true",
      });
      // Nothing was said yet: the header came by itself.
      expect(header.get("backtalk-verdict")).toBe("recovered");
      expect(header.get("backtalk-from")).toBe("start");
      const id = header.get("backtalk-call")!;
      server.control.source(name).push("a", "b", "c");
      const seen: Each[] = [];
      for (let n = 0; n < 2; n++) seen.push((await iterator.next()).value as Each);
      expect(seen.map((each) => server.method("Stream").output.fromMessage(each as never))).toEqual(["a", "b"]);
      const cursor = seen[1]!["backtalkCursor"] as string;
      expect(cursor).not.toBe("");
      server.control.source(name).end();
      const back = await typed.stream("Stream", [{ source: "ignored" }], {
        "backtalk-call": id,
        "backtalk-after": cursor,
      });
      expect(back.header.get("backtalk-verdict")).toBe("recovered");
      expect(back.header.get("backtalk-to")).toBe(cursor);
      const rest = await back.all();
      expect(rest.map((each) => server.method("Stream").output.fromMessage(each as never))).toEqual(["c"]);
      // Who did not ask for cursors gets none.
      expect(rest[0]!["backtalkCursor"]).toBe("");
      await collect(iterator);
      const end = trailer.get("backtalk-cursor")!;
      expect(back.trailer.get("backtalk-cursor")).toBe(end);
      const after = await typed.stream("Stream", [{ source: "" }], { "backtalk-call": id, "backtalk-after": end });
      expect(await after.all()).toEqual([]);
    });

    test("a failed stream says so again to who comes back behind its end", async () => {
      const name = `f-${protocol}`;
      server.control.source(name).push(1);
      server.control.source(name).end(new Fault("out_of_range", "no more"));
      const stream = await typed.stream("Stream", [{ source: name }]);
      const { fault, error } = await statusOf(() => stream.all());
      expect(fault.code).toBe("out_of_range");
      const cursor = metaOf(error, stream.trailer, "backtalk-cursor")!;
      const id = stream.header.get("backtalk-call")!;
      const again = await statusOf(async () =>
        (await typed.stream("Stream", [{ source: "" }], { "backtalk-call": id, "backtalk-after": cursor })).all(),
      );
      expect(again.fault.code).toBe("out_of_range");
    });

    test("verdicts: gap with its state in the header, reset, and what is no cursor", async () => {
      const stream = await typed.stream("Count", [{ to: 10 }], { "backtalk-cursors": "true" });
      const id = stream.header.get("backtalk-call")!;
      const cursors = (await stream.all()).map((each) => each["backtalkCursor"] as string);
      const other = await typed.stream("Count", [{ to: 1 }], {});
      await other.all();
      const foreign = other.trailer.get("backtalk-cursor")!;
      const reset = await typed.stream("Count", [{ to: 1 }], { "backtalk-call": id, "backtalk-after": foreign });
      expect(reset.header.get("backtalk-verdict")).toBe("reset");
      expect(Buffer.from(reset.header.get("backtalk-state-bin")!, "base64").toString()).toBe("0");
      expect(await reset.all()).toHaveLength(10);
      await server.store.trim(`calls/${id}`, cursors[4] as never);
      const gap = await typed.stream("Count", [{ to: 1 }], { "backtalk-call": id, "backtalk-after": cursors[1]! });
      expect([gap.header.get("backtalk-verdict"), gap.header.get("backtalk-to")]).toEqual(["gap", cursors[4]!]);
      expect(await gap.all()).toHaveLength(5);
      const { fault } = await statusOf(async () =>
        (await typed.stream("Count", [{ to: 1 }], { "backtalk-call": id, "backtalk-after": "x" })).all(),
      );
      expect(fault).toMatchObject({ code: "invalid_argument", fields: [{ path: "after" }] });
    });

    test("a call is gone on with by its own method only, and only if it is there", async () => {
      const stream = await typed.stream("Count", [{ to: 1 }]);
      const id = stream.header.get("backtalk-call")!;
      await stream.all();
      const { fault } = await statusOf(() => typed.unary("Gate", { source: "" }, { "backtalk-call": id }));
      expect(fault).toMatchObject({ code: "invalid_argument", fields: [{ path: "backtalk-call" }] });
      const gone = await statusOf(() => typed.unary("Gate", { source: "" }, { "backtalk-call": `c${"0".repeat(26)}` }));
      expect(gone.fault.code).toBe("not_found");
    });

    test("metadata that cannot be read is said by its name", async () => {
      for (const [name, value] of [
        ["backtalk-keep", "yes"],
        ["backtalk-seq", "-1"],
        ["backtalk-after", "../x"],
        ["backtalk-cursors", "1"],
        ["idempotency-key", '"a'],
      ] as const) {
        const { fault } = await statusOf(() => typed.unary("Double", { n: 1 }, { [name]: value }));
        expect([name, fault.code]).toEqual([name, "invalid_argument"]);
        expect(fault.fields).toHaveLength(1);
      }
    });

    test("items of the caller are stored as they come, and a result ends the wait", async () => {
      const many = Array.from({ length: 500 }, (_, n) => n);
      const sum = await typed.stream("Sum", many);
      const [message] = await sum.all();
      expect(server.method("Sum").output.fromMessage(message as never)).toBe((499 * 500) / 2);
      expect(sum.header.get("backtalk-call")).not.toBeNull();
    });

    test("a client stream that breaks off is gone on with by numbers, or by its key from its first item", async () => {
      const key = { "idempotency-key": `sum-${protocol}` };
      const caller = new AbortController();
      let isSent: (() => void) | undefined;
      const sent = new Promise<void>((resolve) => {
        isSent = resolve;
      });
      const half = async function* () {
        yield* [1, 2, 3];
        isSent!();
        await new Promise(() => {});
      };
      const stream = await typed.stream("Sum", half(), key, caller.signal);
      const lost = stream.all().catch(() => {});
      await sent;
      const id = stream.header.get("backtalk-call")!;
      const received = async () => {
        const exchange = await server.core.peer({ to: `calls/${id}`, principal: ANONYMOUS, via: "t" });
        return (await exchange.state()) as { received: { items: number; ended: boolean } };
      };
      await until(async () => (await received()).received.items === 3, "three items");
      caller.abort();
      await lost;
      // A cancelled stream is not its end.
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await received()).received).toEqual({ items: 3, ended: false });
      const more = async function* () {
        yield 4;
        await new Promise(() => {});
      };
      const second = new AbortController();
      const back = await typed.stream("Sum", more(), { "backtalk-call": id, "backtalk-seq": "3" }, second.signal);
      const gone = back.all().catch(() => {});
      expect(back.header.get("backtalk-seq")).toBe("3");
      await until(async () => (await received()).received.items === 4, "the fourth");
      second.abort();
      await gone;
      const end = await typed.stream("Sum", [1, 2, 3, 4, 5], key);
      const [message] = await end.all();
      expect(server.method("Sum").output.fromMessage(message as never)).toBe(15);
    });

    test("an item that is refused is the answer, and the call waits for the rest", async () => {
      const wrong = async function* () {
        yield "a";
        yield "x".repeat(server.core.limits.itemBytes + 10);
        await new Promise(() => {});
      };
      const stream = await typed.stream("Shout", wrong());
      const { fault } = await statusOf(() => stream.all());
      expect(fault).toMatchObject({ code: "resource_exhausted", limit: "itemBytes" });
      const id = stream.header.get("backtalk-call")!;
      const back = await typed.stream("Shout", ["b"], { "backtalk-call": id });
      expect(back.header.get("backtalk-seq")).toBe("1");
      const all = (await back.all()).map((each) => server.method("Shout").output.fromMessage(each as never));
      expect(all).toEqual(["A", "B"]);
    });

    test("bidi: answers come while items go", async () => {
      let push: ((text: string | undefined) => void) | undefined;
      const inputs = async function* () {
        for (;;) {
          const text = await new Promise<string | undefined>((resolve) => {
            push = resolve;
          });
          if (text === undefined) return;
          yield text;
        }
      };
      const stream = await typed.stream("Shout", inputs());
      for (const text of ["a", "b"]) {
        await until(() => push !== undefined, "the sender");
        const say = push!;
        push = undefined;
        say(text);
        const { value } = await stream.iterator.next();
        expect(server.method("Shout").output.fromMessage(value as never)).toBe(text.toUpperCase());
      }
      await until(() => push !== undefined, "the sender");
      push!(undefined);
      expect(await stream.all()).toEqual([]);
    });

    test("topics: publish with a key, subscribe from a place, in the message or the metadata", async () => {
      const key = { "idempotency-key": `p-${protocol}` };
      const first = await typed.publish("SubscribeTicks", { n: 1 }, key);
      expect(first.duplicate).toBe(false);
      expect(await typed.publish("SubscribeTicks", { n: 1 }, key)).toMatchObject({
        duplicate: true,
        cursor: first.cursor,
      });
      await typed.publish("SubscribeTicks", { n: 2 });
      const stop = new AbortController();
      const read = async (after: string | undefined, meta: Given) => {
        const stream = await typed.subscribe("SubscribeTicks", after, meta, stop.signal);
        return (await stream.iterator.next()).value as Each;
      };
      expect((await read(first.cursor, {}))["n"]).toBe(2);
      expect((await read(undefined, { "backtalk-after": first.cursor }))["n"]).toBe(2);
      const now = await typed.subscribe("SubscribeTicks", undefined, {}, stop.signal);
      expect(now.header.get("backtalk-verdict")).toBe("recovered");
      await typed.publish("SubscribeTicks", { n: 3 });
      expect(((await now.iterator.next()).value as Each)["n"]).toBe(3);
      stop.abort();
    });
  });
}

describe("a drain", () => {
  for (const protocol of ["grpc", "grpc-web", "connect"]) {
    test(`${protocol}: tells readers when to come back and from where, and ends no call`, async () => {
      const server = await new Server({ drainMs: 0 }).start();
      const typed = new Typed(server, protocol);
      const stream = await typed.stream("Stream", [{ source: "d" }], { "backtalk-cursors": "true" });
      server.control.source("d").push(1);
      const cursor = ((await stream.iterator.next()).value as Each)["backtalkCursor"] as string;
      const ended = statusOf(() => stream.iterator.next());
      const draining = server.core.drain();
      const { fault, error } = await ended;
      expect(fault).toMatchObject({ code: "unavailable", retryable: true, detail: { close: "drain" } });
      expect(fault.retryAfterMs).toBeGreaterThanOrEqual(0);
      expect(metaOf(error, stream.trailer, "backtalk-cursor")).toBe(cursor);
      await draining;
      await server.stop();
    });
  }
});

describe("the life of a response", () => {
  test("ends after long, and with the credential, to be read on", async () => {
    for (const [why, options] of [
      ["rotate", { timing: { rotateMs: 60 } }],
      ["expired", { authenticate: () => ({ id: "ann", expiresAt: Date.now() + 60 }) }],
    ] as const) {
      const server = await new Server(options).start();
      const stream = await new Typed(server, "grpc").stream("Stream", [{ source: "r" }]);
      const { fault } = await statusOf(() => stream.all());
      expect(fault).toMatchObject({ code: "unavailable", detail: { close: why }, retryAfterMs: 0 });
      await server.stop();
    }
  });

  test("streams are counted, and limited", async () => {
    const server = await new Server({ limits: { connections: 1 } }).start();
    const typed = new Typed(server, "grpc");
    const stop = new AbortController();
    const one = await typed.stream("Stream", [{ source: "1" }], {}, stop.signal);
    const { fault, error } = await statusOf(async () => (await typed.stream("Stream", [{ source: "2" }])).all());
    expect(fault).toMatchObject({ code: "resource_exhausted", limit: "connections", retryable: true });
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(server.core.metrics.text()).toContain('backtalk_subscriptions{transport="grpc"} 1');
    stop.abort();
    await one.all().catch(() => {});
    await until(() => server.core.metrics.text().includes('backtalk_subscriptions{transport="grpc"} 0'), "its end");
    await server.stop();
  });
});
