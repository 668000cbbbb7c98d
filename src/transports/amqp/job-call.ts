/**
 * One call of a queued method, in the server. It keeps in the log `jobs/ID` what must outlive the process: the
 * token of the job, that it was published, and each claim of a worker. It reads the call's own log, so that it
 * acknowledges what a worker said when that is stored, and not before.
 */
import type { HandlerCall } from "../../contract/index.ts";
import { type Cursor, Fault, type FaultJson, faultFromJson, toFault } from "../../log/index.ts";
import { pause } from "./broker.ts";
import { type FromWorker, type HistoryPage, JOB, type Job } from "./job-messages.ts";
import type { Jobs, JobsConnected } from "./jobs.ts";

type JobRecord =
  | { readonly token: string }
  | { readonly published: string }
  | { readonly claim: string; readonly queue: string; readonly base: number; readonly head: Cursor };

/** The worker that the call is with. */
interface Holder {
  readonly run: string;
  queue: string;
  /** Items of the call before this run's first. */
  readonly base: number;
  /** The place in the call's log where this run began: the end of its history. */
  readonly head: Cursor;
  /** Number of the item that comes next. */
  next: number;
}

interface Said {
  readonly message: FromWorker;
  readonly settle: () => void;
}

type End = { readonly result: unknown } | { readonly fault: Fault };

/** How often a worker that holds a call which another one has been given is asked whether it lives, in milliseconds. */
const PROBE_MS = 1_000;

export class JobCall {
  readonly id: string;
  readonly method: string;
  readonly #jobs: Jobs;
  readonly #call: HandlerCall<unknown>;
  #connected: JobsConnected | undefined;
  #token: string | undefined;
  #claims = 0;
  #holder: Holder | undefined;
  /** Runs that wait until the holder is known to be lost, and the queues of their workers. */
  readonly #standbys = new Map<string, string>();
  #isContested = false;
  /** What came out of its order, by its number. */
  readonly #early = new Map<number, Said>();
  /** Items that were not yielded yet, with what acknowledges them. */
  readonly #pending: Said[] = [];
  /** Yielded and not stored yet: how many items the log has then. */
  readonly #unstored: { readonly items: number; readonly settle: () => void }[] = [];
  #yielded = 0;
  #stored = 0;
  #head: Cursor | undefined;
  #end: End | undefined;
  #endSaid: Said | undefined;
  #isOver = false;
  #isDetached = false;
  #isReady = false;
  /** Messages are taken one after the other. */
  #tail: Promise<void> = Promise.resolve();
  readonly #reading = new AbortController();
  #wakes: (() => void)[] = [];

  constructor(jobs: Jobs, method: string, call: HandlerCall<unknown>) {
    this.#jobs = jobs;
    this.method = method;
    this.#call = call;
    this.id = call.id!;
    call.signal.addEventListener("abort", () => this.#aborted(), { once: true });
    if (call.signal.aborted) this.#aborted();
  }

  async result(): Promise<unknown> {
    for await (const _ of this.items()) throw new Fault("internal", "a unary method has no items");
    return this.#end && "result" in this.#end ? this.#end.result : undefined;
  }

  async *items(): AsyncGenerator<unknown, void> {
    const { signal } = this.#call;
    try {
      await this.#begin();
      for (;;) {
        if (signal.aborted) throw signal.reason;
        const said = this.#pending.shift();
        if (said) {
          this.#unstored.push({ items: ++this.#yielded, settle: said.settle });
          yield (said.message as { data: unknown }).data;
        } else if (this.#end) {
          if ("fault" in this.#end) throw this.#end.fault;
          return;
        } else await this.#change();
      }
    } finally {
      // Left before its end: what was yielded last is not valid, or too much.
      if (!this.#end && !signal.aborted) this.#end = { fault: new Fault("cancelled", "the call has ended") };
      if (!this.#isReady) this.#jobs.leave(this);
    }
  }

  /** A worker has said something. `settle` acknowledges it: not before it needs not be said again. */
  said(message: FromWorker, queue: string, settle: () => void): void {
    this.#tail = this.#tail.then(async () => {
      while (!this.#isReady && !this.#isOver && !this.#isDetached) await this.#change();
      if (this.#isDetached) return;
      await this.#take(message, queue, settle).catch((thrown) => {
        // Not acknowledged: it comes again when the connection does.
        this.#connected?.broker.note("error", "what a worker said could not be taken", {
          call: this.id,
          error: toFault(thrown).message,
        });
      });
    });
  }

  /** The queue was deleted: a job that no worker has claimed was in it, or is about to be. */
  queueLost(): void {
    this.#tail = this.#tail
      .then(async () => {
        if (this.#isReady && !this.#holder && !this.#end && !this.#isOver && !this.#isDetached) await this.#publish();
      })
      .catch(() => {});
  }

  // --- begin ---

  async #begin(): Promise<void> {
    const { signal } = this.#call;
    this.#connected = await this.#jobs.connected(signal);
    const { published } = await this.#recall();
    if (this.#holder) {
      this.#stored = 0;
      for await (const { kind } of this.#call.history()) if (kind === "item") this.#yielded++;
      this.#holder.next = Math.max(0, this.#yielded - this.#holder.base);
    } else if (this.#call.attempt > 1)
      for await (const { kind } of this.#call.history()) if (kind === "item") this.#yielded++;
    void this.#follow();
    this.#isReady = true;
    this.#wake();
    if (this.#holder || (this.#token !== undefined && published === this.#token)) return;
    await this.#publish();
  }

  /** What an earlier process knew. */
  async #recall(): Promise<{ published: string | undefined }> {
    let published: string | undefined;
    let from: Cursor | "start" = "start";
    if (this.#call.attempt === 1) return { published };
    const { store } = this.#connected!;
    for (let more = true; more; ) {
      more = false;
      try {
        for await (const page of store.read(this.#log, { from, follow: false })) {
          for (const { json } of page.events) {
            const record = JSON.parse(json) as JobRecord;
            if ("token" in record) this.#token = record.token;
            else if ("published" in record) published = record.published;
            else {
              this.#claims++;
              this.#holder = { run: record.claim, queue: record.queue, base: record.base, head: record.head, next: 0 };
            }
          }
          from = page.cursor;
          more = page.more;
        }
      } catch (thrown) {
        if (toFault(thrown).code !== "not_found") throw thrown;
      }
    }
    return { published };
  }

  /** With a new token: of an older copy of the job nobody knows whether it is in the queue. */
  async #publish(): Promise<void> {
    const { broker, names, server } = this.#connected!;
    const { signal, principal, deadline, trace } = this.#call;
    const token = crypto.randomUUID();
    await this.#record({ token });
    this.#token = token;
    const job: Job = {
      call: this.id,
      method: this.method,
      token,
      server: names.serverOf(server),
      input: await this.#input(),
      principal: principal.id,
      ...(deadline !== undefined && { deadline }),
      ...trace,
    };
    const envelope = {
      routingKey: names.jobsOf(this.method),
      type: JOB,
      contentType: JOB,
      messageId: token,
      mandatory: true,
    };
    for (;;) {
      if (await broker.publishSurely(envelope, JSON.stringify(job), signal)) break;
      if (signal.aborted) throw signal.reason;
      // Somebody has deleted the queue.
      await broker.redeclare().catch(() => {});
      await pause(200, signal);
    }
    void this.#record({ published: token }).catch(() => {});
  }

  /** As the caller has sent it: the worker validates it, as a handler here would have it. */
  async #input(): Promise<unknown> {
    const { store } = this.#connected!;
    for await (const page of store.read(`calls/${this.id}`, { from: "start", follow: false, pageEvents: 1 })) {
      return (JSON.parse(page.events[0]?.json ?? "{}") as { input?: unknown }).input;
    }
    return undefined;
  }

  // --- what workers say ---

  async #take(message: FromWorker, queue: string, settle: () => void): Promise<void> {
    const { run } = message;
    if (message.do === "claim") {
      await this.#claimed(message, queue);
      settle();
      return;
    }
    const holder = this.#holder;
    if (!holder || holder.run !== run) {
      // Overtaken by another worker: what it says does not count any more.
      settle();
      await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
      return;
    }
    holder.queue = queue;
    switch (message.do) {
      case "item":
      case "end":
      case "fail":
        this.#ordered(holder, { message, settle });
        return;
      case "progress":
        this.#progress(message.data);
        settle();
        return;
      case "history":
      case "publish": {
        const answered = await this.#answer(holder, message).then(
          (data) => ({ data }),
          (thrown) => ({ fault: toFault(thrown).toJSON() }),
        );
        await this.#jobs.tell(queue, { do: "answer", call: this.id, run, ask: message.ask, ...answered });
        settle();
        return;
      }
      case "lost":
        settle();
        holder.queue = "";
        return;
      default:
        settle();
    }
  }

  /** Items are taken by their numbers: after a redelivery some come twice, and some may come out of order. */
  #ordered(holder: Holder, said: Said): void {
    const { n } = said.message as { n: number };
    if (n < holder.next && said.message.do === "item") {
      const items = holder.base + n + 1;
      if (items <= this.#stored) said.settle();
      else this.#unstored.push({ items, settle: said.settle });
      return;
    }
    this.#early.set(n, said);
    for (;;) {
      const next = this.#early.get(holder.next);
      if (!next) return;
      this.#early.delete(holder.next);
      if (next.message.do === "item") {
        holder.next++;
        this.#pending.push(next);
      } else {
        this.#endSaid = next;
        this.#end ??=
          next.message.do === "fail"
            ? { fault: faultFromJson(next.message.fault) }
            : { result: (next.message as { result?: unknown }).result };
      }
      this.#wake();
    }
  }

  #progress(data: unknown): void {
    try {
      this.#call.progress(data);
    } catch (thrown) {
      this.#fail(toFault(thrown));
    }
  }

  async #answer(holder: Holder, message: FromWorker): Promise<unknown> {
    if (message.do === "publish") {
      const topic = this.#connected!.host.contract.topics.get(message.topic);
      if (!topic) throw new Fault("not_found", `the server has no topic ${message.topic}`);
      return this.#call.publish(topic, message.event as never, { key: message.key });
    }
    const { after } = message as { after?: string };
    const { store } = this.#connected!;
    const events: { kind: "item" | "progress"; data: unknown }[] = [];
    if (holder.base === 0 && this.#claims < 2) return { events } satisfies HistoryPage;
    for await (const page of store.read(`calls/${this.id}`, { from: (after ?? "start") as Cursor, follow: false })) {
      for (const { kind, json, cursor } of page.events) {
        if (cursor > holder.head) return { events } satisfies HistoryPage;
        if (kind === "item" || kind === "progress") events.push({ kind, data: JSON.parse(json) });
      }
      return { events, ...(page.more && { next: page.cursor }) } satisfies HistoryPage;
    }
    return { events } satisfies HistoryPage;
  }

  // --- claims ---

  async #claimed({ run, token }: FromWorker & { do: "claim" }, queue: string): Promise<void> {
    if (token !== this.#token) {
      await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
    } else if (this.#isOver || this.#end) {
      // Not before the end is stored: the job is what would bring the worker back.
      while (!this.#isOver && !this.#isDetached) await this.#change();
      if (this.#isOver) await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
    } else if (this.#holder?.run === run) {
      this.#holder.queue = queue;
      await this.#jobs.tell(queue, { do: "grant", call: this.id, run, attempt: this.#claims });
    } else if (this.#holder) {
      this.#standbys.set(run, queue);
      if (!this.#isContested) void this.#contest();
    } else await this.#grant(run, queue);
  }

  async #grant(run: string, queue: string): Promise<void> {
    const { onRestart, maxAttempts = 5 } = this.#jobs.method(this.method).options;
    const attempt = this.#claims + 1;
    if (attempt > 1 && onRestart !== "retry") {
      this.#fail(
        new Fault("unavailable", "the worker was lost while it ran the call", {
          hint: 'call again with a new key; a method with onRestart: "retry" is run again by itself',
        }),
      );
      await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
      return;
    }
    if (attempt > maxAttempts) {
      this.#fail(
        new Fault("unavailable", `each of ${maxAttempts} workers was lost while it ran the call`, {
          limit: "maxAttempts",
          retryable: false,
          hint: "the job is kept among the dead letters; look whether this call makes workers end",
        }),
      );
      await this.#jobs.tell(queue, { do: "gone", call: this.id, run, isPoison: true });
      return;
    }
    // What the run before has said is its own to the end: the next one's items are counted from there.
    while ((this.#pending.length > 0 || this.#stored < this.#yielded) && !this.#isOver && !this.#call.signal.aborted) {
      await this.#change();
    }
    if (this.#isOver || this.#call.signal.aborted) {
      await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
      return;
    }
    this.#early.clear();
    const head = this.#head!;
    await this.#record({ claim: run, queue, base: this.#yielded, head });
    this.#claims = attempt;
    this.#holder = { run, queue, base: this.#yielded, head, next: 0 };
    await this.#jobs.tell(queue, { do: "grant", call: this.id, run, attempt });
  }

  /**
   * The broker has given the job to another worker, for the holder has lost its connection, or its life. A
   * connection comes back: so the other waits until the holder's queue has been gone for a while.
   */
  async #contest(): Promise<void> {
    this.#isContested = true;
    const { graceMs, broker } = this.#connected!;
    let goneAt: number | undefined;
    while (this.#standbys.size > 0 && !this.#end && !this.#isOver && !this.#isDetached) {
      const { queue, run } = this.#holder!;
      const isThere = queue !== "" && (await this.#jobs.tell(queue, { do: "ping", call: this.id, run }));
      // It is not the worker's fault when there is no broker.
      if (isThere || broker.unready().length > 0) goneAt = undefined;
      else goneAt ??= performance.now();
      if (goneAt !== undefined && (queue === "" || performance.now() - goneAt >= graceMs)) {
        const next = await this.#nextRun();
        if (next) {
          broker.note("warn", "a worker was lost while it ran a call", { call: this.id, method: this.method });
          this.#tail = this.#tail.then(() => this.#grant(...next)).catch(() => {});
          await this.#tail;
        }
        goneAt = undefined;
      } else await pause(Math.min(PROBE_MS, graceMs / 4), this.#reading.signal);
    }
    this.#isContested = false;
  }

  /** Of those that wait one that is still there. */
  async #nextRun(): Promise<[run: string, queue: string] | undefined> {
    for (const [run, queue] of this.#standbys) {
      this.#standbys.delete(run);
      if (await this.#jobs.tell(queue, { do: "ping", call: this.id, run })) return [run, queue];
    }
    return undefined;
  }

  // --- the end ---

  #fail(fault: Fault): void {
    this.#end ??= { fault };
    this.#wake();
  }

  /** Cancelled, too late, or the server goes: then the worker works on, for the next server. */
  #aborted(): void {
    const fault = toFault(this.#call.signal.reason);
    const goes = fault.code === "unavailable" && (!this.#connected || this.#connected.host.draining.aborted);
    if (goes) {
      this.#isDetached = true;
      this.#reading.abort();
      this.#jobs.leave(this);
    }
    this.#wake();
  }

  /** Reads the call's own log: what is in it need not be said again. */
  async #follow(): Promise<void> {
    const { store, broker } = this.#connected!;
    let from: Cursor | "start" = "start";
    while (!this.#reading.signal.aborted) {
      try {
        for await (const page of store.read(`calls/${this.id}`, { from, follow: true, signal: this.#reading.signal })) {
          for (const { kind } of page.events) if (kind === "item") this.#stored++;
          from = page.cursor;
          this.#head = page.cursor;
          this.#settleStored();
          if (page.ended) {
            await this.#over(page.events.at(-1)?.json);
            return;
          }
          this.#wake();
        }
      } catch (thrown) {
        const { code, message } = toFault(thrown);
        if (code === "not_found") {
          await this.#over(undefined);
          return;
        }
        broker.note("error", "the log of a call cannot be read", { call: this.id, fault: message });
        await pause(500, this.#reading.signal);
      }
    }
  }

  #settleStored(): void {
    let kept = 0;
    for (const each of this.#unstored) {
      if (each.items <= this.#stored) each.settle();
      else this.#unstored[kept++] = each;
    }
    this.#unstored.length = kept;
  }

  /** The end is in the store: everybody may forget the job. */
  async #over(json: string | undefined): Promise<void> {
    this.#isOver = true;
    const holder = this.#holder;
    if (holder && this.#endSaid) await this.#jobs.tell(holder.queue, { do: "stored", call: this.id, run: holder.run });
    else if (holder) {
      const fault = (
        json === undefined ? { code: "cancelled", message: "the call has ended" } : JSON.parse(json)
      ) as FaultJson;
      await this.#jobs.tell(holder.queue, { do: "cancel", call: this.id, run: holder.run, fault });
    }
    for (const [run, queue] of this.#standbys) await this.#jobs.tell(queue, { do: "gone", call: this.id, run });
    for (const { settle } of [...this.#unstored, ...this.#pending, ...this.#early.values()]) settle();
    this.#endSaid?.settle();
    this.#wake();
    this.#jobs.leave(this);
    this.#reading.abort();
    await this.#connected!.store.trim(this.#log, "all").catch(() => {});
  }

  // --- helpers ---

  get #log(): string {
    return `jobs/${this.id}`;
  }

  async #record(record: JobRecord): Promise<void> {
    const draft = { kind: "item", json: JSON.stringify(record) } as const;
    // Only the first makes the log: one that comes after the end must not bring it back.
    const options = "token" in record ? { create: { kind: "job" } } : {};
    await this.#connected!.store.append(this.#log, [draft], options);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wakes.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }
}
