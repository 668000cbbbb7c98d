/** What the parts of a call of a queued method (job-call.ts) know of each other, and how they wait for it. */
import type { HandlerCall } from "../../contract/index.ts";
import type { Cursor, Fault } from "../../log/index.ts";
import type { FromWorker } from "./job-messages.ts";
import type { Jobs, JobsConnected } from "./jobs.ts";

/** The worker that the call is with. */
export interface Holder {
  readonly run: string;
  queue: string;
  /** Items of the call before this run's first. */
  readonly base: number;
  /** The place in the call's log where this run began: the end of its history. */
  readonly head: Cursor;
  /** Number of the item that comes next. */
  next: number;
}

/** What a worker has said. `settle` acknowledges it: not before it needs not be said again. */
export interface Said {
  readonly message: FromWorker;
  readonly settle: () => void;
}

export type End = { readonly result: unknown } | { readonly fault: Fault };

export class JobState {
  readonly jobs: Jobs;
  readonly method: string;
  readonly call: HandlerCall<unknown>;
  readonly id: string;
  /** Of all copies of the job the one that counts. */
  token: string | undefined;
  /** How many runs there were. */
  claims = 0;
  holder: Holder | undefined;
  /** What the call ends with, before that is in the store. */
  end: End | undefined;
  /** The end is in the store. */
  isOver = false;
  /** The server goes: the call is the next one's. */
  isDetached = false;
  /** What an earlier process knew is known. */
  isReady = false;
  /** Aborts when nothing more is to be read or waited for. */
  readonly reading = new AbortController();
  #connected: JobsConnected | undefined;
  #wakes: (() => void)[] = [];

  constructor(jobs: Jobs, method: string, call: HandlerCall<unknown>) {
    this.jobs = jobs;
    this.method = method;
    this.call = call;
    this.id = call.id!;
  }

  /** Nothing that a worker says can change the call any more, here. */
  get isLeft(): boolean {
    return this.isOver || this.isDetached;
  }

  get isConnected(): boolean {
    return this.#connected !== undefined;
  }

  /** Not before `connect` has resolved. */
  get connected(): JobsConnected {
    return this.#connected!;
  }

  /** @throws the reason of the call's signal when it aborts first */
  async connect(): Promise<void> {
    this.#connected = await this.jobs.connected(this.call.signal);
  }

  /** The first end counts. */
  finish(end: End): void {
    this.end ??= end;
    this.wake();
  }

  /** Resolves when something of this has changed. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#wakes.push(resolve));
  }

  wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }
}
