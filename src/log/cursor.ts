/**
 * A cursor is a place in a log, after one of its events. For users it is opaque; it sorts as text in the
 * order of the log, and it carries the epoch of the log, so that a log that was lost and made anew is
 * noticed instead of being read at a place that means something else.
 *
 * Form: `<epoch>-<length letter><sequence number in base 36>`; the letter (a = one digit) makes numbers of
 * different length sort.
 */
import { Fault } from "./fault.ts";

declare const brand: unique symbol;
export type Cursor = string & { readonly [brand]: "cursor" };

/** Where a reader begins: after a cursor, at the first event that is kept, or after the newest one. */
export type Place = Cursor | "start" | "now";

export interface CursorParts {
  readonly epoch: string;
  /** 1 for the first event; 0 is the place before it. */
  readonly seq: number;
}

const FORM = /^([a-z0-9]{4,16})-([a-k])([0-9a-z]{1,11})$/;

export function encodeCursor(epoch: string, seq: number): Cursor {
  const digits = seq.toString(36);
  return `${epoch}-${String.fromCharCode(96 + digits.length)}${digits}` as Cursor;
}

/** @throws Fault `invalid_argument` for text that no store has made. */
export function decodeCursor(text: string): CursorParts {
  const match = FORM.exec(text);
  if (match) {
    const digits = match[3]!;
    const seq = Number.parseInt(digits, 36);
    const canonical = digits === "0" || digits[0] !== "0";
    if (digits.length === match[2]!.charCodeAt(0) - 96 && canonical && Number.isSafeInteger(seq)) {
      return { epoch: match[1]!, seq };
    }
  }
  throw new Fault("invalid_argument", "not a cursor", {
    hint: 'take the cursor from an answer as it is, or use "start" or "now"',
    fields: [{ path: "after", message: "must be a cursor, start or now" }],
  });
}

/** @throws Fault `invalid_argument` for anything but a cursor, `start` or `now`. */
export function parsePlace(text: string): Place {
  if (text === "start" || text === "now") return text;
  decodeCursor(text);
  return text as Cursor;
}

/** A new epoch: 8 characters of base 36. */
export function newEpoch(random: () => number): string {
  return Math.floor(random() * 36 ** 8)
    .toString(36)
    .padStart(8, "0");
}
