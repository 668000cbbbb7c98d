/** What a log is made of. */
import type { Cursor, Place } from "./cursor.ts";

/**
 * `open` begins a call, and begins it again after a restart (with the number of the attempt); `item` and
 * `progress` are what it says; `end` and `fail` close the log, and nothing comes after them.
 */
export type EventKind = "open" | "item" | "progress" | "end" | "fail";

export interface LogEvent {
  readonly cursor: Cursor;
  readonly kind: EventKind;
  /** JSON text. A log keeps text, which is parsed only where somebody looks into it. */
  readonly json: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** An event before the store has given it its place. */
export interface Draft {
  readonly kind: EventKind;
  readonly json: string;
}

/**
 * What a resumed reader got: `recovered`, all that came after its cursor; `gap`, the events between
 * `from` and `to` are no longer kept; `reset`, the log is another one than the cursor's and is read from
 * its start.
 */
export interface Verdict {
  readonly verdict: "recovered" | "gap" | "reset";
  /** What the reader asked for. */
  readonly from: Place;
  /** Where reading begins. */
  readonly to: Cursor;
  /** JSON text of the state that stands for everything up to `to`, where the log has one (`fold`). */
  readonly state?: string;
}

/**
 * Events that are read at once. The first page of a reading has the verdict; a later one has it only when
 * the reader fell so far behind that events were trimmed before it came. Shared between readers: never
 * change it.
 */
export interface Page {
  readonly verdict?: Verdict;
  readonly events: readonly LogEvent[];
  /** Resumes after this page. */
  readonly cursor: Cursor;
  /** Whether the log has more events already. */
  readonly more: boolean;
  /** Whether the log has ended and this page reaches its end. */
  readonly ended: boolean;
}

export function isEnd(kind: EventKind): boolean {
  return kind === "end" || kind === "fail";
}
