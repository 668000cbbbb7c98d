/** The line of a way: its samples beside what theory says, or why they support no verdict. */
import type { Conditions } from "../../conditions.ts";
import type { Finding } from "../../experiment.ts";
import { TOO_BUSY } from "../../network.ts";
import { median } from "../../units.ts";
import { type Evidence, judge } from "./evidence.ts";
import type { Sample } from "./sample.ts";
import { expectation, type Variant, type Way } from "./ways.ts";

/** Farther from theory than this is not as expected. */
const TOLERANCE = 0.15;
/** Below, what programs take is no small part of a round trip. */
const LEAST_RTT_MS = 50;

export interface Circumstances {
  /** The round trip as the echoes measured it, and as the wire was told. */
  readonly rttMs: number;
  readonly askedMs: number;
  readonly variant: Variant | undefined;
  /** Why no way is judged. */
  readonly refusal: string | undefined;
}

export function finding(way: Way, samples: readonly Sample[], circumstances: Circumstances): Finding {
  const { rttMs, askedMs, variant } = circumstances;
  const expected = expectation(way, variant);
  const inTrips = (ns: readonly (number | undefined)[], tripMs: number) =>
    ns.flatMap((each) => (each === undefined ? [] : [each / 1e6 / tripMs]));
  const less = (ns: number | undefined, lateNs = 0) => (ns === undefined ? undefined : ns - lateNs);
  const firsts = samples.map(({ first }) => first);
  const measured: Both = {
    first: inTrips(
      firsts.map((first) => first?.ns),
      rttMs,
    ),
    again: inTrips(
      samples.map(({ first, again }) => (way.isReused ? first?.nextNs : again?.ns)),
      rttMs,
    ),
  };
  // On the way alone: when this is not as expected, it is no matter of a busy machine.
  const onWay: Both = {
    first: inTrips(
      firsts.map((first) => less(first?.ns, first?.lateNs)),
      askedMs,
    ),
    again: inTrips(
      samples.map(({ first, again }) =>
        way.isReused ? less(first?.nextNs, first?.nextLateNs) : less(again?.ns, again?.lateNs),
      ),
      askedMs,
    ),
  };
  const areNear = ({ first, again }: Both) => isNear(first, expected.first) && isNear(again, expected.again);
  const whole = samples.filter(({ visits }) => !visits.first.failed && !visits.again?.failed);
  const judged = whole.map(({ first, again, visits, handledEarly }) => {
    const words = { claimsEarly: visits.again?.claimsEarly ?? false, handledEarly };
    return first && judge(way, first, again, words);
  });
  // A forged claim is what the variant `ticket-only` is there to catch.
  const isHonest = judged.every((each) => each && (!each.isContradicted || variant === "ticket-only"));
  const isLate = whole.length > 0 && !areNear(measured) && areNear(onWay);
  const lateBy = Math.max(median(measured.first) - median(onWay.first), median(measured.again) - median(onWay.again));
  const reasons = [
    circumstances.refusal,
    ...failuresOf(samples),
    lacksRetry(way, samples, variant)
      ? `no Retry in the capture: node:quic of Bun ${Bun.version} takes validateAddress and does nothing (bun #35746)`
      : undefined,
    isLate && circumstances.refusal === undefined ? busyText(rttMs, askedMs, lateBy) : undefined,
  ].filter((each) => each !== undefined);
  // One that somebody tells otherwise is what is to be explained.
  const odd = judged.findIndex((each) => !each || each.isContradicted);
  const story = judged.length === 0 ? undefined : (judged[Math.max(0, odd)]?.why ?? "no response in the capture");
  const isBroken = samples.some(({ visits: { first, again } }) => isBreak(first.failed) || isBreak(again?.failed));
  const isRefused = circumstances.refusal !== undefined || (reasons.length > 0 && !isBroken);
  return {
    name: way.name,
    values: {
      ...measured,
      ...sizesOf(way, samples),
      late: isLate ? 1 : 0,
      firstOnWay: onWay.first,
      againOnWay: onWay.again,
    },
    expected: `${expected.first} / ${expected.again}`,
    verdict: isRefused ? "refused" : areNear(measured) && isHonest && !isBroken ? "ok" : "failed",
    why: [...reasons, story].filter((each) => each !== undefined).join("; "),
    source: way.source,
    explain: way.explain,
    capture: way.name,
  };
}

/** Round trips of each sample that has them. */
interface Both {
  readonly first: readonly number[];
  readonly again: readonly number[];
}

function isNear(values: readonly number[], theory: number): boolean {
  return Math.abs(median(values) - theory) <= TOLERANCE;
}

/** Such as `no connection within 10 s in 2 of 5 runs`: each way in which a visit came to nothing. */
function failuresOf(samples: readonly Sample[]): string[] {
  const counts = new Map<string, number>();
  for (const { visits } of samples) {
    const failed = visits.first.failed ?? visits.again?.failed;
    if (!failed) continue;
    const text = `${visits.first.failed ? "" : "again: "}${failed.why}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].map(([text, count]) => `${text} in ${count} of ${samples.length} runs`);
}

/** What came to nothing for another reason than time is no matter of the link. */
function isBreak(failed: { readonly isTime: boolean } | undefined): boolean {
  return failed !== undefined && !failed.isTime;
}

function lacksRetry({ isQuic }: Way, samples: readonly Sample[], variant: Variant | undefined): boolean {
  return variant === "retry" && isQuic && samples.every(({ first }) => first?.isRetried === false);
}

/** Bytes and packets: the median of the visits that were answered. */
function sizesOf({ isReused }: Way, samples: readonly Sample[]): { bytes: string; packets: string } {
  const middle = (of: (each: Evidence) => number, which: "first" | "again") => {
    const values = samples.flatMap((each) => (each[which] ? [of(each[which])] : []));
    return values.length === 0 ? "-" : Math.round(median(values)).toLocaleString("en");
  };
  const both = (of: (which: "first" | "again") => string) =>
    isReused ? of("first") : `${of("first")} / ${of("again")}`;
  return {
    bytes: both((which) => `${middle(({ up }) => up, which)} + ${middle(({ down }) => down, which)}`),
    packets: both((which) => middle(({ packets }) => packets, which)),
  };
}

function busyText(rttMs: number, askedMs: number, trips: number): string {
  const what =
    trips > TOLERANCE
      ? `of it ${trips.toFixed(2)} round trips in programs and timers, not on the way`
      : `the echoes took ${rttMs.toFixed(1)} ms on a link of ${askedMs} ms`;
  return `${what}: ${TOO_BUSY} for a verdict`;
}

/** Theory counts round trips; what else delays is not in it. */
export function refusalOf({
  rttMs,
  loss,
  jitterMs,
  rateBps,
  reorder,
  duplicate,
  drops,
}: Conditions): string | undefined {
  if (rttMs < LEAST_RTT_MS) return `round trips are counted at ${LEAST_RTT_MS} ms and more`;
  const isClean = !loss && jitterMs === 0 && rateBps === undefined && reorder === 0 && duplicate === 0;
  return isClean && drops.length === 0 ? undefined : "theory counts round trips of a link that only delays";
}
