/**
 * When the client sends, and how much at once (RFC 8085 §3.1.1): the retransmission timeout of RFC 6298, and a window
 * of questions that grows and shrinks as TCP's does (RFC 5681 §3.1).
 */

/** Before a round trip was measured, in milliseconds (RFC 8085 §3.1.1). */
const INITIAL_MS = 1_000;
/** A server says within 100 ms that it is at work: a shorter wait would only be for the way. */
const LEAST_MS = 250;
const MOST_MS = 4_000;
const FIRST_WINDOW = 4;
const MOST_WINDOW = 64;

export class Window {
  readonly #random: () => number;
  #smoothed: number | undefined;
  #varied = 0;
  #size = FIRST_WINDOW;
  #halvedAt = Number.NEGATIVE_INFINITY;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** How many questions may wait for an answer at once. */
  get size(): number {
    return Math.floor(this.#size);
  }

  /** Milliseconds. */
  get timeoutMs(): number {
    if (this.#smoothed === undefined) return INITIAL_MS;
    return Math.min(MOST_MS, Math.max(LEAST_MS, this.#smoothed + 4 * this.#varied));
  }

  /** How long to wait after the `sends`th sending, the first being 1. */
  waitMs(sends: number): number {
    return this.jittered(this.timeoutMs * 2 ** (sends - 1));
  }

  /** So that clients that lost one server do not come back together (RFC 7252 §4.2). */
  jittered(ms: number): number {
    return ms * (1 + this.#random() / 2);
  }

  /** A question that was sent once was answered after so long (RFC 6298 §2, §3). */
  measured(ms: number): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = ms;
      this.#varied = ms / 2;
    } else {
      this.#varied = 0.75 * this.#varied + 0.25 * Math.abs(this.#smoothed - ms);
      this.#smoothed = 0.875 * this.#smoothed + 0.125 * ms;
    }
    this.#size = Math.min(MOST_WINDOW, this.#size + 1 / this.#size);
  }

  /** No answer came in time. What is lost together is one sign of congestion (RFC 8085 §3.1.1). */
  lost(now: number): void {
    if (now < this.#halvedAt + this.timeoutMs) return;
    this.#halvedAt = now;
    this.#size = Math.max(1, this.#size / 2);
  }
}
