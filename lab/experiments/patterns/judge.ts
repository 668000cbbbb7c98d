/** Whether what was captured of a way is what theory says, or why nothing can be said. Pure. */
import type { Verdict } from "../../experiment.ts";
import { TOO_BUSY } from "../../network.ts";
import { median } from "../../units.ts";
import type { Measured } from "./measure.ts";
import { POLL_MS, type Rate, type Way } from "./ways.ts";

/** What one way was seen to do at one rate. */
export interface Told {
  readonly way: Way;
  readonly rate: Rate;
  /** Whether its bytes are of this way. */
  readonly hasSign: boolean;
  readonly measured: Measured;
  /** How long was looked, in milliseconds. */
  readonly spanMs: number;
  /** From each event to its bytes at the client, by the capture; with TLS to the program, in milliseconds. */
  readonly late: readonly number[];
  /** From each event to the end of the job, in milliseconds. */
  readonly rest: readonly number[];
  /** Events that the capture does not have. */
  readonly missing: number;
  /** How many times something came: several events at once are one. */
  readonly answers: number;
  /** What befell its packets that theory knows nothing of, such as a loss. */
  readonly disturbance: string | undefined;
}

export interface Circumstances {
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly isTls: boolean;
  /** Why the link supports no verdict. */
  readonly refusal: string | undefined;
  /** How much longer than the median an echo took, at the 99th percentile, in milliseconds. */
  readonly spreadMs: number;
  /** How late the programs ran what was due, at the 95th percentile, in milliseconds. */
  readonly programsLateMs: number;
}

export interface Judged {
  readonly verdict: Verdict;
  /** What is not as expected, or why there is no verdict. */
  readonly problem: string | undefined;
}

/** A WebSocket's or TCP's reader gives credit when it has used half of 128. */
const CREDIT_EVENTS = 64;
/** Of the events must come in time: one may meet a program that was not running. */
const PART_IN_TIME = 0.9;

export function judge(told: Told, circumstances: Circumstances): Judged {
  const { refusal } = circumstances;
  // What was counted does not depend on how busy the machine is.
  const forged = wrongBytes(told) ?? wrongOrder(told);
  if (forged !== undefined) return { verdict: "failed", problem: forged };
  const asks = wrongAsks(told, circumstances);
  if (asks !== undefined) {
    // Who never asks does not for a loss either; when and how often the others ask hangs on what comes.
    const isSteered = (told.way.theory === "poll" || told.way.theory === "held") && told.measured.asks > 0;
    return excused(asks, isSteered ? told.disturbance : undefined);
  }
  if (refusal !== undefined) return { verdict: "refused", problem: refusal };
  const late = wrongLate(told, circumstances);
  if (late === undefined) return { verdict: "ok", problem: undefined };
  return excused(late, told.disturbance ?? noiseOf(circumstances));
}

function excused(problem: string, excuse: string | undefined): Judged {
  if (excuse === undefined) return { verdict: "failed", problem };
  return { verdict: "refused", problem: `${problem}; ${excuse}` };
}

/** In words as in the table. */
export function expectedOf({ way, rest }: Told, { rttMs }: Circumstances): string {
  switch (way.theory) {
    case "wait":
      return `to the end + RTT/2 = ${Math.round(median(rest) + rttMs / 2)} ms`;
    case "poll":
      return `T/2 + RTT = ${POLL_MS / 2 + rttMs} ms`;
    case "held":
      return `RTT/2 to 3/2 RTT = ${rttMs / 2} to ${1.5 * rttMs} ms`;
    case "push":
      return `RTT/2 = ${rttMs / 2} ms`;
  }
}

/** How much later than theory says an event may come, in milliseconds: the work of both programs. */
export function allowanceMs({ rttMs, jitterMs }: Circumstances): number {
  return Math.max(10, rttMs / 4) + 2 * jitterMs;
}

function wrongBytes({ way, hasSign, missing }: Told): string | undefined {
  if (!hasSign) return `the capture has no ${JSON.stringify(way.sign)}: this is no ${way.name}`;
  return missing === 0 ? undefined : `${missing} events are not in the capture`;
}

/** Nothing that befalls a packet lets it come before it is sent. */
function wrongOrder(told: Told): string | undefined {
  const early = overOf(told).filter((ms) => ms < -1).length;
  if (early === 0) return undefined;
  return `${early} events came before ${told.way.theory === "wait" ? "the job had ended" : "they were said"}`;
}

/** From what is waited for to its receipt, in milliseconds: the event, or the end of the job. */
function overOf({ way, late, rest }: Told): number[] {
  return late.map((ms, index) => ms - (way.theory === "wait" ? rest[index]! : 0));
}

function wrongAsks(
  { way, rate, measured, spanMs, answers }: Told,
  { rttMs, isTls }: Circumstances,
): string | undefined {
  const { asks } = measured;
  const seen = `the client asked ${asks} times`;
  switch (way.theory) {
    case "wait":
      return asks === 1 ? undefined : `${seen} instead of once`;
    case "poll": {
      const due = spanMs / (POLL_MS + rttMs);
      const isDue = asks >= due * 0.85 - 1.5 && asks <= due * 1.1 + 1.5;
      return isDue ? undefined : `${seen} in ${(spanMs / 1e3).toFixed(1)} s instead of ${due.toFixed(0)}`;
    }
    case "held":
      return Math.abs(asks - answers) <= 2 ? undefined : `${seen} for ${answers} answers`;
    case "push": {
      // In records of TLS a request cannot be told from what HTTP/2 says of its windows.
      const most = isTls && way.carrier === "http2" ? 2 * rate.events : Math.ceil(rate.events / CREDIT_EVENTS);
      return asks <= most ? undefined : `${seen} for ${rate.events} events: this is no push`;
    }
  }
}

function wrongLate(told: Told, circumstances: Circumstances): string | undefined {
  const { way } = told;
  const { rttMs } = circumstances;
  const allowed = allowanceMs(circumstances);
  const [least, most] = boundsOf(way.theory, rttMs);
  const over = overOf(told);
  // The clock of the wire and of the programs is one; what is less has been made up.
  const early = over.filter((ms) => ms < least - 1).length;
  if (early > 0) return `${early} events came sooner than can be`;
  const inTime = over.filter((ms) => ms <= most + allowed).length / over.length;
  if (inTime < PART_IN_TIME) {
    return `${Math.round((1 - inTime) * 100)}% of the events came later than ${Math.round(most + allowed)} ms`;
  }
  if (way.theory !== "poll") return undefined;
  const mean = over.reduce((a, b) => a + b, 0) / over.length;
  const [theory, cycle] = [POLL_MS / 2 + rttMs, POLL_MS + rttMs];
  // Events fall anywhere between two polls: the deviation of the mean of as many of them.
  const error = (3 * cycle) / Math.sqrt(12 * over.length);
  if (Math.abs(mean - theory) <= error + allowed) return undefined;
  return `${Math.round(mean)} ms in the mean, not ${theory} ± ${Math.round(error)}`;
}

/** From the event (of a job that is waited for: from its end) to its receipt, in milliseconds. */
function boundsOf(theory: Way["theory"], rttMs: number): readonly [least: number, most: number] {
  const half = rttMs / 2;
  if (theory === "poll") return [half, POLL_MS + 3 * half];
  return [half, theory === "held" ? 3 * half : half];
}

/** Of the link or of the machine, when it is too much for a verdict about time. */
export function noiseOf(circumstances: Circumstances): string | undefined {
  const { spreadMs, programsLateMs } = circumstances;
  const allowed = allowanceMs(circumstances);
  if (spreadMs > allowed) return `the link is too noisy: echoes take up to ${spreadMs.toFixed(1)} ms more`;
  if (programsLateMs <= allowed) return undefined;
  return `${TOO_BUSY}: programs run ${programsLateMs.toFixed(0)} ms late`;
}
