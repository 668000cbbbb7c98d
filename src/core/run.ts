/**
 * A recorded call while its handler runs in this process. What the handler says goes into the log; the end
 * is written once, by whoever is first: the handler, a cancel, the deadline, or the server that goes.
 */
import {
  type AnySchema,
  type Call,
  type HandlerCall,
  type InputOf,
  type Principal,
  type Topic,
  type Trace,
  validate,
} from "../contract/index.ts";
import { type Cursor, Fault, type Store, toFault } from "../log/index.ts";
import { type Context, callLog, type EndRecord, type Entry, inputLog, type OpenRecord } from "./context.ts";
import { publishFrom } from "./direct.ts";
import { itemsOf } from "./input.ts";
import { Recorder } from "./recorder.ts";
import { deadlineFault, isPromise, onAbort, toJson } from "./util.ts";

export interface RunOptions {
  readonly context: Context;
  readonly entry: Entry;
  readonly store: Store;
  readonly record: OpenRecord;
  readonly principal: Principal;
  /** Of the method with one input: as its schema made it. */
  readonly input: unknown;
  /** Before what this attempt says: where `history` ends. */
  readonly head: Cursor;
  readonly via: string;
  /** The caller that opened the call, for `onDisconnect: "cancel"`; none after a restart. */
  readonly caller: Call | undefined;
  readonly seat: string | undefined;
}

export class Run implements HandlerCall<unknown> {
  readonly #options: RunOptions;
  readonly #recorder: Recorder;
  readonly #controller = new AbortController();
  readonly #unhook: (() => void)[] = [];
  readonly #began = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #settle!: (end: EndRecord) => void;
  #released = false;
  #ending: Promise<void> | undefined;
  /** The end, when it is stored; stays pending when the call is handed over to the next process. */
  readonly ended: Promise<EndRecord>;

  constructor(options: RunOptions) {
    this.#options = options;
    const { context, store, record, entry } = options;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#recorder = new Recorder({
      store,
      log: callLog(record.id),
      maxBytes: context.limits.callBytes,
      onClosed: (fault) => this.#broken(fault),
      onAppended: (events, bytes) => {
        context.usage.add(options.principal.id, bytes);
        context.metrics.add("backtalk_events_appended_total", "", events);
      },
    });
    context.runs.set(record.id, this);
    entry.metrics.running++;
    if (options.caller?.signal && entry.method.options.onDisconnect === "cancel") {
      this.#unhook.push(onAbort(options.caller.signal, () => void this.cancel("the caller has gone")));
    }
    if (record.deadline !== undefined) {
      // setTimeout takes no more than 2^31 - 1 ms; a call with a later deadline has none in this process.
      const ms = record.deadline - context.now();
      if (ms < 2 ** 31) this.#timer = setTimeout(() => this.#stop(deadlineFault()), Math.max(0, ms));
    }
  }

  /** Runs the handler to its end. Never rejects. */
  async start(): Promise<void> {
    const { entry, context, store, record, input } = this.#options;
    const { method } = entry;
    try {
      const many = method.kind === "clientStream" || method.kind === "bidi";
      const given = many ? itemsOf(context, store, record.id, method, this.signal) : input;
      const output = method.handler(given, this);
      if (method.kind === "unary" || method.kind === "clientStream") {
        const valid = await validate(method.output, isPromise(output) ? await output : output, "output");
        await this.#end({ kind: "end", value: valid });
      } else {
        for await (const item of output as AsyncIterable<unknown>) {
          if (this.#controller.signal.aborted) throw this.#controller.signal.reason;
          const valid = validate(method.output, item, "output");
          const json = toJson(isPromise(valid) ? await valid : valid, context.limits.itemBytes, "item");
          const room = this.#recorder.push("item", json);
          if (room) await room;
        }
        await this.#end({ kind: "end", value: undefined });
      }
    } catch (thrown) {
      // After a cancel or a deadline the handler fails with what it was aborted with: the end is on its way already.
      await this.#end({
        kind: "fail",
        fault: toFault(this.#controller.signal.aborted ? this.#controller.signal.reason : thrown),
      });
    }
  }

  /** Ends the call as cancelled, at once; the handler is told by its signal. */
  cancel(why = "the call was cancelled"): Promise<void> {
    return this.#stop(new Fault("cancelled", why));
  }

  /** The server goes: a call with `onRestart: "retry"` is left to the next process, any other one ends. */
  release(): Promise<void> | undefined {
    const fault = restartFault();
    if (this.#options.entry.method.options.onRestart !== "retry") return this.#stop(fault);
    this.#released = true;
    this.#controller.abort(fault);
    this.#left();
    return undefined;
  }

  // --- what the handler sees ---

  get id(): string {
    return this.#options.record.id;
  }

  get method(): string {
    return this.#options.entry.name;
  }

  get principal(): Principal {
    return this.#options.principal;
  }

  get attempt(): number {
    return this.#options.record.attempt;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get deadline(): number | undefined {
    return this.#options.record.deadline;
  }

  get trace(): Trace | undefined {
    const { traceparent, tracestate } = this.#options.record;
    return traceparent === undefined ? undefined : { traceparent, ...(tracestate !== undefined && { tracestate }) };
  }

  progress(value: unknown): void {
    // After the end there is nobody to tell, and the handler has been told by its signal.
    if (this.#controller.signal.aborted || this.#ending) return;
    const { progress } = this.#options.entry.method;
    if (!progress) {
      throw new Fault("internal", "the method has no schema for progress", { hint: "give it `progress`" });
    }
    const { itemBytes } = this.#options.context.limits;
    const valid = validate(progress, value, "progress");
    if (isPromise(valid)) {
      valid
        .then((settled) => this.#recorder.push("progress", toJson(settled, itemBytes, "progress")))
        .catch((thrown) => this.#stop(toFault(thrown)));
    } else this.#recorder.push("progress", toJson(valid, itemBytes, "progress"));
  }

  publish<E extends AnySchema>(
    topic: Topic<E>,
    event: InputOf<E>,
    options?: { readonly key?: string },
  ): Promise<Cursor> {
    return publishFrom(this.#options.context, this, topic as unknown as Topic, event, options?.key);
  }

  async *history(): AsyncGenerator<{ kind: "item" | "progress"; data: unknown }> {
    const { store, record, head } = this.#options;
    if (record.attempt === 1) return;
    let from: Cursor | "start" = "start";
    for (;;) {
      let more = false;
      for await (const page of store.read(callLog(record.id), { from, follow: false })) {
        for (const { kind, json, cursor } of page.events) {
          if (kind === "item" || kind === "progress") yield { kind, data: JSON.parse(json) };
          if (cursor >= head) return;
        }
        from = page.cursor;
        more = page.more;
      }
      if (!more) return;
    }
  }

  // --- the end ---

  /** Ends the call from outside the handler. */
  async #stop(fault: Fault): Promise<void> {
    const ending = this.#end({ kind: "fail", fault });
    this.#controller.abort(fault);
    await ending;
  }

  #end(end: EndRecord): Promise<void> {
    if (this.#released) return Promise.resolve();
    this.#ending ??= this.#write(end);
    return this.#ending;
  }

  /** Tries until the end is stored: a full disk must not make a call that never ends. */
  async #write(end: EndRecord): Promise<void> {
    const { context } = this.#options;
    let written: EndRecord = end;
    let draft: { kind: "end" | "fail"; json: string };
    try {
      draft = draftOf(end, this.attempt, context.limits.itemBytes);
    } catch (thrown) {
      written = { kind: "fail", fault: toFault(thrown) };
      draft = draftOf(written, this.attempt, context.limits.itemBytes);
    }
    for (let tries = 0; ; tries++) {
      try {
        const isOurs = await this.#recorder.end(draft);
        this.#finish(isOurs ? written : { kind: "fail", fault: new Fault("cancelled", "the call was cancelled") });
        return;
      } catch (thrown) {
        const fault = toFault(thrown);
        if (fault.code === "not_found" || this.#released || context.closing.signal.aborted) {
          this.#finish({ kind: "fail", fault });
          return;
        }
        if (tries === 0)
          context.logger.note("error", "the end of a call cannot be stored", { id: this.id, fault: fault.message });
        if (written.kind === "end" && fault.code === "resource_exhausted") {
          // The result does not fit any more, but a fault may.
          written = { kind: "fail", fault };
          draft = draftOf(written, this.attempt, context.limits.itemBytes);
        }
        await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 50 * 2 ** tries)));
      }
    }
  }

  /** The log cannot be written, or has its end: the handler is told, and the end is tried. */
  #broken(fault: Fault): void {
    this.#controller.abort(fault);
    void this.#end({ kind: "fail", fault });
  }

  #finish(end: EndRecord): void {
    const { context, entry, record, via, principal } = this.#options;
    const code = end.kind === "end" ? "ok" : end.fault.code;
    const ms = performance.now() - this.#began;
    entry.metrics.ended(via, code, ms);
    this.#left();
    this.#settle(end);
    if (context.logger.calls === "defects" && code !== "internal") return;
    const fault = end.kind === "fail" ? end.fault : undefined;
    context.logger.call({
      at: context.now(),
      method: entry.name,
      via,
      code,
      ms,
      id: record.id,
      ...(principal.id !== "" && { principal: principal.id }),
      ...(record.attempt > 1 && { attempt: record.attempt }),
      ...(record.traceparent !== undefined && { traceparent: record.traceparent }),
      ...(fault?.cause !== undefined && { error: fault.cause }),
    });
  }

  #left(): void {
    const { context, entry, record, seat } = this.#options;
    if (context.runs.get(record.id) !== this) return;
    context.runs.delete(record.id);
    entry.metrics.running--;
    if (seat !== undefined) context.gate.leave(seat);
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    for (const unhook of this.#unhook) unhook();
    const { kind } = entry.method;
    if (kind === "clientStream" || kind === "bidi") void endInput(this.#options.store, record.id);
  }
}

export function restartFault(): Fault {
  return new Fault("unavailable", "the server was restarted while the call ran", {
    hint: 'call again with a new key; a method with onRestart: "retry" is started again by itself',
  });
}

/** The attempt is told when it was not the first: a state is made of the last event alone. */
function draftOf(end: EndRecord, attempt: number, itemBytes: number): { kind: "end" | "fail"; json: string } {
  const again = attempt > 1 ? { attempt } : {};
  if (end.kind === "fail") return { kind: "fail", json: JSON.stringify({ ...end.fault.toJSON(), ...again }) };
  return { kind: "end", json: toJson({ result: end.value, ...again }, itemBytes, "result") };
}

/** Nobody reads more items: whoever still sends some is told that the log has ended. */
async function endInput(store: Store, id: string): Promise<void> {
  await store.append(inputLog(id), [{ kind: "end", json: "{}" }]).catch(() => {
    // The log is gone, or the store is: there is nothing left to end.
  });
}
