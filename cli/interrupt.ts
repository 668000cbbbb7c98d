/** Ctrl-C: once to leave in order, twice to leave at once. */

/** Two signals that come closer together than this are one: a terminal and a parent both send it. */
const SAME_MS = 300;

export interface Interrupt {
  /** Aborts at the first Ctrl-C (or SIGTERM, SIGHUP). */
  readonly signal: AbortSignal;
  /** From now on nothing is caught. */
  release(): void;
}

/** @param kill what ends the process at once */
export function catchInterrupt(kill: (code: number) => void): Interrupt {
  const controller = new AbortController();
  let firstAt = 0;
  const caught = (signal: NodeJS.Signals) => {
    const now = performance.now();
    if (!controller.signal.aborted) {
      firstAt = now;
      controller.abort(signal);
    } else if (now - firstAt > SAME_MS) kill(128 + (NUMBERS[signal] ?? 2));
  };
  const signals = Object.keys(NUMBERS) as NodeJS.Signals[];
  for (const signal of signals) process.on(signal, caught);
  return {
    signal: controller.signal,
    release() {
      for (const signal of signals) process.off(signal, caught);
    },
  };
}

const NUMBERS: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
