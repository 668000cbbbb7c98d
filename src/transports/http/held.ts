/** Requests that are held by `Prefer: wait`: counted, and let go when the server drains. */
import type { Host } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import type { Ask } from "./ask.ts";

export class Held {
  readonly #host: Host;
  readonly #idleSeconds: number;
  readonly #controllers = new Set<AbortController>();

  constructor(host: Host, idleSeconds: number) {
    this.#host = host;
    this.#idleSeconds = idleSeconds;
    host.draining.addEventListener("abort", () => {
      for (const controller of this.#controllers) controller.abort();
    });
  }

  /** Seconds that a request may be held, of those that it asked for. */
  secondsOf(wait: number | undefined): number {
    if (wait === undefined || this.#host.draining.aborted) return 0;
    return Math.min(wait, Math.floor(this.#host.limits.waitMs / 1000));
  }

  /**
   * Runs `wait` with a signal that aborts when the caller goes or the server drains.
   * @throws Fault `resource_exhausted` when too many are held already
   */
  async hold<T>(ask: Ask, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { limits, metrics } = this.#host;
    if (this.#controllers.size >= limits.heldPolls) {
      throw new Fault("resource_exhausted", `${limits.heldPolls} requests are held already`, {
        limit: "heldPolls",
        retryAfterMs: 1000,
        hint: "ask without Prefer: wait, or raise the limit heldPolls of the server",
      });
    }
    const controller = new AbortController();
    const { signal } = ask;
    const abort = () => controller.abort();
    if (signal.aborted) controller.abort();
    else signal.addEventListener("abort", abort, { once: true });
    this.#controllers.add(controller);
    metrics.add("backtalk_held_polls", "", 1);
    ask.server.timeout(ask.request, 0);
    try {
      return await wait(controller.signal);
    } finally {
      this.#controllers.delete(controller);
      metrics.add("backtalk_held_polls", "", -1);
      signal.removeEventListener("abort", abort);
      ask.server.timeout(ask.request, this.#idleSeconds);
    }
  }
}
