/** What the client asks of its surroundings, and waiting that heeds them. All of it can be given, for tests. */
import { abortFault, type Clock, systemClock } from "../transports/http/client-request.ts";

export interface Environment extends Clock {
  /** From 0 up to 1. */
  random(): number;
  /** Whether there is a network at all; true where that is not known. */
  online(): boolean;
  /** Whether somebody may be looking; true where there is no page. */
  visible(): boolean;
  /** Tells when one of the two may have changed; gives back what stops it. */
  onChange(run: () => void): () => void;
}

export function platformEnvironment(): Environment {
  return {
    ...systemClock,
    random: Math.random,
    online: () => globalThis.navigator?.onLine !== false,
    visible: () => globalThis.document?.visibilityState !== "hidden",
    onChange(run) {
      const page = globalThis.document;
      // Node has no events of its own global object.
      globalThis.addEventListener?.("online", run);
      page?.addEventListener("visibilitychange", run);
      return () => {
        globalThis.removeEventListener?.("online", run);
        page?.removeEventListener("visibilitychange", run);
      };
    },
  };
}

/**
 * Waits so long; and longer while there is no network or, for a reader, while the page is hidden. When the
 * network or the page comes back it goes on at once. @throws Fault when the signal aborts
 */
export function pause(env: Environment, ms: number, signal: AbortSignal, isReader: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const isReady = (): boolean => env.online() && (!isReader || env.visible());
    let isDue = ms <= 0;
    let wasReady = isReady();
    const finish = (): void => {
      stopTimer();
      stopWatch();
      signal.removeEventListener("abort", finish);
      if (signal.aborted) reject(abortFault(signal));
      else resolve();
    };
    const look = (): void => {
      const ready = isReady();
      if (ready && (isDue || !wasReady)) finish();
      wasReady = ready;
    };
    const due = (): void => {
      isDue = true;
      look();
    };
    const stopWatch = env.onChange(look);
    const stopTimer = isDue ? () => {} : env.after(ms, due);
    signal.addEventListener("abort", finish);
    if (signal.aborted) finish();
    else if (isDue) look();
  });
}
