/** The methods of a contract with their own messages, in all four kinds, and its topics (PROTOCOL.md §4.1, §4.2). */
import { create, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { type CallState, type Exchange, type Principal, TOPICS } from "../../contract/index.ts";
import { CURSOR_NUMBER, type MessageCodec, type ProtoDescription, type RpcMethod } from "../../describe/proto/index.ts";
import { type Cursor, Fault, faultFromJson, type Page, type Place, parsePlace, type Verdict } from "../../log/index.ts";
import type { Unary } from "./host/unary.ts";
import { takeItems } from "./items.ts";
import { isDeeper, tooDeep } from "./json.ts";
import { type Asked, askedIn } from "./metadata.ts";
import { META } from "./metadata-names.ts";
import { mark, readPages } from "./reading.ts";
import { type Rpc, requestKey } from "./rpc.ts";

export function addTyped(router: ConnectRouter, rpc: Rpc, { methods, topics }: ProtoDescription): void {
  for (const each of methods.values()) {
    const { desc } = each;
    if (desc.methodKind === "unary") rpc.addUnary(router, desc, unary(rpc, each));
    else router.rpc(desc, implement(rpc, each) as never);
  }
  for (const { topic, subscribe, publish, event } of topics.values()) {
    router.rpc(subscribe, subscriber(rpc, topic, event) as never);
    if (publish) rpc.addUnary(router, publish, publisher(rpc, topic, event, publish));
  }
}

function implement(rpc: Rpc, method: RpcMethod): unknown {
  switch (method.method.kind) {
    case "clientStream":
      return (inputs: AsyncIterable<Message>, context: HandlerContext) =>
        answered(rpc, context, () => clientStream(rpc, method, inputs, context));
    case "serverStream":
      return (input: Message, context: HandlerContext) =>
        streamed(rpc, context, serverStream(rpc, method, input, context));
    case "bidi":
      return (inputs: AsyncIterable<Message>, context: HandlerContext) =>
        streamed(rpc, context, bidi(rpc, method, inputs, context));
  }
}

/** Faults become statuses here, and nowhere else. */
export async function answered<T>(rpc: Rpc, context: HandlerContext, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (thrown) {
    throw rpc.status(context, thrown);
  }
}

export async function* streamed<T>(rpc: Rpc, context: HandlerContext, items: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (thrown) {
    throw rpc.status(context, thrown);
  }
}

function unary(rpc: Rpc, { address, input, output }: RpcMethod): Unary {
  return (message, context) =>
    answered(rpc, context, async () => {
      const asked = askedIn(context.requestHeader);
      const exchange = await rpc.open(context, address, asked, { input: inputOf(rpc, asked, input, message) });
      if (exchange.id !== undefined) rpc.flush(context);
      return said(output, await resultOf(exchange, context, asked));
    });
}

async function clientStream(rpc: Rpc, method: RpcMethod, inputs: AsyncIterable<Message>, context: HandlerContext) {
  const { address, input, output } = method;
  const asked = askedIn(context.requestHeader);
  const exchange = await rpc.open(context, address, asked, {});
  rpc.flush(context);
  const items = itemsOf(rpc, exchange, input, inputs, asked, context);
  // The result can come before the end of the items: the rest is then not read.
  const result = resultOf(exchange, context, asked);
  result.catch(() => {});
  const refused = items.then(
    () => new Promise<never>(() => {}),
    (thrown) => unlessEnded(exchange, thrown),
  );
  return said(output, await Promise.race([result, refused]));
}

async function* serverStream(rpc: Rpc, method: RpcMethod, message: Message, context: HandlerContext) {
  const { address, input, output } = method;
  const asked = askedIn(context.requestHeader);
  const principal = await rpc.principal(context);
  const exchange = await rpc.open(context, address, asked, { principal, input: inputOf(rpc, asked, input, message) });
  yield* messagesOf(rpc, context, exchange, output, { asked, principal, from: asked.after ?? "start" });
}

async function* bidi(rpc: Rpc, method: RpcMethod, inputs: AsyncIterable<Message>, context: HandlerContext) {
  const { address, input, output } = method;
  const asked = askedIn(context.requestHeader);
  const principal = await rpc.principal(context);
  const exchange = await rpc.open(context, address, asked, { principal });
  rpc.flush(context);
  const stop = new AbortController();
  itemsOf(rpc, exchange, input, inputs, asked, context)
    .catch((thrown) => unlessEnded(exchange, thrown))
    .catch((thrown) => stop.abort(thrown));
  const from = asked.after ?? "start";
  yield* messagesOf(rpc, context, exchange, output, { asked, principal, from, stop: stop.signal });
}

function subscriber(rpc: Rpc, topic: string, codec: MessageCodec): unknown {
  return (message: Message, context: HandlerContext) => {
    const run = async function* () {
      const asked = askedIn(context.requestHeader);
      const { after } = message as Message & { after?: string };
      const from = asked.after ?? (after === undefined || after === "" ? "now" : parsePlace(after));
      const principal = await rpc.principal(context);
      const exchange = await rpc.use(context, TOPICS + topic, { principal });
      yield* messagesOf(rpc, context, exchange, codec, { asked, principal, from });
    };
    return streamed(rpc, context, run());
  };
}

function publisher(rpc: Rpc, topic: string, codec: MessageCodec, { output }: DescMethod): Unary {
  return (message, context) =>
    answered(rpc, context, async () => {
      const { key } = askedIn(context.requestHeader);
      const exchange = await rpc.use(context, TOPICS + topic);
      const appended = await exchange.append({
        items: [heard(rpc, codec, message)],
        ...(key !== undefined && { key }),
      });
      const { cursor, duplicate } = appended;
      return create(output, { cursor, duplicate } as never);
    });
}

// --- parts of them ---

interface Wanted {
  readonly asked: Asked;
  readonly principal: Principal;
  readonly from: Place;
  readonly stop?: AbortSignal;
}

/** The items of a log as messages. The verdict is in the header, which goes out before the first of them. */
async function* messagesOf(
  rpc: Rpc,
  context: HandlerContext,
  exchange: Exchange,
  codec: MessageCodec,
  { asked, principal, from, stop }: Wanted,
): AsyncGenerator<Message, undefined> {
  const setCursor = cursorSetter(codec.desc);
  let isJudged = false;
  let hasEnd = false;
  const pages = readPages(rpc, context, exchange, { from, follow: true, principal, ...(stop && { stop }) });
  for await (const page of pages) {
    if (!isJudged && page.verdict) {
      tellVerdict(context, page.verdict);
      rpc.flush(context);
    } else if (page.verdict && page.verdict.verdict !== "recovered") throw missed(page);
    isJudged = true;
    for (const { kind, json, cursor } of page.events) {
      if (kind === "item") {
        const message = said(codec, JSON.parse(json));
        setCursor(message, asked.cursors ? cursor : "");
        yield message;
        mark(context, cursor);
      } else if (kind === "fail") {
        mark(context, cursor);
        throw faultFromJson(JSON.parse(json));
      } else hasEnd ||= kind === "end";
    }
    if (page.ended && !hasEnd) await throwEnd(exchange);
  }
}

/** The reading began behind the end of the log: how the call ended is still to be told. */
async function throwEnd(exchange: Exchange): Promise<void> {
  const state = await exchange.state();
  if ("fault" in state && state.fault) throw faultFromJson(state.fault);
}

/** Too late for the header: the reader comes back, and is told there. */
function missed({ verdict }: Page): Fault {
  return new Fault("unavailable", `events were lost for this reader: ${verdict?.verdict}`, {
    detail: { close: "gap" },
    retryAfterMs: 0,
    hint: "read on from the cursor in the trailer backtalk-cursor: the verdict says what is missing",
  });
}

/** More would not fit with the other header fields, of which many clients take 8 KiB. */
const MOST_STATE_BYTES = 4096;

function tellVerdict({ responseHeader }: HandlerContext, { verdict, from, to, state }: Verdict): void {
  responseHeader.set(META.verdict, verdict);
  responseHeader.set(META.from, from);
  responseHeader.set(META.to, to);
  if (state === undefined) return;
  const bytes = Buffer.from(state);
  if (bytes.length > MOST_STATE_BYTES) responseHeader.set(META.state, "omitted");
  else responseHeader.set(META.stateBin, bytes.toString("base64").replace(/=+$/, ""));
}

/** What a handler gave and no message can hold is not the caller's fault. */
function said(codec: MessageCodec, value: unknown): Message {
  try {
    return codec.toMessage(value);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    throw new Fault("internal", `Protobuf cannot say what the method gave: ${cause.message}`, {
      hint: "backtalk.v1.Backtalk gives it as text: Call, Result and Read with `text: true`",
      cause,
    });
  }
}

function cursorSetter(desc: DescMessage): (message: Message, cursor: Cursor | "") => void {
  const name = desc.fields.find(({ number }) => number === CURSOR_NUMBER)!.localName;
  return (message, cursor) => {
    (message as unknown as Record<string, string>)[name] = cursor;
  };
}

/** Of a call that is gone on with the input came before. */
function inputOf(rpc: Rpc, asked: Asked, codec: MessageCodec, message: Message): unknown {
  return asked.call === undefined ? heard(rpc, codec, message) : undefined;
}

/** @throws Fault `invalid_argument` */
function heard({ host }: Rpc, codec: MessageCodec, message: Message): unknown {
  const value = codec.fromMessage(message);
  if (isDeeper(value, host.limits.jsonDepth)) throw tooDeep("input", host.limits.jsonDepth);
  return value;
}

/** A deadline of a call is the core's; of the wait for one that is gone on with it is the request's. */
async function resultOf(exchange: Exchange, context: HandlerContext, asked: Asked): Promise<unknown> {
  if (exchange.id === undefined) return exchange.result();
  const { signal } = asked.call === undefined ? context.values.get(requestKey) : context;
  try {
    return await exchange.result(signal);
  } catch (thrown) {
    if (signal?.aborted && asked.call !== undefined) throw signal.reason;
    throw thrown;
  }
}

function itemsOf(
  rpc: Rpc,
  exchange: Exchange,
  codec: MessageCodec,
  messages: AsyncIterable<Message>,
  { call, seq }: Asked,
  context: HandlerContext,
): Promise<void> {
  return takeItems(exchange, {
    messages,
    toItem: (message) => heard(rpc, codec, message),
    seq: seq ?? (call === undefined ? 0 : undefined),
    most: rpc.host.limits.itemsInFlight,
    gone: context.values.get(requestKey).signal ?? context.signal,
  });
}

/** A call that has ended takes no more items: its end says more than that. */
async function unlessEnded(exchange: Exchange, thrown: unknown): Promise<never> {
  const { state } = (await exchange.state()) as CallState;
  if (state !== "running") return new Promise(() => {});
  throw thrown;
}
