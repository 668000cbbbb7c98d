/** A channel that comes back, and what is set up on it. */
import type { Fault } from "../../log/index.ts";
import type { Channel, Connection } from "./driver.ts";
import { faultOf, lost, wordsOf } from "./faults.ts";

/** Waits between tries to set up a channel, in milliseconds: doubled each time, and spread. */
export const RETRY = { least: 200, most: 5_000 };

export type Setup = (channel: Channel) => Promise<void>;

export type Note = (
  level: "info" | "warn" | "error",
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

interface LineTools {
  readonly note: Note;
  readonly random: () => number;
  readonly closing: AbortSignal;
}

export class Line {
  readonly name: string;
  /** Resolves when it is set up for the first time; rejects when that fails. */
  readonly first: Promise<void>;
  /** While it is set up. */
  current: Channel | undefined;
  /** Why it is not. */
  why: unknown;
  readonly #tools: LineTools;
  #waiting: (() => void)[] = [];
  #opening: Channel | undefined;
  readonly #stop = new AbortController();

  constructor(connection: Connection, name: string, setup: Setup, tools: LineTools) {
    this.name = name;
    this.#tools = tools;
    tools.closing.addEventListener("abort", () => this.#stop.abort(), { once: true });
    let resolve: () => void;
    let reject: (fault: Fault) => void;
    this.first = new Promise<void>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    this.first.catch(() => {});
    void this.#run(
      connection,
      setup,
      () => resolve(),
      (fault) => reject(fault),
    );
  }

  /** The channel, when it is there. @throws Fault when `signal` aborts first */
  async channel(signal: AbortSignal): Promise<Channel> {
    while (!this.current) {
      if (signal.aborted || this.#stop.signal.aborted) throw lost("the connection to the broker is closed", this.why);
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener("abort", done);
          resolve();
        };
        this.#waiting.push(done);
        signal.addEventListener("abort", done);
      });
    }
    return this.current;
  }

  /** What was delivered on it and not acknowledged goes back to its queue. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await Promise.race([(this.current ?? this.#opening)?.close(), pause(1_000)]);
  }

  async #run(connection: Connection, setup: Setup, up: () => void, down: (fault: Fault) => void): Promise<void> {
    const stop = this.#stop.signal;
    for (let tries = 0; !stop.aborted; tries++) {
      let channel: Channel | undefined;
      try {
        channel = await connection.acquire({ emitErrorsFromChannel: true });
        this.#opening = channel;
        const closed = this.#watch(channel);
        if (stop.aborted) {
          void channel.close();
          return;
        }
        await setup(channel);
        if (tries > 0 && !stop.aborted) this.#tools.note("info", `${this.name} is connected to the broker again`);
        tries = 0;
        this.current = channel;
        this.why = undefined;
        up();
        this.#wake();
        await closed;
      } catch (thrown) {
        this.why = thrown;
        if (tries === 0 && !stop.aborted)
          this.#tools.note("warn", `${this.name} cannot be set up`, { error: wordsOf(thrown) });
        void channel?.close().catch(() => {});
      }
      this.current = undefined;
      down(faultOf(this.why));
      await pause(backoff(tries, this.#tools.random), stop);
    }
  }

  /** Resolves when the channel is of no use any more. */
  #watch(channel: Channel): Promise<void> {
    return new Promise((resolve) => {
      channel.on("close", resolve);
      channel.on("error", (error) => {
        this.why = error;
        this.#tools.note("warn", `${this.name} lost its channel`, { error: wordsOf(error) });
      });
      channel.on("basic.cancel", () => {
        this.why = new Error("the queue was deleted");
        this.#tools.note("warn", `${this.name} was cancelled by the broker: its queue was deleted, and is made anew`);
        void channel.close().catch(() => {});
        resolve();
      });
    });
  }

  #wake(): void {
    for (const done of this.#waiting.splice(0)) done();
  }
}

/** Exponential, and spread, so that not all come back at once. */
export function backoff(tries: number, random: () => number): number {
  return Math.min(RETRY.most, RETRY.least * 2 ** Math.min(tries, 16)) * (0.5 + random() / 2);
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
