/** What a flow was seen to do, from its packets and from what both programs noted. */

import type { Seen } from "../../wire/index.ts";
import type { Circumstances, Told } from "./judge.ts";
import { FlowCapture } from "./measure.ts";
import type { Said } from "./server.ts";
import { FASTER, graceMs, HELD_MS, markOf, POLL_MS, type Rate, SHORT_HELD_MS, type Way } from "./ways.ts";

export interface FlowInput {
  readonly way: Way;
  /** Absent: it stands idle. */
  readonly rate?: Rate;
  readonly index: number;
  readonly seen: readonly Seen[];
  /** When the clock of the events began, and until when is looked at idle flows, in nanoseconds. */
  readonly start: number;
  readonly idleUntil: number;
  /** When the client's program had each event, and when the server's said it. */
  readonly came: readonly number[];
  readonly said: Said;
}

export interface FlowRun {
  readonly way: Way;
  readonly seen: readonly Seen[];
  readonly told?: Told & {
    /** From each event to the client's program, in milliseconds. */
    readonly received: readonly number[];
    /** Bytes and packets until the first event could come. */
    readonly opening: { readonly bytes: number; readonly packets: number };
    /** Times of the events, in nanoseconds. */
    readonly at: readonly number[];
  };
  readonly idle?: Idle;
}

/** What passes while nothing happens. */
export interface Idle {
  /** How often something passed, in milliseconds as measured, and as the timers were set; NaN when nothing did. */
  readonly everyMs: number;
  readonly setMs: number;
  /** In a minute, with the timers as they are by default. */
  readonly bytesPerMinute: number;
  readonly packetsPerMinute: number;
}

export function read(input: FlowInput, circumstances: Circumstances): FlowRun {
  const { way, seen, rate } = input;
  const capture = new FlowCapture(seen, way.carrier, circumstances.isTls);
  if (!rate) return { way, seen, idle: idleOf(input, capture, circumstances) };
  return { way, seen, told: toldOf({ ...input, rate }, capture, circumstances) };
}

function toldOf(input: FlowInput & { readonly rate: Rate }, capture: FlowCapture, circumstances: Circumstances) {
  const { way, rate, index, start, came, said } = input;
  const { isTls, rttMs, jitterMs } = circumstances;
  const half = rttMs / 2;
  const onWire = came.map((at, n) => (isTls ? at : capture.cameAt(`"photo":"${markOf(index, n)}"`)));
  const late = onWire.map((at, n) => ((at ?? Number.NaN) - said.at[n]!) / 1e6);
  // The one request of a job that is waited for is what asks: it is made before the job begins.
  const begin = way.theory === "wait" ? capture.lastAskBefore(start) : start + (rate.afterMs ?? 0) * 1e6;
  const span = { from: begin, until: Math.max(...came) + graceMs(rttMs) * 1e6 };
  const payload = said.bytes.reduce((a, b) => a + b, 0);
  const opening = capture.measure({ from: 0, until: Math.min(begin, start) - 1 }, 0);
  return {
    way,
    rate,
    // Nothing of TLS can be read.
    hasSign: isTls || capture.has(way.sign),
    measured: capture.measure(span, payload),
    spanMs: (span.until - span.from) / 1e6,
    late,
    rest: said.at.map((at) => (said.endedAt - at) / 1e6),
    missing: onWire.filter((at) => at === undefined || Number.isNaN(at)).length,
    // A late daemon of the wire is noise, which the check of the link tells of.
    disturbance: capture.disturbance(span, [half - 1, half + jitterMs + Math.max(5, rttMs / 8)]),
    answers: groups(onWire.map((at) => at ?? Number.NaN)),
    received: came.map((at, n) => (at - said.at[n]!) / 1e6),
    opening: { bytes: opening.bytes, packets: opening.packets },
    at: said.at,
  };
}

function idleOf({ way, start, idleUntil }: FlowInput, capture: FlowCapture, { rttMs }: Circumstances): Idle {
  const [setMs, usualMs] = timersOf(way, rttMs);
  // An answer belongs to what it answers, also of a program that is late.
  const gapMs = Math.min(setMs / 2, 1_000);
  const bursts = capture.bursts({ from: start, until: idleUntil }, gapMs * 1e6);
  if (bursts.length === 0) return { everyMs: Number.NaN, setMs, bytesPerMinute: 0, packetsPerMinute: 0 };
  // The first one has what the opening left behind, where there are others; the last one may not be over.
  const whole = bursts.slice(bursts.length > 3 ? 1 : 0, -1);
  const elapsedMs = whole.length === 0 ? Number.POSITIVE_INFINITY : (bursts.at(-1)!.at - whole[0]!.at) / 1e6;
  // As if it had been looked at for longer by as much as the timers were faster.
  const minutes = (elapsedMs / 60_000) * (usualMs / setMs);
  const perMinute = (what: "bytes" | "packets") => whole.reduce((sum, burst) => sum + burst[what], 0) / minutes;
  return {
    everyMs: elapsedMs / whole.length,
    setMs,
    bytesPerMinute: perMinute("bytes"),
    packetsPerMinute: perMinute("packets"),
  };
}

/** How often something passes on a connection that stands idle, in milliseconds: with its faster timers, and by default. */
function timersOf({ follow, idle }: Way, rttMs: number): readonly [setMs: number, usualMs: number] {
  if (follow === "poll") return [POLL_MS + rttMs, POLL_MS + rttMs];
  if (follow === "long-poll") return [SHORT_HELD_MS + rttMs, HELD_MS + rttMs];
  const usualMs = 1 / idle.timersMs.reduce((often, ms) => often + 1 / ms, 0);
  return [usualMs / FASTER, usualMs];
}

/** How many times something came: what comes within 2 ms of the one before came with it. */
function groups(times: readonly number[]): number {
  const sorted = times.filter((at) => !Number.isNaN(at)).toSorted((a, b) => a - b);
  return sorted.filter((at, n) => n === 0 || at - sorted[n - 1]! > 2e6).length;
}
