/** What a run is done under; all of it is in the report, so that it can be done again. */
import type { DropRule } from "./wire/drops.ts";
import type { Impairments } from "./wire/link.ts";
import type { HostSpec } from "./wire/spec.ts";

export type Congestion = "cubic" | "bbr" | "reno";

export interface Conditions {
  /** Round trip between client and server, half of it each way. */
  readonly rttMs: number;
  /** Part of the packets that is lost, 0 to 1, each way. */
  readonly loss: Impairments["loss"];
  readonly jitterMs: number;
  /** Bits per second each way; undefined: no limit. */
  readonly rateBps: number | undefined;
  readonly queueBytes: number | undefined;
  readonly reorder: number;
  readonly duplicate: number;
  readonly seed: number;
  /** How often each way is tried. */
  readonly runs: number;
  /** Of all TCP that a host sends, and of QUIC by node:quic; the HTTP/3 of `Bun.serve` (in `layers` alone) has no choice. */
  readonly congestion: Congestion;
  readonly drops: readonly DropRule[];
}

export const CONDITIONS: Conditions = Object.freeze({
  rttMs: 100,
  loss: 0,
  jitterMs: 0,
  rateBps: undefined,
  queueBytes: undefined,
  reorder: 0,
  duplicate: 0,
  seed: 1,
  runs: 5,
  congestion: "cubic",
  drops: [],
});

/** The link of the client: everything happens there, in both directions alike. */
export function clientLink(conditions: Conditions): Pick<HostSpec, "up" | "down"> {
  const { rttMs, loss, jitterMs, rateBps, queueBytes, reorder, duplicate } = conditions;
  const way: Impairments = {
    delayMs: rttMs / 2,
    ...(loss !== undefined && { loss }),
    jitterMs,
    reorder,
    duplicate,
    ...(rateBps !== undefined && { rateBps }),
    ...(queueBytes !== undefined && { queueBytes }),
  };
  return { up: way, down: way };
}
