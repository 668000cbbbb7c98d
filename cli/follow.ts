/** Reads a call or a topic and prints it: for people with a progress bar, for programs as NDJSON. */
import { LogReading } from "../src/client/reading.ts";
import type { Session } from "../src/client/session.ts";
import type { ReadVerdict } from "../src/client/types.ts";
import type { CallState } from "../src/contract/index.ts";
import { type Cursor, Fault, faultFromJson, isEnd, type LogEvent, type Place } from "../src/log/index.ts";
import { progressLine } from "./progress.ts";
import { oneLine, type Screen } from "./screen.ts";
import { jsonLine, pretty } from "./values.ts";

export interface FollowOptions {
  readonly screen: Screen;
  readonly from: Place;
  /** Print the events as they are in the log, as in PROTOCOL.md §2.6. */
  readonly isRaw: boolean;
  readonly isQuiet: boolean;
  /** Stop after so many items. */
  readonly count?: number | undefined;
  /** The method that is waited for: on a terminal it is told when nothing comes of it for long. */
  readonly waitsFor?: string;
}

/** Tells how far the reading got, also while it goes on. */
export interface Progressed {
  /** After what was printed. */
  cursor: Cursor | undefined;
}

/** Resolves at the end of the log, or after `count` items. @throws Fault of the call, or of the reading */
export async function follow(session: Session, options: FollowOptions, progressed: Progressed): Promise<void> {
  const { screen, isRaw, count = Number.POSITIVE_INFINITY } = options;
  const reading = new LogReading<LogEvent>(session, {
    from: options.from,
    onVerdict: (verdict) => {
      // What `now` was: whoever leaves before the first event misses nothing either.
      if (options.from !== "start") progressed.cursor ??= verdict.to;
      tellVerdict(verdict, options);
    },
    map: (event) => event,
  });
  const patience = options.waitsFor === undefined ? undefined : setTimeout(tellWait, PATIENCE_MS, options);
  let hasEnded = false;
  let items = 0;
  try {
    for await (const event of reading) {
      if (event.kind !== "open" && items === 0) endWait(patience, screen);
      await print(event, options);
      progressed.cursor = event.cursor;
      if (event.kind === "fail") throw faultFromJson(JSON.parse(event.json));
      hasEnded ||= isEnd(event.kind);
      if (event.kind === "item" && ++items >= count) return;
    }
    // Read from its end, a call says nothing more: its state has the result.
    if (!hasEnded && !isRaw) await printState(await session.state(), screen);
  } finally {
    endWait(patience, screen);
  }
}

const PATIENCE_MS = 3_000;

/** A call that waits in a queue has no worker perhaps, and says nothing until one comes. */
function tellWait({ screen, waitsFor }: FollowOptions): void {
  screen.status(() => `${waitsFor}: nothing yet (a queued call waits for a worker); Ctrl-C detaches`);
}

function endWait(patience: ReturnType<typeof setTimeout> | undefined, screen: Screen): void {
  clearTimeout(patience);
  screen.status(undefined);
}

async function print({ cursor, kind, at, json }: LogEvent, options: FollowOptions): Promise<void> {
  const { screen, isRaw, isQuiet } = options;
  if (isRaw) return screen.print(jsonLine({ cursor, kind, at, data: JSON.parse(json) as unknown }));
  const data: unknown = JSON.parse(json);
  switch (kind) {
    case "open":
      if ((data as { attempt: number }).attempt > 1) {
        screen.note(`the server was restarted: attempt ${oneLine((data as { attempt: number }).attempt)}`);
      }
      return;
    case "progress":
      if (isQuiet) return;
      if (!screen.isTerminal) return screen.print(jsonLine({ progress: data }));
      if (screen.canDraw) screen.status((width) => progressLine(data, width));
      return;
    case "item":
      return screen.print(show(data, screen));
    case "end": {
      screen.status(undefined);
      const { result } = data as { result?: unknown };
      if (result !== undefined) await screen.print(show(result, screen));
      return;
    }
    case "fail":
      return;
  }
}

async function printState(state: CallState, screen: Screen): Promise<void> {
  if (state.fault) throw faultFromJson(state.fault);
  if (state.state === "cancelled") throw new Fault("cancelled", "the call was cancelled");
  if (state.result !== undefined) await screen.print(show(state.result, screen));
}

function show(value: unknown, screen: Screen): string {
  return screen.isTerminal ? pretty(value, screen.width) : jsonLine(value);
}

function tellVerdict({ verdict, from, to, state }: ReadVerdict, { screen, isRaw }: FollowOptions): void {
  if (isRaw) {
    void screen.print(jsonLine({ verdict, from, to, ...(state !== undefined && { state }) }));
    return;
  }
  if (verdict === "recovered" || from === "start") return;
  const what =
    verdict === "gap"
      ? `gap: the events from ${oneLine(from)} to ${oneLine(to)} are no longer kept`
      : `reset: the log is another one than that of ${oneLine(from)}; it is read from its start`;
  screen.explain([what]);
  if (state !== undefined) screen.note(`the state before what follows: ${pretty(state, screen.width)}`);
}
