/** How many streams each principal has made, and their bytes. */
import { Refusal } from "./refusal.ts";

export interface OwnedLimits {
  readonly streamsPerPrincipal: number;
  readonly storedBytesPerPrincipal: number;
}

export class Owned {
  readonly #limits: OwnedLimits;
  readonly #owned = new Map<string, { streams: number; bytes: number }>();

  constructor(limits: OwnedLimits) {
    this.#limits = limits;
  }

  /** What is more, or less, from now on. @throws Refusal 429 when it would be too much */
  charge(owner: string, streams: number, bytes: number): void {
    const { streamsPerPrincipal, storedBytesPerPrincipal } = this.#limits;
    const owned = this.#owned.get(owner) ?? { streams: 0, bytes: 0 };
    if (streams > 0 && owned.streams >= streamsPerPrincipal) {
      throw full("streamsPerPrincipal", streamsPerPrincipal, "streams");
    }
    if (bytes > 0 && owned.bytes + bytes > storedBytesPerPrincipal) {
      throw full("storedBytesPerPrincipal", storedBytesPerPrincipal, "bytes of streams");
    }
    this.add(owner, streams, bytes);
  }

  /** Whatever the limits say. */
  add(owner: string, streams: number, bytes: number): void {
    const owned = this.#owned.get(owner) ?? { streams: 0, bytes: 0 };
    owned.streams += streams;
    owned.bytes += bytes;
    if (owned.streams <= 0) this.#owned.delete(owner);
    else this.#owned.set(owner, owned);
  }
}

function full(limit: string, most: number, what: string): Refusal {
  return new Refusal(429, "resource_exhausted", `this caller keeps ${most} ${what} already`, {
    limit,
    retryable: false,
    hint: `delete some, or raise the limit ${limit} of the server`,
  });
}
