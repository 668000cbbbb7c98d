/** How long to wait before trying again: what the server said, and on top of it full jitter. */

/** Milliseconds; of the first try, and the most. */
export const BACKOFF = { baseMs: 500, capMs: 30_000 } as const;

/**
 * `failures` counts from 1. The jitter is over the whole range (0 up to 0.5 s, 1 s, 2 s ... 30 s), so that
 * many clients that lost one server do not come back together; what the server asked for comes first.
 */
export function backoffMs(failures: number, random: () => number, retryAfterMs = 0): number {
  const most = Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** Math.max(0, failures - 1));
  return Math.max(0, retryAfterMs) + random() * most;
}
