/** Answers cut to what fits into a datagram (PROTOCOL.md §6.1). */
import type { Fault, FaultJson } from "../../log/index.ts";
import { DATAGRAM, encodeDatagram, HEADER_BYTES, jsonBytes } from "../../wire/datagram.ts";

/** The datagram of a fault in at most so many bytes: what matters least is left out first. */
export function faultDatagram(id: string, fault: Fault, most: number, call?: string): Uint8Array<ArrayBuffer> {
  const json = fault.toJSON();
  const room = most - HEADER_BYTES;
  const bodyOf = (each: FaultJson) => jsonBytes({ fault: each, ...(call !== undefined && { call }) });
  let body = bodyOf(json);
  for (let cut: FaultJson = json, step = 0; body.length > room && step < STEPS.length; step++) {
    cut = STEPS[step]!(cut, body.length - room);
    body = bodyOf(cut);
  }
  return encodeDatagram(DATAGRAM.fault, id, body);
}

const without = (name: "fields" | "detail" | "hint" | "limit") => (json: FaultJson) => {
  const { [name]: _left, ...rest } = json;
  return rest as FaultJson;
};

/** From the first on, each takes more away; the last leaves what always fits. */
const STEPS: readonly ((json: FaultJson, over: number) => FaultJson)[] = [
  // A list of bad fields says most by its first ones.
  (json) => ({ ...json, ...(json.fields && { fields: json.fields.slice(0, 3) }) }),
  without("fields"),
  without("detail"),
  without("hint"),
  ({ message, ...json }, over) => ({ ...json, message: shorter(message, over) }),
  without("limit"),
  ({ code, retryable }) => ({ code, message: code, retryable }),
];

/** At least so many bytes less; what is said in their place has three. Not cut in the middle of a character. */
function shorter(message: string, over: number): string {
  const bytes = new TextEncoder().encode(message);
  const kept = new TextDecoder().decode(bytes.subarray(0, Math.max(0, bytes.length - over - 3)));
  return `${kept.replace(/\ufffd+$/, "")}…`;
}
