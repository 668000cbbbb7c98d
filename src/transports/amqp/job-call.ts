/**
 * One call of a queued method, in the server. It publishes the job and takes what workers say of it: who runs it
 * (job-claims.ts), its items and its end (job-items.ts), and what they ask (job-answers.ts). What must outlive the
 * process is in `jobs/ID` (job-log.ts). What a worker said is acknowledged when it is stored, and not before.
 */
import type { HandlerCall } from "../../contract/index.ts";
import { Fault, type FaultJson, toFault } from "../../log/index.ts";
import { answerTo } from "./job-answers.ts";
import { JobClaims } from "./job-claims.ts";
import { JobItems } from "./job-items.ts";
import { forget, recall } from "./job-log.ts";
import type { FromWorker } from "./job-messages.ts";
import { publishJob } from "./job-publish.ts";
import { JobState } from "./job-state.ts";
import type { Jobs } from "./jobs.ts";

export class JobCall {
  readonly id: string;
  readonly method: string;
  readonly #state: JobState;
  readonly #items: JobItems;
  readonly #claims: JobClaims;
  /** Messages are taken one after the other. */
  #tail: Promise<void> = Promise.resolve();

  constructor(jobs: Jobs, method: string, call: HandlerCall<unknown>) {
    const state = new JobState(jobs, method, call);
    this.#state = state;
    this.#items = new JobItems(state);
    this.#claims = new JobClaims(state, this.#items, (take) => this.#inTurn(take));
    this.method = method;
    this.id = state.id;
    call.signal.addEventListener("abort", () => this.#aborted(), { once: true });
    if (call.signal.aborted) this.#aborted();
  }

  async result(): Promise<unknown> {
    for await (const _ of this.items()) throw new Fault("internal", "a unary method has no items");
    const { end } = this.#state;
    return end && "result" in end ? end.result : undefined;
  }

  async *items(): AsyncGenerator<unknown, void> {
    const state = this.#state;
    const { signal } = state.call;
    try {
      await this.#begin();
      for (;;) {
        if (signal.aborted) throw signal.reason;
        const item = this.#items.shift();
        if (item) yield item.data;
        else if (state.end) {
          if ("fault" in state.end) throw state.end.fault;
          return;
        } else await state.change();
      }
    } finally {
      // Left before its end: what was yielded last is not valid, or too much.
      if (!state.end && !signal.aborted) state.end = { fault: new Fault("cancelled", "the call has ended") };
      if (!state.isReady) state.jobs.leave(this);
    }
  }

  /** A worker has said something. `settle` acknowledges it: not before it needs not be said again. */
  said(message: FromWorker, queue: string, settle: () => void): void {
    const state = this.#state;
    void this.#inTurn(async () => {
      while (!state.isReady && !state.isLeft) await state.change();
      if (state.isDetached) return;
      await this.#take(message, queue, settle).catch((thrown) => {
        // Not acknowledged: it comes again when the connection does.
        if (!state.isConnected) return;
        state.connected.broker.note("error", "what a worker said could not be taken", {
          call: this.id,
          error: toFault(thrown).message,
        });
      });
    });
  }

  /** The queue was deleted: a job that no worker has claimed was in it, or is about to be. */
  queueLost(): void {
    const state = this.#state;
    void this.#inTurn(async () => {
      if (state.isReady && !state.holder && !state.end && !state.isLeft) await publishJob(state);
    });
  }

  async #begin(): Promise<void> {
    const state = this.#state;
    await state.connect();
    const { published } = await recall(state);
    if (state.holder || state.call.attempt > 1) await this.#items.recount();
    if (state.holder) state.holder.next = Math.max(0, this.#items.yielded - state.holder.base);
    void this.#items.follow((end) => this.#over(end));
    state.isReady = true;
    state.wake();
    if (state.holder || (state.token !== undefined && published === state.token)) return;
    await publishJob(state);
  }

  async #take(message: FromWorker, queue: string, settle: () => void): Promise<void> {
    const { run } = message;
    if (message.do === "claim") {
      await this.#claims.take(message, queue);
      settle();
      return;
    }
    const state = this.#state;
    const { jobs, holder } = state;
    if (!holder || holder.run !== run) {
      // Overtaken by another worker: what it says does not count any more.
      settle();
      await jobs.tell(queue, { do: "gone", call: this.id, run });
      return;
    }
    holder.queue = queue;
    switch (message.do) {
      case "item":
      case "end":
      case "fail":
        this.#items.take(holder, { message, settle });
        return;
      case "progress":
        this.#progress(message.data);
        settle();
        return;
      case "history":
      case "publish": {
        const answered = await answerTo(state, holder, message).then(
          (data) => ({ data }),
          (thrown) => ({ fault: toFault(thrown).toJSON() }),
        );
        await jobs.tell(queue, { do: "answer", call: this.id, run, ask: message.ask, ...answered });
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

  #progress(data: unknown): void {
    try {
      this.#state.call.progress(data);
    } catch (thrown) {
      this.#state.finish({ fault: toFault(thrown) });
    }
  }

  /** Cancelled, too late, or the server goes: then the worker works on, for the next server. */
  #aborted(): void {
    const state = this.#state;
    const fault = toFault(state.call.signal.reason);
    const goes = fault.code === "unavailable" && (!state.isConnected || state.connected.host.draining.aborted);
    if (goes) {
      state.isDetached = true;
      state.reading.abort();
      state.jobs.leave(this);
    }
    state.wake();
  }

  /** The end is in the store: everybody may forget the job. */
  async #over(json: string | undefined): Promise<void> {
    const state = this.#state;
    const { jobs, holder } = state;
    state.isOver = true;
    if (holder && this.#items.endSaid) await jobs.tell(holder.queue, { do: "stored", call: this.id, run: holder.run });
    else if (holder) {
      const fault = (
        json === undefined ? { code: "cancelled", message: "the call has ended" } : JSON.parse(json)
      ) as FaultJson;
      await jobs.tell(holder.queue, { do: "cancel", call: this.id, run: holder.run, fault });
    }
    await this.#claims.dismiss();
    this.#items.settleAll();
    state.wake();
    jobs.leave(this);
    state.reading.abort();
    await forget(state);
  }

  #inTurn(take: () => Promise<void>): Promise<void> {
    this.#tail = this.#tail.then(take).catch(() => {});
    return this.#tail;
  }
}
