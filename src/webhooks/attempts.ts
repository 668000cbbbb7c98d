/** One attempt to deliver a message: signed, counted, and when the next one is. */
import type { Metrics } from "../contract/index.ts";
import type { Endpoint } from "./config.ts";
import type { Attempt } from "./held.ts";
import type { Message } from "./message.ts";
import type { Outcome } from "./send.ts";
import { signedFields } from "./sign.ts";

/** After each failure, in milliseconds; after the last the message is given up (Standard Webhooks, its example). */
const SCHEDULE: readonly number[] = Object.freeze(
  [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].map((seconds) => seconds * 1000),
);

/** An endpoint that is overloaded is left alone for so long at least. */
const THROTTLE_MS = 5_000;
const THROTTLED = new Set([429, 502, 503, 504]);
/** Nobody is asked to wait longer than the longest of the schedule. */
const LONGEST_MS = 86_400_000;

export interface Clock {
  readonly now: () => number;
  /** Resolves early when the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface AttemptOptions {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly random: () => number;
  readonly metrics: Metrics;
  /** One attempt; never rejects. */
  readonly send: (url: URL, headers: Record<string, string>, body: string, signal: AbortSignal) => Promise<Outcome>;
}

export class Attempts {
  /** An endpoint that is overloaded is sent nothing before; milliseconds since 1970. */
  notBefore = 0;
  readonly #options: AttemptOptions;
  readonly #label: string;
  readonly #stopping: AbortSignal;

  constructor(options: AttemptOptions, label: string, stopping: AbortSignal) {
    this.#options = options;
    this.#label = label;
    this.#stopping = stopping;
  }

  /** Undefined when the server goes: then it does not count. */
  async send({ id, body }: Message): Promise<Outcome | undefined> {
    const { endpoint, clock, send, metrics } = this.#options;
    const headers = {
      "content-type": "application/json",
      "user-agent": "Backtalk-Webhooks",
      ...signedFields(endpoint.signers, id, clock.now(), body),
    };
    const outcome = await send(endpoint.url, headers, body, this.#stopping);
    if (this.#stopping.aborted && outcome.kind === "failed") return undefined;
    metrics.add("backtalk_webhooks_attempts_total", `${this.#label},result="${outcome.kind}"`, 1);
    if (outcome.kind === "failed" && outcome.status !== undefined && THROTTLED.has(outcome.status)) {
      const ms = Math.min(LONGEST_MS, Math.max(THROTTLE_MS, outcome.retryAfterMs ?? 0));
      this.notBefore = Math.max(this.notBefore, clock.now() + ms);
    }
    return outcome;
  }

  failure(attempt: number, outcome: Outcome & { kind: "failed" }): Attempt {
    const { clock, random } = this.#options;
    const at = clock.now();
    const delay = SCHEDULE[attempt - 1];
    const { why, status, retryAfterMs = 0 } = outcome;
    // A tenth more at random: what failed together does not come back together.
    const wait =
      delay === undefined ? undefined : Math.max(delay * (1 + random() / 10), Math.min(LONGEST_MS, retryAfterMs));
    return {
      attempt,
      at,
      why,
      ...(status !== undefined && { status }),
      ...(wait !== undefined && { nextAt: at + Math.round(wait) }),
    };
  }
}
