/** What is told: `{"type","timestamp","data"}` of Standard Webhooks, of the end of a call or of a topic's event. */
import { CALLS, TOPICS } from "../contract/index.ts";
import { isEnd, type LogEvent, type LogInfo } from "../log/index.ts";

export interface Message {
  /** The same for each attempt and each endpoint: `msg_` and what it is about. */
  readonly id: string;
  readonly type: string;
  readonly body: string;
}

/** Undefined while the call has no end. `method` and `owner` are labels of its log. */
export function callMessage(info: LogInfo, maxBytes: number): Message | undefined {
  const { last, labels, log, createdAt } = info;
  if (!last || !isEnd(last.kind)) return undefined;
  const id = log.slice(CALLS.length);
  const { attempt, ...said } = JSON.parse(last.json) as { attempt?: number; code?: string; result?: unknown };
  const state = last.kind === "end" ? "done" : said.code === "cancelled" ? "cancelled" : "failed";
  const data = {
    id,
    method: labels["method"] ?? "",
    state,
    ...(labels["owner"] && { principal: labels["owner"] }),
    ...(attempt !== undefined && { attempt }),
    openedAt: createdAt,
    endedAt: last.at,
    cursor: last.cursor,
  };
  const more = last.kind === "end" ? { result: said.result } : { fault: said };
  // The id alone would not do: of a key that is used again when its call is no longer kept comes another call of it.
  return message(`msg_${id}_${last.cursor}`, `call.${state}`, last.at, data, more, maxBytes);
}

export function topicMessage(log: string, event: LogEvent, maxBytes: number): Message {
  const topic = log.slice(TOPICS.length);
  const data = { topic, cursor: event.cursor };
  return message(
    `msg_${topic}_${event.cursor}`,
    `topic.${topic}`,
    event.at,
    data,
    { event: JSON.parse(event.json) },
    maxBytes,
  );
}

/** What would be too large is left out, and asked for where it is (Standard Webhooks: "thin" payloads). */
function message(id: string, type: string, at: number, data: object, more: object, maxBytes: number): Message {
  const head = { type, timestamp: new Date(at).toISOString() };
  const body = JSON.stringify({ ...head, data: { ...data, ...more } });
  if (Buffer.byteLength(body) <= maxBytes) return { id, type, body };
  return { id, type, body: JSON.stringify({ ...head, data: { ...data, omitted: Object.keys(more) } }) };
}
