/** backtalk.v1.Backtalk: calls and topics of every kind by their addresses (PROTOCOL.md §4.4). */
import { type FileRegistry, type Message, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { CALLS, type CallState, type Exchange, TOPICS, type Wait } from "../../contract/index.ts";
import { type Cursor, Fault, type LogEvent, PAGE_EVENTS, type Page, parsePlace } from "../../log/index.ts";
import { type BuiltinName, builtinService, made, type PageMessage, type Requests, type Responses } from "./builtin.ts";
import { fromJsonMessage, jsonMessage, valueMessage } from "./json.ts";
import { askedIn } from "./metadata.ts";
import { readPages } from "./reading.ts";
import { type Rpc, requestKey } from "./rpc.ts";
import { callMessage, topicMessage } from "./states.ts";
import { answered, streamed } from "./typed.ts";

export function addBacktalk(router: ConnectRouter, rpc: Rpc, registry: FileRegistry): void {
  const backtalk = new Backtalk(rpc, registry);
  for (const desc of builtinService.methods) {
    const name = desc.name as BuiltinName;
    if (name === "Read") {
      const read = (request: Requests["Read"], context: HandlerContext) =>
        streamed(rpc, context, backtalk.Read(request, context));
      router.rpc(desc, read as never);
    } else {
      rpc.addUnary(router, desc, (request, context) =>
        answered(rpc, context, async () => made(desc.output, await backtalk[name](request as never, context))),
      );
    }
  }
}

type Methods = {
  [Name in Exclude<BuiltinName, "Read">]: (
    request: Requests[Name],
    context: HandlerContext,
  ) => Responses[Name] | Promise<Responses[Name]>;
};

class Backtalk implements Methods {
  readonly #rpc: Rpc;
  readonly #registry: FileRegistry;
  #described: Uint8Array | undefined;

  constructor(rpc: Rpc, registry: FileRegistry) {
    this.#rpc = rpc;
    this.#registry = registry;
  }

  Describe(): Responses["Describe"] {
    this.#described ??= toBinary(FileDescriptorSetSchema, {
      $typeName: "google.protobuf.FileDescriptorSet",
      file: [...this.#registry.files].map(({ proto }) => proto),
    });
    return { fileDescriptorSet: this.#described };
  }

  async Call({ method, input, text }: Requests["Call"], context: HandlerContext): Promise<Responses["Call"]> {
    const { key, keep } = askedIn(context.requestHeader);
    const { contract, limits } = this.#rpc.host;
    const kind = contract.methods.get(checkMethod(method))?.kind;
    const given = fromJsonMessage(input, "input", limits.jsonDepth);
    const isOne = kind === "unary" || kind === "serverStream";
    const call = { input: given === undefined && isOne ? {} : given, key, keep };
    const exchange = await this.#rpc.use(context, method, call);
    this.#rpc.tell(context, exchange);
    if (exchange.id === undefined) return { output: valueMessage(await exchange.result(), text) };
    this.#rpc.flush(context);
    const { signal } = context.values.get(requestKey);
    return { output: valueMessage(await exchange.result(signal), text) };
  }

  async Open({ method, input, timeoutMs }: Requests["Open"], context: HandlerContext): Promise<Responses["Open"]> {
    const { key } = askedIn(context.requestHeader);
    const { host } = this.#rpc;
    const kind = host.contract.methods.get(checkMethod(method))?.kind;
    const isOne = kind === "unary" || kind === "serverStream";
    const given = fromJsonMessage(input, "input", host.limits.jsonDepth);
    const exchange = await this.#rpc.use(context, method, {
      input: given === undefined && isOne ? {} : given,
      key,
      keep: true,
      // The deadline of the request is that of this answer.
      deadline: timeoutMs === undefined ? undefined : host.now() + Number(timeoutMs),
      // The caller of a call that it comes back to is not gone when it has its id.
      signal: undefined,
    });
    this.#rpc.tell(context, exchange);
    return { call: exchange.id!, replayed: exchange.replayed };
  }

  async Result({ call, text }: Requests["Result"], context: HandlerContext): Promise<Responses["Result"]> {
    const exchange = await this.#attach(context, CALLS + call);
    return { output: valueMessage(await exchange.result(context.signal), text) };
  }

  async *Read(request: Requests["Read"], context: HandlerContext): AsyncGenerator<Message> {
    const { log, after, follow, pageEvents, text } = request;
    const from = after === undefined || after === "" ? (log.startsWith(TOPICS) ? "now" : "start") : parsePlace(after);
    if (pageEvents < 0) throw badField("page_events", "must be at least 1");
    const principal = await this.#rpc.principal(context);
    const exchange = await this.#rpc.use(context, checkLog(log), { principal });
    const most = pageEvents === 0 ? undefined : Math.min(pageEvents, PAGE_EVENTS);
    const pages = readPages(this.#rpc, context, exchange, { from, follow, principal, pageEvents: most });
    for await (const page of beating(pages, this.#rpc.host.timing.commentMs)) {
      yield made(READ_RESPONSE, page === undefined ? HEARTBEAT : pageMessage(page, text));
    }
  }

  async State(request: Requests["State"], context: HandlerContext): Promise<Responses["State"]> {
    const { log, after, waitMs, text } = request;
    const exchange = await this.#attach(context, checkLog(log));
    const place = after === undefined || after === "" ? undefined : parsePlace(after);
    if (place === "start" || place === "now") throw badField("after", "must be a cursor");
    const wait = this.#waitOf(place, waitMs, context);
    const state = await this.#held(wait, (each) => exchange.state(each));
    return "topic" in state ? { topic: topicMessage(state, text) } : { call: callMessage(state, text) };
  }

  async Append(request: Requests["Append"], context: HandlerContext): Promise<Responses["Append"]> {
    const { call, items, seq, end } = request;
    const depth = this.#rpc.host.limits.jsonDepth;
    const values = items.map((item, i) => present(fromJsonMessage(item, `items[${i}]`, depth), `items[${i}]`));
    const exchange = await this.#attach(context, CALLS + call);
    const { next, cursor } = await exchange.append({
      items: values,
      ...(seq !== undefined && { seq: Number(seq) }),
      ...(end && { end }),
    });
    return { next: BigInt(next), cursor };
  }

  async Publish({ topic, event }: Requests["Publish"], context: HandlerContext): Promise<Responses["Publish"]> {
    const { key } = askedIn(context.requestHeader);
    const value = present(fromJsonMessage(event, "event", this.#rpc.host.limits.jsonDepth), "event");
    const exchange = await this.#attach(context, TOPICS + topic);
    const { cursor, duplicate } = await exchange.append({ items: [value], ...(key !== undefined && { key }) });
    return { cursor, duplicate };
  }

  async Cancel({ call, text }: Requests["Cancel"], context: HandlerContext): Promise<Responses["Cancel"]> {
    const exchange = await this.#attach(context, CALLS + call);
    await exchange.cancel();
    return { state: callMessage((await exchange.state()) as CallState, text) };
  }

  async #attach(context: HandlerContext, to: string): Promise<Exchange> {
    return this.#rpc.use(context, to);
  }

  #waitOf(after: Cursor | undefined, waitMs: bigint | undefined, { signal }: HandlerContext): Wait | undefined {
    const most = this.#rpc.host.limits.waitMs;
    if (waitMs !== undefined && waitMs < 0n) throw badField("wait_ms", "must be at least 0");
    if (after === undefined && waitMs === undefined) return undefined;
    const held = Math.min(waitMs === undefined ? most : Number(waitMs), most);
    return { waitMs: held, ...(after !== undefined && { after }), signal };
  }

  /** A held answer is given as it is when the server goes. */
  async #held<T>(wait: Wait | undefined, run: (wait?: Wait) => Promise<T>): Promise<T> {
    if (!wait) return run();
    const { draining } = this.#rpc.host;
    const stop = new AbortController();
    const end = (): void => stop.abort();
    const signals = [draining, ...(wait.signal ? [wait.signal] : [])];
    for (const signal of signals) signal.addEventListener("abort", end);
    if (draining.aborted) end();
    try {
      return await run({ ...wait, signal: stop.signal });
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", end);
    }
  }
}

const READ_RESPONSE = builtinService.method["read"]!.output;
const HEARTBEAT: PageMessage = Object.freeze({ events: [], cursor: "", more: false, ended: false });

function pageMessage({ verdict, events, cursor, more, ended }: Page, text: boolean): PageMessage {
  const judged = verdict && {
    verdict: verdict.verdict,
    from: verdict.from,
    to: verdict.to,
    state: verdict.state === undefined ? undefined : jsonMessage(verdict.state, text),
  };
  return { verdict: judged, events: events.map((event) => eventMessage(event, text)), cursor, more, ended };
}

function eventMessage({ cursor, kind, json, at }: LogEvent, text: boolean) {
  return { cursor, kind, data: jsonMessage(json, text), at: BigInt(Math.round(at)) };
}

/** The pages, and nothing after each silence of so long. */
async function* beating(pages: AsyncIterator<Page>, silenceMs: number): AsyncGenerator<Page | undefined> {
  let next: Promise<IteratorResult<Page>> | undefined;
  try {
    for (;;) {
      next ??= pages.next();
      const result = await within(next, silenceMs);
      if (result === undefined) {
        yield undefined;
        continue;
      }
      next = undefined;
      if (result.done) return;
      yield result.value;
    }
  } finally {
    // One that is awaited ends by its signal; to wait for it here would hold the answer.
    void pages.return?.(undefined).catch(() => {});
    next?.catch(() => {});
  }
}

function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    timer.unref?.();
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function checkMethod(method: string): string {
  // `calls/...` and `topics/...` are addresses of the peer, not methods.
  if (!method.startsWith(CALLS) && !method.startsWith(TOPICS)) return method;
  throw new Fault("not_found", `there is no method ${method.slice(0, 128)}`, { hint: "use Read, State or Result" });
}

function checkLog(log: string): string {
  if (log.startsWith(CALLS) || log.startsWith(TOPICS)) return log;
  throw badField("log", "must be calls/ID or topics/NAME");
}

function present(value: unknown, name: string): unknown {
  if (value !== undefined) return value;
  throw badField(name, "is missing");
}

function badField(path: string, message: string): Fault {
  return new Fault("invalid_argument", `${path} ${message}`, { fields: [{ path, message }] });
}
