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
import { type Context, callLog, type EndRecord, type Entry, type OpenRecord } from "./context.ts";
import { publishFrom } from "./direct.ts";
import { endInput, writeEnd } from "./ending.ts";
import type { Seat } from "./gate.ts";
import { itemsOf } from "./input.ts";
import { Recorder } from "./recorder.ts";
import { after, deadlineFault, isPromise, onAbort, restartFault, toJson, turn } from "./util.ts";

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
  /** Bytes that the log has already. */
  readonly bytes: number;
  readonly via: string;
  /** The caller that opened the call, for `onDisconnect: "cancel"`; none after a restart. */
  readonly caller: Call | undefined;
  /** Taken until the handler has ended, which can be later than the call. */
  readonly seat: Seat;
}

/** Items of one call in a row. */
const STREAK = 128;

export class Run implements HandlerCall<unknown> {
  readonly #options: RunOptions;
  readonly #recorder: Recorder;
  readonly #controller = new AbortController();
  readonly #unhook: (() => void)[] = [];
  readonly #began = performance.now();
  #settle!: (end: EndRecord | undefined) => void;
  #released = false;
  #ending: Promise<void> | undefined;
  /** The end, when it is stored; undefined when the call is left to the next process. */
  readonly ended: Promise<EndRecord | undefined>;

  constructor(options: RunOptions) {
    this.#options = options;
    const { context, store, record, entry } = options;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#recorder = new Recorder({
      store,
      log: callLog(record.id),
      bytes: options.bytes,
      maxBytes: context.limits.callBytes,
      unwritten: context.unwritten,
      unwrittenBytes: context.limits.unwrittenBytesPerCall,
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
      this.#unhook.push(after(record.deadline - context.now(), () => void this.#stop(deadlineFault())));
    }
  }

  /** Runs the handler to its end. Never rejects. */
  async start(): Promise<void> {
    const { context, seat } = this.#options;
    let end: EndRecord | undefined;
    try {
      // It can have been ended before its handler could begin.
      if (!this.#ending && !this.#released) end = { kind: "end", value: await this.#handle() };
    } catch (thrown) {
      end = this.#failure(thrown);
    }
    // Before anybody hears the end: who hears it may call again.
    context.gate.leave(seat);
    if (end) await this.#end(end);
  }

  async #handle(): Promise<unknown> {
    const { entry, context, store, record, input } = this.#options;
    const { method } = entry;
    const many = method.kind === "clientStream" || method.kind === "bidi";
    const given = many ? itemsOf(context, store, record.id, method, this.signal) : input;
    const output = method.handler(given, this);
    if (method.kind === "serverStream" || method.kind === "bidi") return this.#say(output as AsyncIterable<unknown>);
    return validate(method.output, isPromise(output) ? await output : output, "output");
  }

  async #say(items: AsyncIterable<unknown>): Promise<void> {
    const { entry, context } = this.#options;
    let said = 0;
    for await (const item of items) {
      try {
        if (this.signal.aborted) throw this.signal.reason;
        // Of many calls that were opened while there was room, each can say more than is left.
        context.usage.check(this.#options.principal.id);
        const valid = validate(entry.method.output, item, "output");
        const json = toJson(isPromise(valid) ? await valid : valid, context.limits.itemBytes, "item");
        const room = this.#recorder.push("item", json);
        if (room) await room;
        // A generator that never waits would let no timer and no other call have its turn.
        if (++said % STREAK === 0) await turn();
      } catch (thrown) {
        // Before the loop closes the generator: its `finally` may take long, or for ever.
        void this.#end(this.#failure(thrown));
        throw thrown;
      }
    }
  }

  /** After a cancel or a deadline the handler fails with what it was aborted with: the end is on its way already. */
  #failure(thrown: unknown): EndRecord {
    return { kind: "fail", fault: toFault(this.signal.aborted ? this.signal.reason : thrown) };
  }

  /** Ends the call as cancelled, at once; the handler is told by its signal. */
  cancel(why = "the call was cancelled"): Promise<void> {
    return this.#stop(new Fault("cancelled", why));
  }

  /** Ends the call with a fault from outside its handler. */
  fail(fault: Fault): void {
    void this.#stop(fault);
  }

  /** The server goes: a call with `onRestart: "retry"` is left to the next process, any other one ends. */
  async release(): Promise<void> {
    const fault = restartFault();
    if (this.#ending || this.#options.entry.method.options.onRestart !== "retry") return this.#stop(fault);
    this.#released = true;
    this.#controller.abort(fault);
    await this.#recorder.settled();
    this.#leave();
    this.#settle(undefined);
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
    const { limits, usage } = this.#options.context;
    const { itemBytes } = limits;
    usage.check(this.#options.principal.id);
    const valid = validate(progress, value, "progress");
    if (isPromise(valid)) {
      valid
        .then((settled) => {
          if (!this.signal.aborted && !this.#ending)
            this.#recorder.push("progress", toJson(settled, itemBytes, "progress"));
        })
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

  /** The log cannot be written, or has its end: the handler is told, and the end is tried. */
  #broken(fault: Fault): void {
    void this.#stop(fault);
  }

  #end(end: EndRecord): Promise<void> {
    if (this.#released) return Promise.resolve();
    this.#ending ??= this.#write(end);
    return this.#ending;
  }

  async #write(end: EndRecord): Promise<void> {
    const { context, store, entry, record, principal } = this.#options;
    const { attempt, id } = record;
    const written = await writeEnd({ context, store, recorder: this.#recorder, id, attempt }, end);
    this.#leave();
    if (written) {
      const { kind } = entry.method;
      if (kind === "clientStream" || kind === "bidi") void endInput(context, store, id, principal.id);
      this.#note(written);
    }
    this.#settle(written);
  }

  /** The call is no longer one of this process. */
  #leave(): void {
    const { context, entry, record } = this.#options;
    if (context.runs.get(record.id) === this) context.runs.delete(record.id);
    entry.metrics.running--;
    for (const unhook of this.#unhook) unhook();
  }

  #note(end: EndRecord): void {
    const { context, entry, record, via, principal } = this.#options;
    const code = end.kind === "end" ? "ok" : end.fault.code;
    const ms = performance.now() - this.#began;
    entry.metrics.ended(via, code, ms);
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
}
