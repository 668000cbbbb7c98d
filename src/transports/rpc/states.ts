/** States and faults as messages of backtalk.v1, and back. For both halves. */
import type { CallState, CallStateName, TopicState } from "../../contract/peer.ts";
import { type FaultJson, faultFromJson } from "../../log/fault.ts";
import type { Cursor } from "../../log/index.ts";
import type { CallStateMessage, FaultMessage, TopicStateMessage } from "./builtin.ts";
import { fromJsonMessage, valueMessage } from "./json.ts";

export function callMessage(state: CallState, asText: boolean): CallStateMessage {
  const { fault, received, progress, result, fold, openedAt, endedAt, expiresAt, ...rest } = state;
  return {
    ...rest,
    openedAt: whole(openedAt),
    endedAt: endedAt === undefined ? undefined : whole(endedAt),
    expiresAt: expiresAt === undefined ? undefined : whole(expiresAt),
    progress: valueMessage(progress, asText),
    result: valueMessage(result, asText),
    fold: valueMessage(fold, asText),
    fault: fault && faultMessage(fault, asText),
    received: received && { items: BigInt(received.items), ended: received.ended },
  };
}

export function topicMessage({ events, bytes, fold, ...rest }: TopicState, asText: boolean): TopicStateMessage {
  return { ...rest, events: BigInt(events), bytes: BigInt(bytes), fold: valueMessage(fold, asText) };
}

export function callOf(message: CallStateMessage): CallState {
  const { id, method, state, attempt, openedAt, endedAt, expiresAt, cursor, fault, received } = message;
  const progress = fromJsonMessage(message.progress, "progress");
  const result = fromJsonMessage(message.result, "result");
  const fold = fromJsonMessage(message.fold, "fold");
  return {
    id,
    method,
    state: state as CallStateName,
    attempt,
    openedAt: Number(openedAt),
    ...(endedAt !== undefined && { endedAt: Number(endedAt) }),
    ...(expiresAt !== undefined && { expiresAt: Number(expiresAt) }),
    cursor: cursor as Cursor,
    ...(progress !== undefined && { progress }),
    ...(result !== undefined && { result }),
    ...(fault && { fault: faultOf(fault) }),
    ...(received && { received: { items: Number(received.items), ended: received.ended } }),
    ...(fold !== undefined && { fold }),
  };
}

export function topicOf({ topic, first, cursor, events, bytes, fold }: TopicStateMessage): TopicState {
  const folded = fromJsonMessage(fold, "fold");
  return {
    topic,
    first: first as Cursor,
    cursor: cursor as Cursor,
    events: Number(events),
    bytes: Number(bytes),
    ...(folded !== undefined && { fold: folded }),
  };
}

function faultMessage({ fields = [], detail, ...rest }: FaultJson, asText: boolean): FaultMessage {
  return { ...rest, fields, detail: valueMessage(detail, asText) };
}

function faultOf({ fields, detail, ...rest }: FaultMessage): FaultJson {
  const json = { ...rest, ...(fields.length > 0 && { fields }), detail: fromJsonMessage(detail, "detail") };
  // Leaves out what is not there.
  return faultFromJson(json).toJSON();
}

function whole(ms: number): bigint {
  return BigInt(Math.round(ms));
}
