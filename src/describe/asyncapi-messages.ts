/** The messages of `backtalk.v1` (PROTOCOL.md §3.1, §3.2) as JSON Schema. */
import { VERDICTS } from "./openapi-schemas.ts";

type Json = Record<string, unknown>;

interface Message {
  readonly summary: string;
  readonly payload: Json;
}

const text = { type: "string" };
const count = { type: "integer", minimum: 0 };
const id = { type: "integer", minimum: 0, maximum: 2 ** 53 - 1, description: "Chosen by the client for each exchange" };
const ms = { type: "number", minimum: 0, description: "Milliseconds" };
const cursor = at("Cursor");
const place = { type: "string", description: "A cursor, start or now" };

function message(type: string, summary: string, required: Json, optional: Json = {}): Message {
  return {
    summary,
    payload: {
      type: "object",
      required: ["type", ...Object.keys(required)],
      properties: { type: { const: type }, ...required, ...optional },
    },
  };
}

/** By names that are not also the server's. */
export const CLIENT_MESSAGES: Readonly<Record<string, Message>> = {
  "client.auth": message("auth", "Credentials, at first or renewed", { token: text }),
  "client.call": message(
    "call",
    "Open a call; with credit its events come from its start, without only its result",
    { id, method: text },
    {
      input: {},
      key: { type: "string", maxLength: 255 },
      keep: { type: "boolean" },
      timeoutMs: ms,
      credit: count,
      traceparent: text,
      tracestate: text,
    },
  ),
  "client.attach": message(
    "attach",
    "Read a call from a place",
    { id, call: text },
    { after: place, credit: count, follow: { type: "boolean" } },
  ),
  "client.subscribe": message(
    "subscribe",
    "Read a topic from a place",
    { id, topic: text, credit: count },
    { after: place, follow: { type: "boolean" } },
  ),
  "client.credit": message("credit", "n more events may be sent", { id, n: count }),
  "client.items": message(
    "items",
    "Items of a client stream; answered by ack",
    { id, items: { type: "array" } },
    { call: text, seq: count, end: { type: "boolean" } },
  ),
  "client.publish": message(
    "publish",
    "Publish to a topic; answered by result with the cursor",
    { id, topic: text, event: {} },
    { key: { type: "string", maxLength: 255 } },
  ),
  "client.state": message(
    "state",
    "The state of a call or a topic, held at most waitMs",
    { id },
    { call: text, topic: text, after: cursor, waitMs: ms },
  ),
  "client.cancel": message("cancel", "Cancel a call", { id }, { call: text }),
  "client.leave": message("leave", "Stop to read or to wait; answered by done", { id }),
  "client.pong": message("pong", "Answer to ping", {}),
};

export const SERVER_MESSAGES: Readonly<Record<string, Message>> = {
  "server.welcome": message("welcome", "First: times and limits", {
    heartbeatMs: ms,
    graceMs: ms,
    limits: { type: "object" },
  }),
  "server.auth": message("auth", "The credentials hold", { principal: text }, { expiresAt: { type: "number" } }),
  "server.opened": message(
    "opened",
    "The call is recorded under this id",
    { id, call: text },
    { replayed: { type: "boolean" } },
  ),
  "server.events": message(
    "events",
    "Events of a call or a topic; costs one credit for each",
    { id, events: { type: "array", items: at("Event") }, cursor },
    { verdict: at("Verdict") },
  ),
  "server.result": message("result", "The result; data is absent for a stream", { id }, { data: {} }),
  "server.fault": message(
    "fault",
    "The exchange failed; without id it is about the socket",
    { fault: at("Fault") },
    { id },
  ),
  "server.ack": message("ack", "Items below next are stored", { id, next: count, cursor }),
  "server.done": message(
    "done",
    "Reading is over",
    { id },
    { cursor, ended: { type: "boolean" }, more: { type: "boolean" } },
  ),
  "server.ping": message("ping", "Answer with pong", {}),
  "server.goaway": message("goaway", "The server is going: connect again after so long", {
    retryAfterMs: ms,
    reason: text,
  }),
};

export const MESSAGE_SCHEMAS: Json = {
  Cursor: { type: "string", description: "A place in a log: opaque, sorts as text in the order of the log" },
  Event: {
    type: "object",
    required: ["cursor", "kind", "at", "data"],
    properties: {
      cursor,
      kind: { enum: ["open", "item", "progress", "end", "fail"] },
      at: { type: "number", description: "Milliseconds since 1970" },
      data: {},
    },
  },
  Verdict: {
    type: "object",
    required: ["verdict", "from", "to"],
    properties: { verdict: { enum: VERDICTS }, from: text, to: cursor, state: {} },
  },
  Fault: {
    type: "object",
    required: ["code", "message", "retryable"],
    properties: {
      code: text,
      message: text,
      retryable: { type: "boolean" },
      hint: text,
      retryAfterMs: ms,
      limit: text,
      fields: { type: "array", items: { type: "object", properties: { path: text, message: text } } },
      detail: { type: "object" },
    },
  },
};

function at(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}
