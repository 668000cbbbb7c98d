/** How late a program runs what is due: on a busy machine a client seems far away that is not. */
import { quantile } from "../../units.ts";

const EVERY_MS = 10;

export class Lateness {
  readonly #late: number[] = [];

  begin(): void {
    let due = performance.now() + EVERY_MS;
    const timer = setInterval(() => {
      const now = performance.now();
      this.#late.push(Math.max(0, now - due));
      due = now + EVERY_MS;
    }, EVERY_MS);
    timer.unref();
  }

  /** The 95th percentile, in milliseconds. */
  get p95Ms(): number {
    return this.#late.length === 0 ? 0 : quantile(this.#late, 0.95);
  }
}
