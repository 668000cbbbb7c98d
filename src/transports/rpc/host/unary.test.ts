/** The short way answers as the handlers of the protocols do: each request goes both ways, and the answers are compared. */
import { describe, expect, test } from "bun:test";
import { create, type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createConnectRouter, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { toolsOf } from "../../../../suites/store/case.ts";
import { LIMITS } from "../../../contract/index.ts";
import { byPath, routerOptions } from "./router.ts";
import { ECHO, prefixed, type Text } from "./testing/echo.ts";
import { answerUnary, type UnaryRequest } from "./unary.ts";
import { Whole } from "./whole.ts";

const MOST = 5_000;
const METHOD = ECHO.method["unary"] as DescMethod;
const options = routerOptions({ ...LIMITS, bodyBytes: MOST });

async function run(input: Message, context: HandlerContext): Promise<Message> {
  const { text, times } = input as Message & Text;
  context.responseHeader.set("x-timeout", String(context.timeoutMs() !== undefined));
  context.responseHeader.set("x-protocol", `${context.protocolName} ${context.requestMethod} ${context.url}`);
  context.responseHeader.set("x-sent", context.requestHeader.get("x-sent") ?? "nothing");
  if (text.startsWith("trailer")) context.responseTrailer.set("x-after", "thé end".normalize("NFKD").slice(0, 2));
  if (text.startsWith("late")) await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
  if (text.startsWith("late")) throw context.signal.reason;
  if (text.startsWith("defect")) throw new TypeError("secret");
  if (text.startsWith("fail")) {
    const error = new ConnectError("no: „nein“ %", Code.Aborted, { "x-meta": "1" });
    error.details = [{ type: METHOD.output.typeName, value: toBinary(METHOD.output, output("d")) }];
    throw error;
  }
  return output(text.repeat(times + 1));
}

function output(text: string): Message {
  return create(METHOD.output, { text } as never);
}

const router = createConnectRouter(options);
router.rpc(METHOD, run as never);
const long = byPath(router).get("/test.v1.Echo/Unary")!;
let shorts = 0;
const short = (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
  const counted = (input: Message, context: HandlerContext) => {
    shorts++;
    return run(input, context);
  };
  const packings = options.acceptCompression;
  return answerUnary(request as UnaryRequest, { run: counted, method: METHOD, most: MOST, packings, otherwise: long });
};

interface Sent {
  readonly fields: Readonly<Record<string, string>>;
  readonly chunks: readonly Uint8Array[];
  readonly breaksOff?: boolean;
}

async function seen(way: typeof short, { fields, chunks, breaksOff }: Sent): Promise<unknown> {
  const body = async function* () {
    yield* chunks;
    if (breaksOff) throw new ConnectError("the body broke off", Code.Aborted);
  };
  const answer = await way({
    httpVersion: "2.0",
    method: "POST",
    url: "http://localhost/test.v1.Echo/Unary",
    header: new Headers(fields),
    body: body(),
    signal: new AbortController().signal,
    contextValues: createContextValues(),
  });
  const bytes = answer.body ? Buffer.concat(await Array.fromAsync(answer.body)) : undefined;
  return {
    status: answer.status,
    header: [...(answer.header ?? [])].sort(),
    // The long way has an empty object where there are none.
    trailer: [...(answer.trailer ?? [])].sort(),
    bytes: bytes?.toString("latin1") ?? "",
  };
}

async function same(sent: Sent): Promise<void> {
  expect(await seen(short, sent)).toEqual(await seen(long, sent));
}

const TYPES = [
  ["application/grpc", "grpc-"],
  ["application/grpc+proto", "grpc-"],
  ["application/grpc-web+proto", "grpc-"],
  ["application/proto", ""],
] as const;

describe.each(TYPES)("%s", (type, prefix) => {
  const isEnveloped = prefix === "grpc-";
  const message = (text: string, times = 0) => toBinary(METHOD.input, create(METHOD.input, { text, times } as never));
  const framed = (bytes: Uint8Array, flags = 0, length = bytes.length) =>
    isEnveloped ? prefixed(bytes, flags, length) : bytes;
  const timeout = isEnveloped ? "grpc-timeout" : "connect-timeout-ms";
  const fields = { "content-type": type };
  const packed = { ...fields, [`${prefix}accept-encoding`]: "identity, br;q=1, gzip" };

  test("a plain call goes the short way", async () => {
    const before = shorts;
    await same({ fields, chunks: [framed(message("on"))] });
    expect(shorts).toBe(before + 1);
  });

  test("other requests and answers: as on the long way", async () => {
    const one = framed(message("on"));
    const cases: readonly Sent[] = [
      { fields: { ...fields, "x-sent": "1" }, chunks: [framed(message("trailer"))] },
      { fields, chunks: [framed(message("fail"))] },
      { fields: packed, chunks: [framed(message("fail"))] },
      { fields, chunks: [framed(message("defect"))] },
      { fields, chunks: [framed(message(""))] },
      { fields, chunks: [framed(message("ab", 999))] },
      { fields: packed, chunks: [framed(message("ab", 2_000))] },
      { fields: packed, chunks: [one] },
      { fields, chunks: [framed(message("x".repeat(MOST + 1)))] },
      { fields, chunks: [framed(message("x"), 0, MOST + 1)] },
      { fields, chunks: [one], breaksOff: true },
      { fields, chunks: [] },
      { fields, chunks: [one, one] },
      { fields, chunks: [Buffer.concat([one, one])] },
      { fields, chunks: [one.subarray(0, -1)] },
      { fields, chunks: [framed(message("on"), 1)] },
      { fields, chunks: [framed(message("on"), 0x80)] },
      { fields, chunks: [framed(Buffer.from([255, 255, 255, 255]))] },
      { fields: { ...fields, [`${prefix}encoding`]: "gzip" }, chunks: [framed(Bun.gzipSync(message("on")), 1)] },
      { fields: { ...fields, [`${prefix}encoding`]: "lzma" }, chunks: [one] },
      { fields: { ...fields, [timeout]: isEnveloped ? "5S" : "5000" }, chunks: [one] },
      { fields: { ...fields, [timeout]: isEnveloped ? "10m" : "10" }, chunks: [framed(message("late"))] },
      { fields: { ...fields, [timeout]: "soon" }, chunks: [one] },
      { fields: { ...fields, [timeout]: isEnveloped ? "123u" : "0" }, chunks: [one] },
      { fields: { ...fields, "content-type": type.replace("proto", "json") }, chunks: [one] },
      { fields: { ...fields, "content-type": type.toUpperCase() }, chunks: [one] },
    ];
    for (const sent of cases) await same(sent);
  });

  test("bytes of all kinds: as on the long way", async () => {
    for (let seed = 1; seed <= 150; seed++) {
      const { pick } = toolsOf(seed);
      const bytes = (most: number) => Buffer.from(Array.from({ length: pick(most) }, () => pick(256)));
      const inner = pick(2) === 0 ? message("ab".repeat(pick(40)), pick(60)) : bytes(20);
      const body = Buffer.concat([framed(inner, pick(4) === 0 ? pick(256) : 0), pick(4) === 0 ? bytes(12) : bytes(1)]);
      // With a prefix whole messages come in one chunk, as body.ts puts them together.
      const cut = isEnveloped ? body.length : pick(body.length + 1);
      const chunks = [body.subarray(0, cut), body.subarray(cut)].filter(({ length }) => length > 0);
      await same({ fields: pick(2) === 0 ? fields : packed, chunks });
    }
  });
});

test("a body that is there as a whole is one chunk for whoever does not know it", async () => {
  expect(await Array.fromAsync(new Whole(new Uint8Array([1, 2])))).toEqual([new Uint8Array([1, 2])]);
  expect(await Array.fromAsync(new Whole(new Uint8Array(0)))).toEqual([]);
});
