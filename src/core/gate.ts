/** How much at once: calls in all and for each caller, and requests a second. */
import type { Call, Limits } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

export class Gate {
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #running = new Map<string, number>();
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  #total = 0;

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get running(): number {
    return this.#total;
  }

  /** One request of this caller. @throws Fault `resource_exhausted` */
  request(call: Call): void {
    const rate = this.#limits.ratePerSecond;
    if (rate === 0) return;
    const caller = callerOf(call);
    const now = this.#now();
    let bucket = this.#buckets.get(caller);
    if (!bucket) {
      if (this.#buckets.size >= MAX_BUCKETS) this.#forget(now);
      bucket = { tokens: rate, at: now };
      this.#buckets.set(caller, bucket);
    }
    bucket.tokens = Math.min(rate, bucket.tokens + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    if (bucket.tokens < 1) {
      throw new Fault("resource_exhausted", `more than ${rate} requests a second`, {
        limit: "ratePerSecond",
        retryAfterMs: Math.ceil(((1 - bucket.tokens) / rate) * 1000),
        hint: "slow down, or raise the limit ratePerSecond of the server",
      });
    }
    bucket.tokens--;
  }

  /** A call begins; give what is returned to `leave` when it has ended. @throws Fault `resource_exhausted` */
  enter(call: Call): string {
    if (this.#total >= this.#limits.callsInFlight) throw busy("callsInFlight", this.#limits.callsInFlight, "in all");
    const caller = callerOf(call);
    const running = this.#running.get(caller) ?? 0;
    if (running >= this.#limits.callsPerPrincipal) {
      throw busy("callsPerPrincipal", this.#limits.callsPerPrincipal, "for one caller");
    }
    this.#running.set(caller, running + 1);
    this.#total++;
    return caller;
  }

  leave(caller: string): void {
    this.#total--;
    const running = this.#running.get(caller)! - 1;
    if (running === 0) this.#running.delete(caller);
    else this.#running.set(caller, running);
  }

  /** Full buckets say nothing: they are made anew when needed. */
  #forget(now: number): void {
    for (const [caller, { at }] of this.#buckets) if (now - at > 1000) this.#buckets.delete(caller);
    if (this.#buckets.size >= MAX_BUCKETS) this.#buckets.clear();
  }
}

const MAX_BUCKETS = 100_000;

function callerOf(call: Call): string {
  return call.principal.id === "" ? `@${call.address ?? ""}` : call.principal.id;
}

function busy(limit: string, most: number, where: string): Fault {
  return new Fault("resource_exhausted", `${most} calls run already ${where}`, {
    limit,
    retryAfterMs: 1000,
    hint: `wait for some to end, or raise the limit ${limit} of the server`,
  });
}
