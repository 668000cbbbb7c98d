/**
 * The line before the writer thread: while it commits one batch, the next one gathers here. Appends and
 * cleaning up take turns, so that neither waits long for the other.
 */
import { Fault, faultFromJson } from "../../log/index.ts";
import { storeClosed } from "../judge.ts";
import { ANSWER_CELLS, APPEND, type Cell, DONE, FAILED, SWEEP } from "./messages.ts";

/** Most appends and bytes of JSON of one transaction: a commit of this takes some ten milliseconds. */
const BATCH_APPENDS = 1000;
const BATCH_BYTES = 8 * 1024 * 1024;

export interface AppendJob {
  /** As messages.ts says. */
  readonly cells: readonly Cell[];
  readonly bytes: number;
  /** Called with the whole answer and where the one to this append begins in it. */
  answered(answer: readonly Cell[], at: number): void;
  failed(fault: Fault): void;
}

interface Control {
  readonly cells: Cell[];
  resolve(answer: readonly Cell[]): void;
  reject(fault: Fault): void;
}

/** The type of the browser does not know these. */
type UnrefWorker = Worker & { ref(): void; unref(): void };

export class Line {
  readonly #worker: UnrefWorker;
  readonly #maxBytes: number;
  readonly #afterBatch: () => void;
  #appends: AppendJob[] = [];
  #bytes = 0;
  readonly #controls: Control[] = [];
  /** Whether there is something to clean up. */
  #isDirty = false;
  #wasAppend = false;
  /** What takes the answer of the writer; set while it works. */
  #answered: ((answer: readonly Cell[]) => void) | undefined;
  #failed: ((fault: Fault) => void) | undefined;
  #isPumpDue = false;
  #broken: Fault | undefined;

  /**
   * @param maxBytes of JSON that wait
   * @param afterBatch runs after the jobs of a batch were answered, in the same step of the event loop
   */
  constructor(maxBytes: number, afterBatch: () => void) {
    this.#maxBytes = maxBytes;
    this.#afterBatch = afterBatch;
    this.#worker = new Worker(new URL("./writer.ts", import.meta.url)) as UnrefWorker;
    this.#worker.onmessage = (message: MessageEvent<Cell[]>) => {
      const answered = this.#answered;
      this.#answered = undefined;
      answered?.(message.data);
      this.#pumpSoon();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#break(new Fault("unavailable", `the writer thread of the store failed: ${event.message}`));
    };
    // Only work under way keeps the process alive.
    this.#worker.unref();
  }

  /** @throws Fault `resource_exhausted` when too much waits. */
  append(job: AppendJob): void {
    if (this.#broken) throw this.#broken;
    if (this.#bytes + job.bytes > this.#maxBytes && this.#bytes > 0) {
      throw new Fault("resource_exhausted", `${this.#maxBytes} bytes wait to be written already`, {
        limit: "queueBytes",
        retryAfterMs: 100,
        hint: "the disk is slower than the callers: slow them down, or raise queueBytes of the store",
      });
    }
    this.#appends.push(job);
    this.#bytes += job.bytes;
    this.#pumpSoon();
  }

  /** Asks the writer. @throws Fault, what the writer answered. */
  ask(cells: Cell[]): Promise<readonly Cell[]> {
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#controls.push({ cells, resolve, reject });
      this.#pumpSoon();
    });
  }

  /** There is something to clean up: a step is done whenever it is its turn. */
  sweep(): void {
    this.#isDirty = true;
    this.#pumpSoon();
  }

  /** Waits for the appends under way, asks the last question and ends the thread. */
  async close(lastQuestion: Cell[]): Promise<void> {
    this.#isDirty = false;
    while (this.#appends.length > 0 || this.#controls.length > 0) await this.ask([SWEEP]).catch(() => {});
    try {
      await this.ask(lastQuestion);
    } finally {
      this.#broken ??= storeClosed();
      this.#worker.terminate();
    }
  }

  /** Not at once: appends of all requests that came in together go together (a microtask runs after each one). */
  #pumpSoon(): void {
    if (this.#answered || this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      if (!this.#answered && !this.#broken) this.#pump();
    });
  }

  #pump(): void {
    const hasAppends = this.#appends.length > 0;
    const hasOther = this.#controls.length > 0 || this.#isDirty;
    this.#wasAppend = hasAppends && !(this.#wasAppend && hasOther);
    if (this.#wasAppend) this.#sendBatch();
    else if (hasOther) this.#sendOther(this.#controls.shift());
    else this.#worker.unref();
  }

  #sendBatch(): void {
    const cells: Cell[] = [APPEND];
    let bytes = 0;
    let count = 0;
    for (const job of this.#appends) {
      if (count > 0 && (count === BATCH_APPENDS || bytes + job.bytes > BATCH_BYTES)) break;
      bytes += job.bytes;
      count++;
      for (const cell of job.cells) cells.push(cell);
    }
    const batch = count === this.#appends.length ? this.#appends : this.#appends.slice(0, count);
    this.#appends = this.#appends.slice(count);
    this.#send(
      cells,
      (answer) => {
        this.#bytes -= bytes;
        if (answer[0] === FAILED) for (const job of batch) job.failed(faultOf(answer));
        else for (let i = 0; i < batch.length; i++) batch[i]!.answered(answer, 1 + i * ANSWER_CELLS);
        this.#afterBatch();
      },
      (fault) => {
        for (const job of batch) job.failed(fault);
      },
    );
  }

  #sendOther(control: Control | undefined): void {
    if (control) {
      this.#send(
        control.cells,
        (answer) => {
          if (answer[0] === FAILED) control.reject(faultOf(answer));
          else control.resolve(answer);
        },
        control.reject,
      );
      return;
    }
    // A step that failed is tried again with the next thing to clean up.
    this.#send(
      [SWEEP],
      (answer) => {
        this.#isDirty = answer[0] === DONE && answer[1] === 1;
      },
      () => {},
    );
  }

  #send(cells: Cell[], answered: (answer: readonly Cell[]) => void, failed: (fault: Fault) => void): void {
    this.#failed = failed;
    this.#answered = answered;
    this.#worker.ref();
    this.#worker.postMessage(cells);
  }

  #break(fault: Fault): void {
    this.#broken = fault;
    this.#answered = undefined;
    this.#failed?.(fault);
    for (const job of this.#appends) job.failed(fault);
    for (const control of this.#controls) control.reject(fault);
    this.#appends = [];
    this.#controls.length = 0;
  }
}

function faultOf(answer: readonly Cell[]): Fault {
  return faultFromJson(JSON.parse(String(answer[1])));
}
