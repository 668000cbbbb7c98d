/**
 * Which worker has the call. A claim is granted to the first; one that comes while another runs waits until that
 * one is known to be lost, and then it depends on the method whether it is run again.
 */
import { Fault } from "../../log/index.ts";
import type { JobItems } from "./job-items.ts";
import { record } from "./job-log.ts";
import type { JobState } from "./job-state.ts";
import { pause } from "./line.ts";

/** How often a worker that holds a call which another one has been given is asked whether it lives, in milliseconds. */
const PROBE_MS = 1_000;

export class JobClaims {
  readonly #state: JobState;
  readonly #items: JobItems;
  /** What workers say is taken one after the other: so is a grant. */
  readonly #inTurn: (take: () => Promise<void>) => Promise<void>;
  /** Runs that wait until the holder is known to be lost, and the queues of their workers. */
  readonly #standbys = new Map<string, string>();
  #isContested = false;

  constructor(state: JobState, items: JobItems, inTurn: (take: () => Promise<void>) => Promise<void>) {
    this.#state = state;
    this.#items = items;
    this.#inTurn = inTurn;
  }

  async take({ run, token }: { readonly run: string; readonly token: string }, queue: string): Promise<void> {
    const state = this.#state;
    const { holder } = state;
    if (token !== state.token) await this.#gone(run, queue);
    else if (state.isOver || state.end) {
      // Not before the end is stored: the job is what would bring the worker back.
      while (!state.isLeft) await state.change();
      if (state.isOver) await this.#gone(run, queue);
    } else if (holder?.run === run) {
      holder.queue = queue;
      await state.jobs.tell(queue, { do: "grant", call: state.id, run, attempt: state.claims });
    } else if (holder) {
      this.#standbys.set(run, queue);
      if (!this.#isContested) void this.#contest();
    } else await this.#grant(run, queue);
  }

  /** The call has ended: who waits for it need not. */
  async dismiss(): Promise<void> {
    for (const [run, queue] of this.#standbys) await this.#gone(run, queue);
  }

  async #grant(run: string, queue: string): Promise<void> {
    const { jobs, id, method, call, claims } = this.#state;
    const { onRestart, maxAttempts = 5 } = jobs.method(method).options;
    const attempt = claims + 1;
    if (attempt > 1 && onRestart !== "retry") {
      const fault = new Fault("unavailable", "the worker was lost while it ran the call", {
        hint: 'call again with a new key; a method with onRestart: "retry" is run again by itself',
      });
      this.#state.finish({ fault });
      await this.#gone(run, queue);
      return;
    }
    if (attempt > maxAttempts) {
      const fault = new Fault("unavailable", `each of ${maxAttempts} workers was lost while it ran the call`, {
        limit: "maxAttempts",
        retryable: false,
        hint: "the job is kept among the dead letters; look whether this call makes workers end",
      });
      this.#state.finish({ fault });
      await jobs.tell(queue, { do: "gone", call: id, run, isPoison: true });
      return;
    }
    // What the run before has said is its own to the end: the next one's items are counted from there.
    while (!this.#items.isStored && !this.#state.isOver && !call.signal.aborted) await this.#state.change();
    if (this.#state.isOver || call.signal.aborted) {
      await this.#gone(run, queue);
      return;
    }
    this.#items.forgetEarly();
    const { yielded: base } = this.#items;
    const head = this.#items.head!;
    await record(this.#state, { claim: run, queue, base, head });
    this.#state.claims = attempt;
    this.#state.holder = { run, queue, base, head, next: 0 };
    await jobs.tell(queue, { do: "grant", call: id, run, attempt });
  }

  /**
   * The broker has given the job to another worker, for the holder has lost its connection, or its life. A
   * connection comes back: so the other waits until the holder's queue has been gone for a while.
   */
  async #contest(): Promise<void> {
    this.#isContested = true;
    const state = this.#state;
    const { graceMs, broker } = state.connected;
    let goneAt: number | undefined;
    while (this.#standbys.size > 0 && !state.end && !state.isLeft) {
      const { queue, run } = state.holder!;
      const isThere = queue !== "" && (await this.#ping(run, queue));
      // It is not the worker's fault when there is no broker.
      if (isThere || broker.unready().length > 0) goneAt = undefined;
      else goneAt ??= performance.now();
      if (goneAt !== undefined && (queue === "" || performance.now() - goneAt >= graceMs)) {
        const next = await this.#nextRun();
        if (next) {
          broker.note("warn", "a worker was lost while it ran a call", { call: state.id, method: state.method });
          await this.#inTurn(() => this.#grant(...next));
        }
        goneAt = undefined;
      } else await pause(Math.min(PROBE_MS, graceMs / 4), state.reading.signal);
    }
    this.#isContested = false;
  }

  /** Of those that wait one that is still there. */
  async #nextRun(): Promise<[run: string, queue: string] | undefined> {
    for (const [run, queue] of this.#standbys) {
      this.#standbys.delete(run);
      if (await this.#ping(run, queue)) return [run, queue];
    }
    return undefined;
  }

  #ping(run: string, queue: string): Promise<boolean> {
    return this.#state.jobs.tell(queue, { do: "ping", call: this.#state.id, run });
  }

  #gone(run: string, queue: string): Promise<boolean> {
    return this.#state.jobs.tell(queue, { do: "gone", call: this.#state.id, run });
  }
}
