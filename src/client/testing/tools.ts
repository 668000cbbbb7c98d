/** What the tests of the client share: a seed, and time by hand. */
import { type Environment, platformEnvironment } from "../environment.ts";

/** Mulberry32: numbers from 0 up to 1 that repeat by seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Time, network and page by hand. */
export class ManualEnvironment implements Environment {
  #now = 1_000_000;
  #state = { online: true, visible: true };
  readonly #timers = new Map<object, { at: number; run: () => void }>();
  readonly #watchers = new Set<() => void>();

  get timers(): number {
    return this.#timers.size;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  now = () => this.#now;
  random = () => 0.5;
  online = () => this.#state.online;
  visible = () => this.#state.visible;

  after = (ms: number, run: () => void) => {
    const timer = {};
    this.#timers.set(timer, { at: this.#now + ms, run });
    return () => void this.#timers.delete(timer);
  };

  onChange = (run: () => void) => {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  };

  set(state: { online?: boolean; visible?: boolean }): void {
    this.#state = { ...this.#state, ...state };
    for (const run of [...this.#watchers]) run();
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const [timer, { at, run }] of [...this.#timers]) {
      if (at <= this.#now && this.#timers.delete(timer)) run();
    }
  }
}

/** The platform's, with time that runs faster, so that backoff costs little. */
export function fastEnvironment(random: () => number, speed = 50): Environment {
  const platform = platformEnvironment();
  const began = Date.now();
  const start = performance.now();
  return {
    ...platform,
    random,
    now: () => began + (performance.now() - start) * speed,
    after: (ms, run) => platform.after(ms / speed, run),
  };
}

/** Whether a promise is settled, after what is due has run. */
export async function settled(promise: Promise<unknown>): Promise<boolean> {
  const open = {};
  await turns();
  return (await Promise.race([promise.catch(() => {}), open])) !== open;
}

/** Lets everything run that waits for nothing from outside. */
export async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when it holds; the test's own timeout is the limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}
