/** What the metadata of a request says (PROTOCOL.md §4.1). */
import type { Trace } from "../../contract/index.ts";
import { Fault, type Place, parsePlace } from "../../log/index.ts";
import { parsePrefer } from "../../wire/prefer.ts";
import { parseKey } from "../../wire/sf.ts";
import { childTraceparent, parseTraceparent } from "../../wire/traceparent.ts";
import { META } from "./metadata-names.ts";

/** What a request says besides its message. */
export interface Asked {
  readonly key: string | undefined;
  readonly keep: boolean;
  readonly call: string | undefined;
  readonly after: Place | undefined;
  readonly seq: number | undefined;
  readonly cursors: boolean;
}

/** @throws Fault `invalid_argument` */
export function askedIn(header: Headers): Asked {
  const key = header.get(META.key);
  const after = header.get(META.after);
  const call = header.get(META.call);
  const seq = header.get(META.seq);
  if (seq !== null && !/^\d{1,15}$/.test(seq)) throw bad(META.seq, "must be the number of an item, from 0");
  if (call === "") throw bad(META.call, "must be the id of a call");
  return {
    key: key === null ? undefined : keyOf(key),
    keep: flag(header, META.keep) || parsePrefer(header.get("prefer") ?? "").respondAsync,
    call: call ?? undefined,
    after: after === null ? undefined : parsePlace(after),
    seq: seq === null ? undefined : Number(seq),
    cursors: flag(header, META.cursors),
  };
}

export function traceIn(header: Headers, random: () => number): Trace | undefined {
  const given = header.get("traceparent");
  const parent = given === null ? undefined : parseTraceparent(given);
  if (!parent) return undefined;
  const tracestate = header.get("tracestate");
  return { traceparent: childTraceparent(parent, random), ...(tracestate && { tracestate }) };
}

export function bad(name: string, message: string): Fault {
  return new Fault("invalid_argument", `the metadata ${name} ${message}`, { fields: [{ path: name, message }] });
}

function keyOf(text: string): string {
  const key = parseKey(text);
  if (key !== undefined) return key;
  throw bad(META.key, 'must be one string, such as "8e03978e-40d5"');
}

function flag(header: Headers, name: string): boolean {
  const value = header.get(name);
  if (value === null || value === "false") return false;
  if (value === "true") return true;
  throw bad(name, "must be true or false");
}
