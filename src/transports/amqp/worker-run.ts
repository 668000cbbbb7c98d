/** One job on a worker: claimed, run, told, and acknowledged when its end is stored. */
import {
  type AnySchema,
  type HandlerCall,
  type InputOf,
  type Method,
  type Topic,
  validate,
} from "../../contract/index.ts";
import { type Cursor, Fault, faultFromJson, toFault } from "../../log/index.ts";
import type { FromWorker, HistoryPage, Job, ToWorker } from "./job-messages.ts";
import type { Worker } from "./worker.ts";

/** Items that the broker has not confirmed yet. */
const WINDOW = 64;

type Say<T = FromWorker> = T extends FromWorker ? Omit<T, "call" | "run"> : never;
type Settle = (outcome: "ack" | "back" | "dead") => void;

export class WorkerRun {
  readonly id = crypto.randomUUID();
  readonly job: Job;
  isGranted = false;
  /** Of the newest delivery of the job. */
  settle: Settle;
  readonly #worker: Worker;
  readonly #method: Method;
  readonly #controller = new AbortController();
  readonly #asked = new Map<
    number,
    { resolve(data: unknown): void; reject(fault: Fault): void; readonly message: Say }
  >();
  #attempt = 1;
  #asks = 0;
  #items = 0;
  #unconfirmed = 0;
  #room: (() => void) | undefined;
  #end: Say | undefined;
  /** What becomes of the job when the handler, which was told to stop, has. */
  #outcome: "ack" | "dead" | undefined;
  #isOver = false;

  constructor(worker: Worker, job: Job, method: Method, settle: Settle) {
    this.#worker = worker;
    this.job = job;
    this.#method = method;
    this.settle = settle;
  }

  /** Asks the server whether the call still wants to be run: it is the one who knows. */
  async start(): Promise<void> {
    const isTold = await this.#say({ do: "claim", token: this.job.token });
    if (isTold || this.#isOver) return;
    this.#worker.broker.note("error", "the server of a job is gone, and the job is kept as a dead letter", {
      call: this.job.call,
      server: this.job.server,
    });
    this.#over("dead");
  }

  /** The worker has a new queue. */
  resume(): void {
    if (this.#isOver || this.#outcome) return;
    // What was asked or said last may have been answered to the queue before.
    if (!this.isGranted) void this.#say({ do: "claim", token: this.job.token });
    else if (this.#end) void this.#say(this.#end);
    else {
      void this.#say({ do: "resume" });
      for (const { message } of this.#asked.values()) void this.#say(message);
    }
  }

  told(message: ToWorker): void {
    switch (message.do) {
      case "grant":
        if (this.isGranted) return;
        this.isGranted = true;
        this.#attempt = message.attempt;
        void this.#run();
        return;
      case "gone":
        this.#stop(new Fault("cancelled", "the call has ended, or runs elsewhere"));
        this.#leave(message.isPoison ? "dead" : "ack");
        return;
      case "cancel":
        this.#stop(faultFromJson(message.fault));
        this.#leave("ack");
        return;
      case "stored":
        this.#over("ack");
        return;
      case "answer": {
        const asked = this.#asked.get(message.ask);
        this.#asked.delete(message.ask);
        if (message.fault) asked?.reject(faultFromJson(message.fault));
        else asked?.resolve(message.data);
        return;
      }
      default:
    }
  }

  /** Gives the job back to the broker: by its channel, which closes. */
  drop(): void {
    this.#stop(new Fault("unavailable", "the worker goes"));
    this.#over("back");
  }

  async #run(): Promise<void> {
    try {
      const { input, kind } = this.#method;
      const valid = await validate(input, this.job.input, "input");
      const output: unknown = this.#method.handler(valid, this.#call());
      if (kind === "serverStream") {
        for await (const item of output as AsyncIterable<unknown>) {
          if (this.#controller.signal.aborted) throw this.#controller.signal.reason;
          await this.#item(item);
        }
        await this.#finish({ do: "end", n: this.#items });
      } else {
        const result = await output;
        await this.#finish({ do: "end", n: this.#items, ...(result !== undefined && { result }) });
      }
    } catch (thrown) {
      const fault = toFault(this.#controller.signal.aborted ? this.#controller.signal.reason : thrown);
      if (fault.code === "internal" && !this.#isOver) {
        this.#worker.broker.note("error", "a handler failed", {
          call: this.job.call,
          method: this.job.method,
          error:
            fault.cause instanceof Error ? (fault.cause.stack ?? fault.cause.message) : String(fault.cause ?? fault),
        });
      }
      await this.#finish({ do: "fail", n: this.#items, fault: fault.toJSON() });
    }
  }

  /** As it is: the server validates it, like what a handler says there. */
  async #item(data: unknown): Promise<void> {
    const n = this.#items++;
    this.#unconfirmed++;
    void this.#say({ do: "item", n, data: data === undefined ? null : data }).then(() => {
      this.#unconfirmed--;
      this.#room?.();
    });
    while (this.#unconfirmed >= WINDOW && !this.#controller.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
  }

  /** A handler that does not heed its signal keeps its place until it has ended. */
  #leave(outcome: "ack" | "dead"): void {
    if (this.isGranted && !this.#end) this.#outcome = outcome;
    else this.#over(outcome);
  }

  async #finish(end: Say): Promise<void> {
    if (this.#isOver) return;
    if (this.#outcome) {
      this.#over(this.#outcome);
      return;
    }
    this.#end = end;
    await this.#say(end);
  }

  #call(): HandlerCall<unknown> {
    const { job } = this;
    const { call, method, principal, deadline, traceparent, tracestate } = job;
    const trace =
      traceparent === undefined ? undefined : { traceparent, ...(tracestate !== undefined && { tracestate }) };
    return {
      id: call,
      method,
      principal: { id: principal },
      attempt: this.#attempt,
      signal: this.#controller.signal,
      deadline,
      trace,
      progress: (data) => void this.#say({ do: "progress", data }),
      publish: <E extends AnySchema>(topic: Topic<E>, event: InputOf<E>, options?: { readonly key?: string }) =>
        this.#publish(topic, event, options?.key),
      history: () => this.#history(),
    };
  }

  async #publish(topic: unknown, event: unknown, given: string | undefined): Promise<Cursor> {
    const name = this.#worker.topicName(topic);
    if (name === undefined) {
      throw new Fault("not_found", "this topic is not part of a service of this worker", {
        hint: "make it a member of a service of the file that the worker runs",
      });
    }
    // With a key of its own, so that asking again after a break publishes once.
    const key = given ?? `${this.id}/${this.#asks}`;
    return (await this.#ask((ask) => ({ do: "publish", ask, topic: name, event, key }))) as Cursor;
  }

  async *#history(): AsyncGenerator<{ readonly kind: "item" | "progress"; readonly data: unknown }> {
    if (this.#attempt === 1) return;
    let after: string | undefined;
    do {
      const from = after;
      const page = (await this.#ask((ask) => ({
        do: "history",
        ask,
        ...(from !== undefined && { after: from }),
      }))) as HistoryPage;
      yield* page.events;
      after = page.next;
    } while (after !== undefined);
  }

  #ask(make: (ask: number) => Say): Promise<unknown> {
    const ask = this.#asks++;
    const message = make(ask);
    return new Promise((resolve, reject) => {
      this.#asked.set(ask, { resolve, reject, message });
      void this.#say(message);
    });
  }

  #say(message: Say): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false);
    const { call, server } = this.job;
    return this.#worker.tell(server, { ...message, call, run: this.id } as FromWorker, this.#controller.signal);
  }

  #stop(fault: Fault): void {
    this.#controller.abort(fault);
    for (const { reject } of this.#asked.values()) reject(fault);
    this.#asked.clear();
    this.#room?.();
  }

  #over(outcome: "ack" | "back" | "dead"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.settle(outcome);
    this.#worker.over(this);
  }
}
