/**
 * Which transport to use: a pure state machine. It begins with the best, falls to the next one when this one
 * does not get through, and tries the better one again later. Whoever connects tells it what happened.
 *
 * - A WebSocket that has never opened falls at once (a proxy refuses the upgrade). When HTTP then fails too it
 *   was not the WebSocket's fault: the server cannot be reached, and the ladder begins anew.
 * - A response that was opened but stays silent falls at once (a proxy holds it back).
 * - Three connections in a row that lasted less than a second fall.
 * - After a minute the next better one is tried; each time that this fails the minute doubles, up to ten.
 */
/** `own` is a peer that the user's program makes: nothing is above or below it. */
export type Transport = "websocket" | "sse" | "long-poll" | "poll" | "own";

/** From the best to the one that always works. */
export const LADDER: readonly Transport[] = ["websocket", "sse", "long-poll", "poll"];

export const FALLBACK = { shortMs: 1000, mostShort: 3, upgradeMs: 60_000, mostUpgradeMs: 600_000 } as const;

export interface FallbackState {
  readonly ladder: readonly Transport[];
  /** Where on the ladder. */
  readonly rung: number;
  /** Connections in a row that were too short. */
  readonly short: number;
  /** Whether this transport has worked since it was chosen. */
  readonly isProven: boolean;
  /** When the next better one is tried, in milliseconds since 1970; undefined at the top. */
  readonly upgradeAt: number | undefined;
  /** How long the next fall lasts. */
  readonly upgradeMs: number;
}

/** `at` is the time, in milliseconds since 1970. What is told of another transport than the chosen one is ignored. */
export type FallbackEvent =
  /** Something is about to connect. */
  | { readonly type: "connect"; readonly at: number }
  | { readonly type: "opened"; readonly transport: Transport; readonly at: number }
  /** It could not be opened. */
  | { readonly type: "failed"; readonly transport: Transport; readonly at: number }
  /** It was opened, and nothing came. */
  | { readonly type: "stalled"; readonly transport: Transport; readonly at: number }
  /** It was open and broke. */
  | { readonly type: "closed"; readonly transport: Transport; readonly at: number; readonly lastedMs: number };

export function begin(ladder: readonly Transport[] = LADDER): FallbackState {
  return { ladder, rung: 0, short: 0, isProven: false, upgradeAt: undefined, upgradeMs: FALLBACK.upgradeMs };
}

export function chosen(state: FallbackState): Transport {
  return state.ladder[state.rung]!;
}

export function next(state: FallbackState, event: FallbackEvent): FallbackState {
  if (event.type === "connect") return isDue(state, event.at) ? climb(state, event.at) : state;
  if (event.transport !== chosen(state)) return state;
  switch (event.type) {
    case "opened":
      return state.isProven ? state : { ...state, isProven: true };
    case "stalled":
      return fall(state, event.at);
    case "failed":
      if (state.isProven) return event.transport === "websocket" ? tooShort(state, event.at) : state;
      return event.transport === "websocket" ? fall(state, event.at) : begin(state.ladder);
    case "closed":
      if (event.lastedMs < FALLBACK.shortMs) return tooShort(state, event.at);
      // A transport that held for long has shown that the last fall was not for good.
      return {
        ...state,
        short: 0,
        upgradeMs: event.lastedMs >= FALLBACK.upgradeMs ? FALLBACK.upgradeMs : state.upgradeMs,
      };
  }
}

function isDue({ upgradeAt }: FallbackState, at: number): boolean {
  return upgradeAt !== undefined && at >= upgradeAt;
}

function tooShort(state: FallbackState, at: number): FallbackState {
  const short = state.short + 1;
  return short < FALLBACK.mostShort ? { ...state, short } : fall(state, at);
}

function fall(state: FallbackState, at: number): FallbackState {
  if (state.rung === state.ladder.length - 1) return { ...state, short: 0 };
  const upgradeMs = Math.min(state.upgradeMs * 2, FALLBACK.mostUpgradeMs);
  return { ...state, rung: state.rung + 1, short: 0, isProven: false, upgradeAt: at + state.upgradeMs, upgradeMs };
}

function climb(state: FallbackState, at: number): FallbackState {
  const rung = state.rung - 1;
  return { ...state, rung, short: 0, isProven: false, upgradeAt: rung > 0 ? at + state.upgradeMs : undefined };
}
