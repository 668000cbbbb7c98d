/** A service without generated code, for the tests of hosting: a text and a number, in all four kinds. */
import { create, createFileRegistry, type DescService, toBinary } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  createConnectRouter,
  type HandlerContext,
  type Transport,
} from "@connectrpc/connect";
import { LIMITS, type Limits } from "../../../../contract/index.ts";
import { callerKey } from "../caller.ts";
import { routerOptions } from "../router.ts";

export const ECHO = echoService();

/** `test.v1.Echo`: `Text { string text = 1; uint32 times = 2; }` in and out. */
function echoService(): DescService {
  const text = "test.v1.Text";
  const file: FileDescriptorProto = create(FileDescriptorProtoSchema, {
    name: "test/v1/echo.proto",
    package: "test.v1",
    syntax: "proto3",
    messageType: [
      {
        name: "Text",
        field: [
          {
            name: "text",
            number: 1,
            type: FieldDescriptorProto_Type.STRING,
            label: FieldDescriptorProto_Label.OPTIONAL,
            jsonName: "text",
          },
          {
            name: "times",
            number: 2,
            type: FieldDescriptorProto_Type.UINT32,
            label: FieldDescriptorProto_Label.OPTIONAL,
            jsonName: "times",
          },
        ],
      },
    ],
    service: [
      {
        name: "Echo",
        method: [
          { name: "Unary", inputType: `.${text}`, outputType: `.${text}`, options: { idempotencyLevel: 1 } },
          { name: "Down", inputType: `.${text}`, outputType: `.${text}`, serverStreaming: true },
          { name: "Up", inputType: `.${text}`, outputType: `.${text}`, clientStreaming: true },
          { name: "Both", inputType: `.${text}`, outputType: `.${text}`, clientStreaming: true, serverStreaming: true },
        ],
      },
    ],
  });
  const registry = createFileRegistry(file, () => undefined);
  return registry.getService("test.v1.Echo")!;
}

export interface Text {
  readonly text: string;
  readonly times: number;
}
type TextInit = Partial<Text>;

/** The clients of a service that is known only when the program runs have no types: these are its. */
export interface EchoClient {
  unary(input: TextInit, options?: CallOptions): Promise<Text>;
  down(input: TextInit, options?: CallOptions): AsyncIterable<Text>;
  up(input: AsyncIterable<TextInit>, options?: CallOptions): Promise<Text>;
  both(input: AsyncIterable<TextInit>, options?: CallOptions): AsyncIterable<Text>;
}

export function echoClient(transport: Transport): EchoClient {
  return createClient(ECHO, transport) as unknown as EchoClient;
}

export interface EchoHooks {
  /** Hears of each item that `Down` yields. */
  readonly onItem?: () => void;
  /** Hears of the end of each signal. */
  readonly onAbort?: (reason: unknown) => void;
  /** `Down` waits for it after its first item, when it is given. */
  readonly gate?: () => Promise<unknown>;
}

/**
 * `Unary` gives its text back, or as many letters as it says; `Down` gives its text so many times, then fails when
 * the text is "fail"; `Up` counts letters; `Both` echoes.
 */
export function echoHandlers(limits: Pick<Limits, "bodyBytes"> = LIMITS, hooks: EchoHooks = {}) {
  const router = createConnectRouter(routerOptions(limits));
  const implementation = {
    unary({ text, times }: Text, { responseHeader, responseTrailer, values, signal }: HandlerContext) {
      signal.addEventListener("abort", () => hooks.onAbort?.(signal.reason));
      responseHeader.set("x-before", "1");
      responseTrailer.set("x-after", "2");
      if (text === "misfit") responseTrailer.set("connection", "close");
      if (text === "who") return { text: JSON.stringify(values.get(callerKey)) };
      if (text === "rss") {
        Bun.gc(true);
        return { times: Math.round(process.memoryUsage().rss / 1024) };
      }
      if (text === "wait")
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      return { text: times > 0 ? text.repeat(times) : text };
    },
    async *down({ text, times }: Text, { signal }: HandlerContext) {
      signal.addEventListener("abort", () => hooks.onAbort?.(signal.reason));
      for (let at = 0; at < times; at++) {
        hooks.onItem?.();
        yield { text, times: at };
        if (at === 0) await hooks.gate?.();
      }
      if (text === "fail") throw new ConnectError("as asked", Code.DataLoss);
    },
    async up(items: AsyncIterable<Text>, { signal }: HandlerContext) {
      signal.addEventListener("abort", () => hooks.onAbort?.(signal.reason));
      let letters = 0;
      for await (const { text } of items) letters += text.length;
      return { times: letters };
    },
    async *both(items: AsyncIterable<Text>, { signal }: HandlerContext) {
      signal.addEventListener("abort", () => hooks.onAbort?.(signal.reason));
      yield* items;
    },
  };
  router.service(ECHO, implementation as unknown as Parameters<typeof router.service>[1]);
  return router;
}

export async function* texts(times: number, text = "abc"): AsyncGenerator<TextInit> {
  for (let at = 0; at < times; at++) yield { text, times: at };
}

/** A message of `Text` with its prefix, as it goes over the wire. */
export function enveloped(message: TextInit, flags = 0): Buffer {
  const data = toBinary(ECHO.method["unary"]!.input, create(ECHO.method["unary"]!.input, message));
  return prefixed(data, flags);
}

export function prefixed(data: Uint8Array, flags = 0, length = data.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, data]);
}

/** Waits until it holds. */
export async function until(holds: () => unknown, withinMs = 5_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${holds}`);
    await Bun.sleep(5);
  }
}
