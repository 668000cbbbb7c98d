/**
 * What the streams of one connection hold of messages that have not arrived whole. When it is full, those that hold
 * something are not read, and the flow control of HTTP/2 stops their senders: all but the one that began first, so
 * that there is always one that comes to its end. A stream that holds nothing is read: small messages pass.
 */
export class Room {
  readonly #most: number;
  #held = 0;
  /** In the order in which they began to hold something. */
  readonly #holders = new Map<object, number>();
  #waiting: (() => void)[] = [];

  /** @param most bytes */
  constructor(most: number) {
    this.#most = most;
  }

  /** How much it holds now. */
  hold(holder: object, bytes: number): void {
    const before = this.#holders.get(holder) ?? 0;
    if (bytes === before) return;
    this.#held += bytes - before;
    if (bytes > 0) {
      this.#holders.set(holder, bytes);
      return;
    }
    this.#holders.delete(holder);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Nothing when it may read on, else what it waits for. */
  turn(holder: object): Promise<void> | undefined {
    if (this.#held < this.#most || !this.#holders.has(holder)) return undefined;
    if (this.#holders.keys().next().value === holder) return undefined;
    return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => this.turn(holder));
  }
}
