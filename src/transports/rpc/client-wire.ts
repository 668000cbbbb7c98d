/** The methods of backtalk.v1 over any of the three protocols: messages, credentials, faults, the trace. */
import type { DescMethodStreaming, DescMethodUnary, Message } from "@bufbuild/protobuf";
import { ConnectError, Code as Status, type Transport } from "@connectrpc/connect";
import { Fault } from "../../log/fault.ts";
import { MOST_BYTES } from "../../wire/bounded.ts";
import { troubleOf } from "../../wire/trouble.ts";
import { type BuiltinName, builtinService, made, type PageMessage, type Requests, type Responses } from "./builtin.ts";
import { tooLong } from "./client-bounds.ts";
import { fromStatus, isOurs } from "./faults.ts";

export interface WireOptions {
  readonly transport: Transport;
  /** Sent as `Authorization: Bearer`. A function is asked for each request. */
  readonly token?: string | ((renew?: boolean) => string | Promise<string>);
  /** Sent as `X-API-Key`. */
  readonly apiKey?: string;
  /** Further metadata of each request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Silence after which a reading counts as broken, in milliseconds (default 45,000). */
  readonly silenceMs?: number;
  readonly now?: () => number;
  readonly trace?: (direction: "*" | ">" | "<", text: string) => void;
}

export interface UnaryOptions {
  readonly header?: Readonly<Record<string, string>>;
  readonly signals?: readonly (AbortSignal | undefined)[];
  readonly timeoutMs?: number;
  /** After how many milliseconds without an answer the server counts as silent; default never. */
  readonly silentMs?: number;
}

type Request<Name extends BuiltinName> = Partial<Requests[Name]>;
type UnaryName = Exclude<BuiltinName, "Read">;

export class Wire {
  readonly #options: WireOptions;
  /** Of the whole client. */
  readonly #closing: AbortSignal;
  /** The server has answered once: what breaks from now on is a connection, not an address. */
  #hasAnswered = false;

  constructor(options: WireOptions, closing: AbortSignal) {
    this.#options = options;
    this.#closing = closing;
  }

  now(): number {
    return (this.#options.now ?? Date.now)();
  }

  async unary<Name extends UnaryName>(
    name: Name,
    request: Request<Name>,
    { header = {}, signals = [], timeoutMs, silentMs }: UnaryOptions = {},
  ): Promise<{ readonly message: Responses[Name]; readonly header: Headers }> {
    const desc = methodOf(name) as DescMethodUnary;
    const watch = new Signals([this.#closing, ...signals]);
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      this.#trace(">", name, request);
      const sent = await this.#header(header);
      if (silentMs !== undefined) timer = setTimeout(() => watch.abort(silent(silentMs)), silentMs);
      const answer = await this.#options.transport.unary(
        desc,
        watch.signal,
        timeoutMs,
        sent,
        made(desc.input, request) as never,
      );
      this.#hasAnswered = true;
      this.#trace("<", name, answer.message);
      return { message: answer.message as unknown as Responses[Name], header: answer.header };
    } catch (thrown) {
      throw this.#failed(name, thrown, watch);
    } finally {
      clearTimeout(timer);
      watch.dispose();
    }
  }

  async *read(request: Request<"Read">, signals: readonly (AbortSignal | undefined)[]): AsyncGenerator<PageMessage> {
    const desc = methodOf("Read") as DescMethodStreaming;
    const watch = new Signals([this.#closing, ...signals]);
    const { silenceMs = 45_000, transport } = this.#options;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => watch.abort(new Fault("unavailable", "the server fell silent")), silenceMs);
    };
    try {
      this.#trace(">", "Read", request);
      listen();
      const sent = await this.#header({});
      const input = once(made(desc.input, request));
      const answer = await transport.stream(desc, watch.signal, undefined, sent, input as never);
      for await (const message of answer.message) {
        // While the reader is busy nobody listens, and silence means nothing.
        clearTimeout(timer);
        this.#trace("<", "Read", message);
        yield message as unknown as PageMessage;
        listen();
      }
    } catch (thrown) {
      throw this.#failed("Read", thrown, watch);
    } finally {
      clearTimeout(timer);
      watch.abort(new ConnectError("the reader has gone", Status.Canceled));
      watch.dispose();
    }
  }

  async #header(more: Readonly<Record<string, string>>): Promise<Headers> {
    const { token, apiKey, headers } = this.#options;
    const header = new Headers({ ...headers, ...more });
    if (token !== undefined) header.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    if (apiKey !== undefined) header.set("x-api-key", apiKey);
    return header;
  }

  #failed(name: BuiltinName, thrown: unknown, { reason }: Signals): Fault {
    this.#hasAnswered ||= isOurs(thrown);
    const fault = reason === undefined ? faultOf(thrown, this.#hasAnswered) : stopped(reason);
    this.#options.trace?.("<", `${name}: ${fault.code} ${fault.message}`);
    return fault;
  }

  #trace(direction: ">" | "<", name: BuiltinName, message: object): void {
    const { trace } = this.#options;
    if (trace) trace(direction, `${name} ${JSON.stringify(message, readable)}`);
  }
}

/** What no server of ours has said is a connection that broke, or somebody between who did not understand. */
function faultOf(thrown: unknown, hasAnswered: boolean): Fault {
  if (thrown instanceof Fault || isOurs(thrown)) return fromStatus(thrown);
  const error = ConnectError.from(thrown);
  const { rawMessage, cause } = error;
  if (cause instanceof Fault) return cause;
  // As the transports of Connect say it: another try would bring the same.
  if (/larger than configured readMaxBytes/.test(rawMessage)) return tooLong(MOST_BYTES);
  // A code is given to any status of HTTP; what is a page or a 404 comes of no server of ours.
  const hint = /^HTTP \d+$|^unsupported content type/.test(rawMessage)
    ? "is this the address of a Backtalk server?"
    : undefined;
  if (PLAIN.has(error.code)) {
    const said = fromStatus(error);
    return hint === undefined
      ? said
      : new Fault(said.code, `the server answered ${rawMessage}`, { hint, cause: error });
  }
  const trouble = hasAnswered ? undefined : troubleOf(error);
  if (!trouble)
    return new Fault("unavailable", `the connection broke: ${rawMessage}`, {
      cause: error,
      ...(hint !== undefined && { hint }),
    });
  const code = trouble.isLasting ? "failed_precondition" : "unavailable";
  return new Fault(code, `no connection to the server: ${trouble.what}`, {
    hint: trouble.hint,
    cause: error.cause ?? error,
  });
}

/** Statuses that also proxies and the protocols themselves give, and mean. */
const PLAIN: ReadonlySet<Status> = new Set([
  Status.DeadlineExceeded,
  Status.NotFound,
  Status.PermissionDenied,
  Status.ResourceExhausted,
  Status.FailedPrecondition,
  Status.Unimplemented,
  Status.Unauthenticated,
]);

function silent(ms: number): Fault {
  return new Fault("unavailable", `nothing came for ${ms} ms`, {
    hint: "is the port right? `backtalk serve` prints which is for what",
  });
}

function stopped(reason: unknown): Fault {
  return reason instanceof Fault ? reason : new Fault("cancelled", "the caller stopped waiting", { cause: reason });
}

/** One signal of several, that leaves nothing behind at those that outlive it. */
class Signals {
  readonly #controller = new AbortController();
  readonly #signals: readonly AbortSignal[];
  #reason: unknown;

  constructor(signals: readonly (AbortSignal | undefined)[]) {
    this.#signals = signals.filter((signal) => signal !== undefined);
    for (const signal of this.#signals) {
      signal.addEventListener("abort", this.#onAbort);
      if (signal.aborted) this.abort(signal.reason);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why it aborted, if it did. */
  get reason(): unknown {
    return this.#reason;
  }

  abort(reason: unknown): void {
    if (this.#controller.signal.aborted) return;
    this.#reason = reason ?? new Fault("cancelled", "the caller stopped waiting");
    // The protocols send a cancel for this one.
    this.#controller.abort(
      new ConnectError("the caller stopped waiting", Status.Canceled, undefined, undefined, reason),
    );
  }

  dispose(): void {
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = ({ target }: Event): void => this.abort((target as AbortSignal).reason);
}

function methodOf(name: BuiltinName) {
  return builtinService.methods.find((method) => method.name === name)!;
}

async function* once(message: Message): AsyncGenerator<Message> {
  yield message;
}

function readable(key: string, value: unknown): unknown {
  if (key.startsWith("$")) return undefined;
  if (typeof value === "bigint") return Number(value);
  return value instanceof Uint8Array ? `${value.length} bytes` : value;
}
