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
import type { Seat } from "./gate.ts";
import { after, deadlineFault, isPromise, onAbort } from "./util.ts";

export class Direct implements Exchange, HandlerCall<unknown> {
  readonly id = undefined;
  readonly replayed = false;
  readonly attempt = 1;
  readonly deadline: number | undefined;
  readonly #context: Context;
  readonly #entry: Entry;
  readonly #call: Call;
  #state: "new" | "running" | "over" = "new";
  #began = 0;
  /** Why the call ended before its handler did. */
  #stopped: Fault | undefined;
  #controller: AbortController | undefined;
  /** Rejects the result that somebody waits for. */
  #reject: ((fault: Fault) => void) | undefined;
  /** Take the timer and the listener away: what they are hooked to outlives the call. */
  #untime: (() => void) | undefined;
  #unhook: (() => void) | undefined;

  constructor(context: Context, entry: Entry, call: Call) {
    this.#context = context;
    this.#entry = entry;
    this.#call = call;
    const most = entry.method.options.deadlineMs;
    this.deadline =
      most === undefined ? call.deadline : Math.min(call.deadline ?? Number.POSITIVE_INFINITY, context.now() + most);
  }

  // --- the exchange ---

  /** Runs the handler, once: a second call of this method is a defect of the transport. */
  result(): unknown {
    if (this.#stopped) throw this.#stopped;
    if (this.#state !== "new") throw new Fault("internal", "a call that is not recorded has one result");
    const { name, method, metrics } = this.#entry;
    const { gate } = this.#context;
    // Who calls is asked only when it matters: the address of a request costs more than the rest of this.
    let seat = gate.isTight ? gate.enter(this.#call) : undefined;
    this.#state = "running";
    this.#began = performance.now();
    metrics.running++;
    let output: unknown;
    let isValid = false;
    try {
      const input = validate(method.input, this.#call.input, "input", name);
      output = isPromise(input) ? input.then((value) => method.handler(value, this)) : method.handler(input, this);
      if (!isPromise(output)) {
        output = validate(method.output, output, "output");
        isValid = true;
      }
    } catch (thrown) {
      if (seat) gate.leave(seat);
      throw this.#stopped ?? this.#failed(thrown);
    }
    if (isPromise(output)) {
      seat ??= gate.enter(this.#call);
      return this.#settle(output, isValid, seat);
    }
    if (seat) gate.leave(seat);
    // The handler looked at its signal, and the caller had gone already.
    if (this.#stopped) throw this.#stopped;
    this.#ended("ok");
    return output;
  }

  #settle(output: Promise<unknown>, isValid: boolean, seat: Seat): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      if (this.#stopped) reject(this.#stopped);
      else if (this.deadline !== undefined) {
        this.#untime = after(this.deadline - this.#context.now(), () => this.stop(deadlineFault()));
      }
      const failed = (thrown: unknown) => {
        this.#context.gate.leave(seat);
        if (this.#state === "running") reject(this.#failed(thrown));
      };
      const done = (value: unknown) => {
        this.#context.gate.leave(seat);
        if (this.#state !== "running") return;
        this.#ended("ok");
        resolve(value);
      };
      output.then((value) => {
        if (isValid) return done(value);
        let valid: unknown;
        try {
          valid = validate(this.#entry.method.output, value, "output");
        } catch (thrown) {
          return failed(thrown);
        }
        if (isPromise(valid)) valid.then(done, failed);
        else done(valid);
      }, failed);
    });
  }

  /** Ends the call from outside the handler, which keeps its place among the running calls until it has ended too. */
  stop(fault: Fault): void {
    if (this.#state === "over") return;
    this.#stopped = fault;
    if (this.#state === "running") this.#ended(fault.code, fault);
    this.#state = "over";
    this.#reject?.(fault);
    this.#controller?.abort(fault);
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
    this.stop(new Fault("cancelled", "the call was cancelled"));
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

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#stopped) this.#controller.abort(this.#stopped);
      else if (this.#state === "running") this.#listen();
    }
    return this.#controller.signal;
  }

  #listen(): void {
    const { closing, directs } = this.#context;
    const { signal: caller } = this.#call;
    if (closing.signal.aborted) {
      this.stop(closing.signal.reason);
      return;
    }
    directs.add(this);
    if (caller && this.#entry.method.options.onDisconnect !== "detach") {
      this.#unhook = onAbort(caller, () => this.stop(new Fault("cancelled", "the caller has gone")));
    }
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
    const { directs, logger } = this.#context;
    const { metrics, name } = this.#entry;
    this.#state = "over";
    if (this.#controller) directs.delete(this);
    this.#unhook?.();
    this.#untime?.();
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
