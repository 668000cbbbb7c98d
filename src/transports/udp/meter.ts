/**
 * How much a second from each address, in a table that never grows: addresses that nobody has checked can be
 * made up, one for each datagram. Two addresses can share a place, which they cannot choose (the hash is keyed).
 */
import { senderOf } from "../../contract/sender.ts";

const PLACES = 16_384;

export class Meter {
  readonly #perAddress: number;
  readonly #inAll: number;
  readonly #now: () => number;
  readonly #seed: number;
  readonly #left: Float64Array;
  readonly #at: Float64Array;

  /** Both are a second, with bursts of one second; 0 for no limit. `now` gives milliseconds. */
  constructor(perAddress: number, inAll: number, now: () => number, random: () => number) {
    this.#perAddress = perAddress;
    this.#inAll = inAll;
    this.#now = now;
    this.#seed = Math.floor(random() * 2 ** 32);
    // The last place is for all of them together.
    this.#left = new Float64Array(PLACES + 1).fill(perAddress);
    this.#left[PLACES] = inAll;
    this.#at = new Float64Array(PLACES + 1).fill(now());
  }

  /** Whether one more datagram of this address may pass. */
  takes(address: string): boolean {
    const place = Number(Bun.hash.wyhash(senderOf(address), BigInt(this.#seed)) % BigInt(PLACES));
    if (this.#perAddress > 0 && this.#refill(place, this.#perAddress) < 1) return false;
    if (this.#inAll > 0 && this.#refill(PLACES, this.#inAll) < 1) return false;
    this.#left[place]!--;
    this.#left[PLACES]!--;
    return true;
  }

  #refill(place: number, rate: number): number {
    const now = this.#now();
    const left = Math.min(rate, this.#left[place]! + (Math.max(0, now - this.#at[place]!) / 1000) * rate);
    this.#at[place] = now;
    this.#left[place] = left;
    return left;
  }
}
