/** The service that the transport suite calls, and what a case holds of its handlers. */
import { z } from "zod";
import { bidi, clientStream, serverStream, service, topic, unary } from "../../src/contract/index.ts";
import { CODES, Fault } from "../../src/log/index.ts";

/** What a handler streams, told by the case: kept, so that a handler that is started again begins anew. */
export class Source {
  readonly values: unknown[] = [];
  #ended: { readonly fault: Fault | undefined } | undefined;
  #waiting = new Set<() => void>();

  push(...values: unknown[]): void {
    this.values.push(...values);
    this.#wake();
  }

  end(fault?: Fault): void {
    this.#ended = { fault };
    this.#wake();
  }

  async *from(index: number, signal: AbortSignal): AsyncGenerator<unknown> {
    for (let at = index; ; ) {
      if (signal.aborted) throw signal.reason;
      if (at < this.values.length) yield this.values[at++];
      else if (this.#ended?.fault) throw this.#ended.fault;
      else if (this.#ended) return;
      else await this.#change(signal);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

/** The case's side of the handlers of one world. */
export class Control {
  readonly #sources = new Map<string, Source>();
  readonly #started = new Map<string, number>();
  readonly #aborted = new Map<string, unknown>();

  source(name: string): Source {
    let source = this.#sources.get(name);
    if (!source) {
      source = new Source();
      this.#sources.set(name, source);
    }
    return source;
  }

  /** How often a handler was started for this source. */
  started(name: string): number {
    return this.#started.get(name) ?? 0;
  }

  /** With what the handler's signal aborted. */
  aborted(name: string): unknown {
    return this.#aborted.get(name);
  }

  enter(name: string, signal: AbortSignal): Source {
    this.#started.set(name, this.started(name) + 1);
    signal.addEventListener("abort", () => this.#aborted.set(name, signal.reason));
    return this.source(name);
  }
}

const any = z.any();
const source = z.object({ source: z.string() });
const sum = { initial: 0, step: (total: number, n: number) => total + n };

export function suiteService(control: Control) {
  const ticks = topic({
    event: z.object({ n: z.number() }),
    fold: { initial: 0, step: (total, { n }) => total + n },
  });
  return service("t", {
    double: unary({ input: z.object({ n: z.number() }), output: z.object({ n: z.number() }), safe: true }, ({ n }) => ({
      n: n * 2,
    })),
    echo: unary({ input: any, output: any }, (input) => input),
    nothing: unary({ input: z.object({}), output: z.object({ ok: z.boolean() }) }, () => ({ ok: true })),
    nested: unary(
      { input: z.object({ list: z.array(z.object({ name: z.string() })), size: z.int() }), output: z.null() },
      () => null,
    ),
    /** Fails with the fault that it is given. */
    fails: unary({ input: any, output: any }, ({ code, message, ...options }) => {
      throw new Fault(CODES.find((each) => each === code) ?? "internal", message, options);
    }),
    defect: unary({ input: any, output: any }, () => {
      throw new Error("secret of the server");
    }),
    badOutput: unary({ input: any, output: z.object({ n: z.number() }) }, () => ({ n: "no" }) as never),
    trace: unary({ input: any, output: any }, (_, call) => call.trace ?? null),
    me: unary({ input: any, output: z.string() }, (_, call) => call.principal.id),
    /** Ends with the first value of its source. */
    gate: unary({ input: source, output: any, progress: any }, async ({ source }, call) => {
      for await (const value of control.enter(source, call.signal).from(0, call.signal)) {
        if (typeof value !== "object" || value === null || !("progress" in value)) return value;
        call.progress(value.progress);
      }
    }),
    tied: unary({ input: source, output: any, onDisconnect: "cancel" }, async ({ source }, call) => {
      for await (const value of control.enter(source, call.signal).from(0, call.signal)) return value;
    }),
    count: serverStream({ input: z.object({ to: z.int() }), item: z.number(), fold: sum }, function* ({ to }) {
      for (let n = 1; n <= to; n++) yield n;
    }),
    /** `items` items of `bytes` characters each. */
    big: serverStream(
      { input: z.object({ items: z.int(), bytes: z.int() }), item: z.object({ n: z.int(), text: z.string() }) },
      function* ({ items, bytes }) {
        const text = "x".repeat(bytes);
        for (let n = 0; n < items; n++) yield { n, text };
      },
    ),
    /** What its source says, and after a restart what it has not said yet. */
    stream: serverStream(
      { input: source, item: any, progress: any, onRestart: "retry" },
      async function* ({ source }, call) {
        let said = 0;
        for await (const { kind } of call.history()) if (kind === "item") said++;
        yield* control.enter(source, call.signal).from(said, call.signal);
      },
    ),
    /** Its items are numbers, and it folds their sum. */
    numbers: serverStream({ input: source, item: z.number(), fold: sum }, async function* ({ source }, call) {
      yield* control.enter(source, call.signal).from(0, call.signal) as AsyncIterable<number>;
    }),
    sum: clientStream({ input: z.number(), output: z.number() }, async (items) => {
      let total = 0;
      for await (const n of items) total += n;
      return total;
    }),
    shout: bidi({ input: z.string(), item: z.string() }, async function* (items) {
      for await (const text of items) yield text.toUpperCase();
    }),
    ticks,
    notes: topic({ event: z.object({ text: z.string() }) }),
    closed: topic({ event: z.object({}), open: false }),
    /** Publishes as the server. */
    tick: unary({ input: z.object({ n: z.number() }), output: z.string() }, ({ n }, call) =>
      call.publish(ticks, { n }),
    ),
  });
}
