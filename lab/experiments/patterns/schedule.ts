/** When events happen: one in each period, anywhere in it, so that no clock of a client can fall in step with them. */
import { seeded } from "../../../src/wire/seed.ts";
import type { Rate } from "./ways.ts";

/** Milliseconds from the start, growing. The places within the periods are spread evenly, in an order of luck. */
export function schedule({ perSecond, events, afterMs = 0 }: Rate, seed: number): number[] {
  const random = seeded(seed);
  const strata = Array.from({ length: events }, (_, n) => n);
  for (let n = events - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1));
    [strata[n], strata[other]] = [strata[other]!, strata[n]!];
  }
  const periodMs = 1_000 / perSecond;
  return strata.map((stratum, n) => afterMs + (n + (stratum + random()) / events) * periodMs);
}
