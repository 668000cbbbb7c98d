/** Which streams stood still when a packet was lost. Pure. */

/** For each stream the times at which bytes came, in nanoseconds. */
export type Arrivals = readonly (readonly number[])[];

export interface StallOptions {
  readonly everyMs: number;
  readonly rttMs: number;
}

/**
 * For each loss that stands alone (no other within so long that their effects could mix) the number of streams
 * that stood still for it: a gap that began before the lost packet would have come or soon after, and that is
 * longer than the rhythm of the stream explains.
 */
export function stalls(losses: readonly number[], arrivals: Arrivals, { everyMs, rttMs }: StallOptions): number[] {
  const ms = 1e6;
  const apart = (2 * everyMs + 3 * rttMs) * ms;
  // A repetition takes a round trip at least; half of it cannot be the rhythm.
  const long = (everyMs + rttMs / 2) * ms;
  const begin = Math.max(...arrivals.map((times) => times[0] ?? Number.POSITIVE_INFINITY));
  const end = Math.min(...arrivals.map((times) => times.at(-1) ?? 0));
  return losses
    .filter(
      (at, n) =>
        at - (losses[n - 1] ?? Number.NEGATIVE_INFINITY) > apart &&
        (losses[n + 1] ?? Number.POSITIVE_INFINITY) - at > apart,
    )
    .filter((at) => at > begin + apart && at < end - apart)
    .map((at) => {
      const due = at + (rttMs / 2) * ms;
      return arrivals.filter((times) => hasGap(times, due - (everyMs + 5) * ms, due + (everyMs + 5) * ms, long)).length;
    });
}

/** Whether a gap of this length begins in this time. */
function hasGap(times: readonly number[], from: number, to: number, length: number): boolean {
  for (let n = 1; n < times.length; n++) {
    const began = times[n - 1]!;
    if (began >= from && began <= to && times[n]! - began > length) return true;
  }
  return false;
}
