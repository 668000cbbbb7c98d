/** JSON values in messages of backtalk.v1. */

import { fromValue, toValue } from "../../describe/proto/value.ts";
import { Fault } from "../../log/fault.ts";
import { isTooDeep } from "../../wire/json.ts";
import type { JsonMessage } from "./builtin.ts";

/** A Value takes two or three messages for each level, and parsers take 100 of them within each other. */
const MOST_LEVELS = 24;

/** @param json its text */
export function jsonMessage(json: string, asText: boolean): JsonMessage {
  // An escaped surrogate may be half of a pair, which no string of Protobuf can hold.
  if (asText || /\\u[dD][89a-fA-F]/.test(json) || isTooDeep(json, MOST_LEVELS)) return { text: json };
  return { value: toValue(JSON.parse(json)) };
}

/** Of a value that may be nothing. */
export function valueMessage(value: unknown, asText: boolean): JsonMessage | undefined {
  return value === undefined ? undefined : jsonMessage(JSON.stringify(value), asText);
}

/** The value, and nothing for a message that has none. @throws Fault `invalid_argument` */
export function fromJsonMessage(
  message: JsonMessage | undefined,
  what: string,
  depth = Number.POSITIVE_INFINITY,
): unknown {
  if (message === undefined) return undefined;
  const { text, value } = message;
  if (text !== undefined && value !== undefined) throw unreadable(what, "has both `value` and `text`");
  if (text !== undefined) {
    if (isTooDeep(text, depth)) throw tooDeep(what, depth);
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw unreadable(what, `is not JSON: ${(cause as Error).message}`);
    }
  }
  if (value === undefined) return undefined;
  let json: unknown;
  try {
    json = fromValue(value);
  } catch (cause) {
    throw unreadable(what, (cause as Error).message);
  }
  if (isDeeper(json, depth)) throw tooDeep(what, depth);
  return json;
}

/** Whether a value nests deeper than so many levels. */
export function isDeeper(json: unknown, levels: number): boolean {
  if (typeof json !== "object" || json === null) return false;
  if (levels <= 0) return true;
  for (const each of Array.isArray(json) ? json : Object.values(json)) if (isDeeper(each, levels - 1)) return true;
  return false;
}

function unreadable(what: string, message: string): Fault {
  return new Fault("invalid_argument", `the ${what} ${message}`, { fields: [{ path: what, message }] });
}

export function tooDeep(what: string, depth: number): Fault {
  return new Fault("invalid_argument", `the ${what} nests deeper than ${depth} levels`, { limit: "jsonDepth" });
}
