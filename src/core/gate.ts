/** How much at once: calls in all and for each caller, and requests a second. */
import type { Authenticate, Call, Limits } from "../contract/index.ts";
import { senderOf } from "../contract/sender.ts";
import { Fault } from "../log/index.ts";

/** A caller, and how many of its calls run. */
export interface Seat {
  readonly caller: string;
  readonly among: Map<string, Seat>;
  running: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

export class Gate {
  readonly #limits: Limits;
  readonly #now: () => number;
  /** By principal, and by address for those that are anonymous. */
  readonly #principals = new Map<string, Seat>();
  readonly #addresses = new Map<string, Seat>();
  readonly #buckets = new Map<string, Bucket>();
  #total = 0;

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get running(): number {
    return this.#total;
  }

  /** One request of this caller. @throws Fault `resource_exhausted` */
  request(call: Pick<Call, "principal" | "address">): void {
    if (this.#limits.ratePerSecond === 0) return;
    const { principal, address } = call;
    const bucket = this.#bucketOf(principal.id === "" ? `@${senderOf(address ?? "")}` : `=${principal.id}`);
    this.#check(bucket, "requests");
    bucket.tokens--;
  }

  /**
   * Bounds how often credentials can be guessed: what is refused counts by its address, and when there was too much of
   * it nothing more is checked. Where there are no addresses (a Unix socket, a broker) others say who may connect.
   */
  guarded(authenticate: Authenticate): Authenticate {
    if (this.#limits.ratePerSecond === 0) return authenticate;
    return (credentials) => {
      const { address } = credentials;
      if (address === undefined) return authenticate(credentials);
      const caller = `!${senderOf(address)}`;
      // Not made for each who calls, only for those who are refused.
      if (this.#buckets.has(caller)) this.#check(this.#bucketOf(caller), "credentials that are refused");
      const refused = (thrown: unknown): never => {
        if (thrown instanceof Fault && thrown.code === "unauthenticated") {
          const bucket = this.#bucketOf(caller);
          // Many can be checked at the same time; what they are too many is forgiven.
          bucket.tokens = Math.max(0, bucket.tokens - 1);
        }
        throw thrown;
      };
      try {
        const principal = authenticate(credentials);
        return principal instanceof Promise ? principal.catch(refused) : principal;
      } catch (thrown) {
        return refused(thrown);
      }
    };
  }

  #bucketOf(caller: string): Bucket {
    const rate = this.#limits.ratePerSecond;
    // A burst of one second; of a rate below one a second, of one request.
    const burst = Math.max(1, rate);
    const now = this.#now();
    let bucket = this.#buckets.get(caller);
    if (!bucket) {
      if (this.#buckets.size >= MAX_BUCKETS) this.#forget(now);
      bucket = { tokens: burst, at: now };
      this.#buckets.set(caller, bucket);
    }
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * rate);
    bucket.at = now;
    return bucket;
  }

  #check({ tokens }: Bucket, what: string): void {
    if (tokens >= 1) return;
    const rate = this.#limits.ratePerSecond;
    throw new Fault("resource_exhausted", `more than ${rate} ${what} a second`, {
      limit: "ratePerSecond",
      retryAfterMs: Math.ceil(((1 - tokens) / rate) * 1000),
      hint: "slow down, or raise the limit ratePerSecond of the server",
    });
  }

  /** Whether a limit can be reached by one more call: until then a call that ends at once needs no `enter`. */
  get isTight(): boolean {
    return this.#total >= Math.min(this.#limits.callsInFlight, this.#limits.callsPerPrincipal);
  }

  /** A call begins; give what is returned to `leave` when its handler has ended. @throws Fault `resource_exhausted` */
  enter(call: Call): Seat {
    const { callsInFlight, callsPerPrincipal } = this.#limits;
    if (this.#total >= callsInFlight) throw busy("callsInFlight", callsInFlight, "in all");
    const seat = this.#seatOf(call);
    if (seat.running >= callsPerPrincipal) throw busy("callsPerPrincipal", callsPerPrincipal, "for one caller");
    return this.#take(seat);
  }

  /** A call goes on that was let in before the server was restarted. */
  admit(call: Call): Seat {
    return this.#take(this.#seatOf(call));
  }

  leave(seat: Seat): void {
    this.#total--;
    // Most callers come again soon: the idle are forgotten only when there are many.
    if (--seat.running === 0 && seat.among.size > IDLE) seat.among.delete(seat.caller);
  }

  #take(seat: Seat): Seat {
    seat.running++;
    this.#total++;
    return seat;
  }

  #seatOf({ principal, address = "" }: Call): Seat {
    const among = principal.id === "" ? this.#addresses : this.#principals;
    const caller = principal.id === "" ? senderOf(address) : principal.id;
    let seat = among.get(caller);
    if (!seat) {
      seat = { caller, among, running: 0 };
      among.set(caller, seat);
    }
    return seat;
  }

  /** Full buckets say nothing: they are made anew when needed. */
  #forget(now: number): void {
    for (const [caller, { at }] of this.#buckets) if (now - at > 1000) this.#buckets.delete(caller);
    if (this.#buckets.size >= MAX_BUCKETS) this.#buckets.clear();
  }
}

const MAX_BUCKETS = 100_000;
const IDLE = 1024;

function busy(limit: string, most: number, where: string): Fault {
  return new Fault("resource_exhausted", `${most} calls run already ${where}`, {
    limit,
    retryAfterMs: 1000,
    hint: `wait for some to end, or raise the limit ${limit} of the server`,
  });
}
