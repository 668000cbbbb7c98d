/**
 * One direction of a link: what becomes of each packet. Pure: time comes in, fates go out. For each packet
 * the same number of random values is drawn, whatever happens to it, so that the n-th packet of a seed has
 * the same luck in every run, however the packets are spaced.
 */
import { seeded } from "../../src/wire/seed.ts";

export interface Impairments {
  /** One-way delay in milliseconds (default 0). */
  readonly delayMs?: number;
  /** Up to so much more, evenly spread, in milliseconds (default 0). Packets stay in order unless `reorder` says else. */
  readonly jitterMs?: number;
  /** Part of the packets that is lost, 0 to 1; or the two states of Gilbert and Elliott, for losses in bursts. */
  readonly loss?: number | GilbertElliott;
  /** Bits per second (default: no limit). */
  readonly rateBps?: number;
  /** Most bytes that wait for the rate; more are dropped at the tail (default: 100 ms of the rate, at least 64 kB). */
  readonly queueBytes?: number;
  /** Part of the packets that skips the delay and so overtakes, 0 to 1. */
  readonly reorder?: number;
  /** Part of the packets that comes twice, 0 to 1. */
  readonly duplicate?: number;
  /** Most bytes of an IP packet; larger ones are dropped, with ICMP "fragmentation needed" (RFC 1191) from the wire. */
  readonly mtu?: number;
}

/** E. O. Elliott, 1963: a good and a bad state, each with its loss, and how likely it is left with each packet. */
export interface GilbertElliott {
  readonly toBad: number;
  readonly toGood: number;
  /** Loss in the good state (default 0) and in the bad one (default 1). */
  readonly good?: number;
  readonly bad?: number;
}

export type DropReason = "loss" | "queue" | "rule" | "mtu" | "nat" | "route" | "cut";

export type Fate =
  | { readonly drop: DropReason }
  | {
      readonly drop?: undefined /** When it leaves, in the unit of `now`: once, or twice when it is doubled. */;
      readonly at: readonly number[];
    };

/** Nanoseconds. */
export const MS = 1e6;

export class Direction {
  readonly #how: Impairments;
  readonly #random: () => number;
  readonly #queueBytes: number;
  readonly #nsPerByte: number;
  #isBad = false;
  /** When the last packet in the queue will have been sent. */
  #freeAt = 0;
  #lastAt = 0;

  constructor(how: Impairments, seed: number) {
    this.#how = how;
    this.#random = seeded(seed);
    this.#nsPerByte = how.rateBps === undefined ? 0 : 8e9 / how.rateBps;
    this.#queueBytes = how.queueBytes ?? Math.max(64_000, ((how.rateBps ?? 0) / 8) * 0.1);
  }

  get mtu(): number | undefined {
    return this.#how.mtu;
  }

  /** `now` in nanoseconds, `bytes` of the packet on the link. Packets come in the order of time. */
  offer(now: number, bytes: number): Fate {
    const { delayMs = 0, jitterMs = 0, reorder = 0, duplicate = 0 } = this.#how;
    const luck = { state: this.#random(), loss: this.#random(), jitter: this.#random() };
    const more = { reorder: this.#random(), duplicate: this.#random() };
    if (this.#isLost(luck.state, luck.loss)) return { drop: "loss" };
    let leaves = now;
    if (this.#nsPerByte > 0) {
      const waiting = Math.max(0, this.#freeAt - now) / this.#nsPerByte;
      if (waiting + bytes > this.#queueBytes) return { drop: "queue" };
      this.#freeAt = Math.max(this.#freeAt, now) + bytes * this.#nsPerByte;
      leaves = this.#freeAt;
    }
    // As in netem: what is chosen is sent at once, and so overtakes those that wait.
    if (more.reorder < reorder) return { at: [leaves] };
    const at = Math.max(leaves + (delayMs + luck.jitter * jitterMs) * MS, this.#lastAt);
    this.#lastAt = at;
    return { at: more.duplicate < duplicate ? [at, at] : [at] };
  }

  #isLost(state: number, luck: number): boolean {
    const { loss } = this.#how;
    if (loss === undefined) return false;
    if (typeof loss === "number") return luck < loss;
    if (state < (this.#isBad ? loss.toGood : loss.toBad)) this.#isBad = !this.#isBad;
    return luck < (this.#isBad ? (loss.bad ?? 1) : (loss.good ?? 0));
  }
}
