/** What all stores answer alike: the verdict on a place, what can be appended, and the faults. */
import { type Draft, decodeCursor, encodeCursor, Fault, isEnd, type Place, type Verdict } from "../log/index.ts";

/** The verdict on a place, for a log that keeps the events after `first` up to `head`. */
export function judge(from: Place, epoch: string, first: number, head: number): Verdict {
  if (from === "now") return { verdict: "recovered", from, to: encodeCursor(epoch, head) };
  const start = encodeCursor(epoch, first);
  if (from === "start") return { verdict: first === 0 ? "recovered" : "gap", from, to: start };
  const at = decodeCursor(from);
  if (at.epoch !== epoch || at.seq > head) return { verdict: "reset", from, to: start };
  if (at.seq < first) return { verdict: "gap", from, to: start };
  return { verdict: "recovered", from, to: from };
}

/**
 * Checks what is to be appended, and counts its bytes.
 * @throws Fault `invalid_argument` for an event after an end, and for text that is no Unicode (a lone
 * surrogate): it has no bytes, so no store on disk could give it back as it was.
 */
export function measure(drafts: readonly Draft[]): number {
  let bytes = 0;
  for (let i = 0; i < drafts.length; i++) {
    const { kind, json } = drafts[i]!;
    if (isEnd(kind) && i < drafts.length - 1) throw new Fault("invalid_argument", `an event after "${kind}"`);
    if (!json.isWellFormed()) throw new Fault("invalid_argument", "an event with a lone surrogate: not Unicode");
    bytes += jsonBytes(json);
  }
  return bytes;
}

export function jsonBytes(json: string): number {
  return Buffer.byteLength(json);
}

/** Reads `after` of a query. @throws Fault `invalid_argument` for what no page had as its `next`. */
export function parseListPlace(after: string): number {
  const place = Number(after);
  if (/^[1-9][0-9]{0,15}$/.test(after) && Number.isSafeInteger(place)) return place;
  throw new Fault("invalid_argument", "not a place in a list", {
    hint: "take it from `next` of the page before",
    fields: [{ path: "after", message: "must be `next` of the page before" }],
  });
}

export function unknownLog(name: string): Fault {
  return new Fault("not_found", `there is no log "${name}"`, {
    hint: "it never was, or its time of retention is over",
  });
}

export function storeClosed(): Fault {
  return new Fault("unavailable", "the store was closed");
}

/** @param hint how to get room in this store */
export function storeFull(maxBytes: number, hint: string): Fault {
  return new Fault("resource_exhausted", `the store is full: ${maxBytes} bytes`, { limit: "maxBytes", hint });
}
