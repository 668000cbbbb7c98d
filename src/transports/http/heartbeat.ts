/** One timer for all streams: each says when it wants to be looked at again. */

export interface Beat {
  /** What is due; returns when to come back, in milliseconds since 1970, or undefined for never. */
  due(now: number): number | undefined;
  /** Where the wheel has put it. */
  slot: Set<Beat> | undefined;
}

export class Wheel {
  readonly #tickMs: number;
  readonly #now: () => number;
  readonly #slots = new Map<number, Set<Beat>>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #tick: number;

  /** `tickMs` is how late a beat may come. */
  constructor(tickMs: number, now: () => number) {
    this.#tickMs = tickMs;
    this.#now = now;
    this.#tick = this.#tickOf(now());
  }

  /** The time of the last turn: at most a tick old while there are beats, and free. */
  get lately(): number {
    return this.#tick * this.#tickMs;
  }

  add(beat: Beat, at: number): void {
    if (this.#timer === undefined) this.#start();
    const tick = Math.max(this.#tick + 1, Math.ceil(at / this.#tickMs));
    const slot = this.#slots.get(tick) ?? new Set<Beat>();
    if (slot.size === 0) this.#slots.set(tick, slot);
    slot.add(beat);
    beat.slot = slot;
  }

  delete(beat: Beat): void {
    beat.slot?.delete(beat);
    beat.slot = undefined;
  }

  #start(): void {
    this.#tick = this.#tickOf(this.#now());
    this.#timer = setInterval(() => this.#turn(), this.#tickMs);
    this.#timer.unref?.();
  }

  #turn(): void {
    const now = this.#now();
    const tick = this.#tickOf(now);
    this.#tick = tick;
    for (const [at, slot] of this.#slots) {
      if (at > tick) continue;
      this.#slots.delete(at);
      for (const beat of slot) {
        beat.slot = undefined;
        const next = beat.due(now);
        if (next !== undefined) this.add(beat, next);
      }
    }
    if (this.#slots.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tickOf(ms: number): number {
    return Math.floor(ms / this.#tickMs);
  }
}
