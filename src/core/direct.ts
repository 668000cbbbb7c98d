/**
 * The fast path: a unary call that nobody asked to keep. It touches neither the store nor an event, makes
 * no promise that the handler does not make, and an AbortSignal only if the handler looks at it.
 */
import {
  type AnySchema,
  type AppendedItems,
  type Call,
  type CallState,
  type Exchange,
  type HandlerCall,
  type InputOf,
  type Topic,
  validate,
} from "../contract/index.ts";
import { type Cursor, Fault, type Page, toFault } from "../log/index.ts";
import type { Context, Entry } from "./context.ts";
import { deadlineFault, isPromise, onAbort } from "./util.ts";

export class Direct implements Exchange, HandlerCall<unknown> {
  readonly id = undefined;
  readonly replayed = false;
  readonly attempt = 1;
  readonly #context: Context;
  readonly #entry: Entry;
  readonly #call: Call;
  #controller: AbortController | undefined;
  /** Takes the listeners of `#controller` away again: the signals that it listens to outlive the call. */
  readonly #unhook: (() => void)[] = [];
  #caller = "";
  #began = 0;
  #started = false;

  constructor(context: Context, entry: Entry, call: Call) {
    this.#context = context;
    this.#entry = entry;
    this.#call = call;
  }

  // --- the exchange ---

  /** Runs the handler, once: a second call of this method is a defect of the transport. */
  result(): unknown {
    if (this.#started) throw new Fault("internal", "a call that is not recorded has one result");
    this.#started = true;
    const { method, metrics } = this.#entry;
    this.#caller = this.#context.gate.enter(this.#call);
    this.#began = performance.now();
    metrics.running++;
    try {
      const input = validate(method.input, this.#call.input, "input");
      const deadline = this.deadline;
      const output = isPromise(input)
        ? input.then((value) => method.handler(value, this))
        : method.handler(input, this);
      if (isPromise(output)) return this.#settle(output, deadline);
      const value = validate(method.output, output, "output");
      if (isPromise(value)) return this.#settle(value, deadline, true);
      this.#ended("ok");
      return value;
    } catch (thrown) {
      throw this.#failed(thrown);
    }
  }

  async #settle(output: Promise<unknown>, deadline: number | undefined, isValid = false): Promise<unknown> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const waited =
        deadline === undefined
          ? output
          : Promise.race([
              output,
              new Promise<never>((_, reject) => {
                timer = setTimeout(() => {
                  const fault = deadlineFault();
                  reject(fault);
                  this.#controller?.abort(fault);
                }, deadline - this.#context.now());
              }),
            ]);
      const value = await waited;
      const valid = isValid ? value : await validate(this.#entry.method.output, value, "output");
      this.#ended("ok");
      return valid;
    } catch (thrown) {
      throw this.#failed(thrown);
    } finally {
      if (timer !== undefined) clearTimeout(timer);
    }
  }

  // biome-ignore lint/correctness/useYield: there is nothing to read, and the fault has to come from the iterator
  async *read(): AsyncGenerator<Page> {
    throw notKept();
  }

  async state(): Promise<CallState> {
    throw notKept();
  }

  async append(): Promise<AppendedItems> {
    throw notKept();
  }

  async cancel(): Promise<void> {
    this.#controller?.abort(new Fault("cancelled", "the call was cancelled"));
  }

  // --- what the handler sees ---

  get method(): string {
    return this.#entry.name;
  }

  get principal() {
    return this.#call.principal;
  }

  get trace() {
    return this.#call.trace;
  }

  get deadline(): number | undefined {
    const most = this.#entry.method.options.deadlineMs;
    if (most === undefined) return this.#call.deadline;
    return Math.min(this.#call.deadline ?? Number.POSITIVE_INFINITY, this.#context.now() + most);
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController();
      this.#controller = controller;
      const { signal: caller } = this.#call;
      const closing = this.#context.closing.signal;
      if (caller && this.#entry.method.options.onDisconnect !== "detach") {
        this.#unhook.push(onAbort(caller, () => controller.abort(new Fault("cancelled", "the caller has gone"))));
      }
      this.#unhook.push(onAbort(closing, () => controller.abort(closing.reason)));
    }
    return this.#controller.signal;
  }

  progress(): void {
    // Nobody follows a call that is not recorded.
  }

  publish<E extends AnySchema>(
    topic: Topic<E>,
    event: InputOf<E>,
    options?: { readonly key?: string },
  ): Promise<Cursor> {
    return publishFrom(this.#context, this, topic as unknown as Topic, event, options?.key);
  }

  async *history(): AsyncGenerator<never> {}

  // --- the end ---

  #failed(thrown: unknown): Fault {
    const fault = toFault(thrown);
    this.#ended(fault.code, fault);
    return fault;
  }

  #ended(code: "ok" | Fault["code"], fault?: Fault): void {
    const { gate, logger } = this.#context;
    const { metrics, name } = this.#entry;
    gate.leave(this.#caller);
    for (const unhook of this.#unhook) unhook();
    const ms = performance.now() - this.#began;
    metrics.running--;
    metrics.ended(this.#call.via, code, ms);
    if (code === "ok" ? logger.calls !== "all" : logger.calls === "defects" && code !== "internal") return;
    const { principal, trace, via } = this.#call;
    logger.call({
      at: this.#context.now(),
      method: name,
      via,
      code,
      ms,
      ...(principal.id !== "" && { principal: principal.id }),
      ...(trace && { traceparent: trace.traceparent }),
      ...(fault?.cause !== undefined && { error: fault.cause }),
    });
  }
}

export async function publishFrom(
  context: Context,
  call: HandlerCall<unknown>,
  topic: Topic,
  event: unknown,
  key: string | undefined,
): Promise<Cursor> {
  const name = context.topicNames.get(topic);
  if (name === undefined) {
    throw new Fault("not_found", "this topic is not part of a service of this server", {
      hint: "make it a member of a service that is served here",
    });
  }
  return context.publish(name, event, call.principal, key);
}

function notKept(): Fault {
  return new Fault("failed_precondition", "this call is not recorded, so there is nothing to come back to", {
    hint: "ask for a handle (keep) or give an idempotency key when calling",
  });
}
