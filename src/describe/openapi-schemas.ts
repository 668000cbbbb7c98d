/** The parts of an OpenAPI document that are the same for every contract. */
import { CODES } from "../log/index.ts";

export type Json = Record<string, unknown>;

export const STATES = ["running", "done", "failed", "cancelled"];
export const VERDICTS = ["recovered", "gap", "reset"];

export const ref = {
  schema: (name: string) => ({ $ref: `#/components/schemas/${name}` }),
  parameter: (name: string) => ({ $ref: `#/components/parameters/${name}` }),
  response: (name: string) => ({ $ref: `#/components/responses/${name}` }),
  locationHeader: {
    Location: { schema: { type: "string" }, description: "Of a recorded call" },
    "Idempotency-Replayed": { schema: { const: "true" }, description: "The key was used before" },
  },
  etagHeader: { ETag: { schema: { type: "string" } } },
};

export function one(schema: Json): Json {
  return { "application/json": { schema } };
}

function header(name: string, description: string, schema: Json = { type: "string" }): Json {
  return { name, in: "header", description, schema };
}

export const PARAMETERS: Json = {
  IdempotencyKey: header("Idempotency-Key", "The same key and the same body is the same call", {
    type: "string",
    maxLength: 257,
  }),
  Prefer: header("Prefer", "RFC 7240: respond-async, wait=SECONDS"),
  RequestTimeout: header("Request-Timeout", "Seconds until the call fails with deadline_exceeded", {
    type: "number",
    exclusiveMinimum: 0,
  }),
  TraceParent: header("traceparent", "W3C Trace Context"),
  IfNoneMatch: header("If-None-Match", "RFC 9110 §13.1.2"),
  LastEventId: header("Last-Event-ID", "The cursor to go on from; comes before `after`"),
};

const time = { type: "integer", description: "Milliseconds since 1970" };

export const SCHEMAS: Json = {
  Cursor: { type: "string", description: "A place in a log: opaque, sorts as text in the order of the log" },
  Fault: {
    type: "object",
    description: "Problem details (RFC 9457)",
    required: ["type", "title", "status", "detail", "code", "retryable"],
    properties: {
      type: { type: "string" },
      title: { type: "string" },
      status: { type: "integer" },
      detail: { type: "string" },
      code: { enum: CODES },
      retryable: { type: "boolean" },
      hint: { type: "string" },
      retryAfterMs: { type: "number" },
      limit: { type: "string" },
      info: { type: "object" },
      fields: {
        type: "array",
        items: {
          type: "object",
          required: ["path", "message"],
          properties: { path: { type: "string" }, message: { type: "string" } },
        },
      },
    },
  },
  CallState: {
    type: "object",
    required: ["id", "method", "state", "attempt", "openedAt", "cursor"],
    properties: {
      id: { type: "string" },
      method: { type: "string" },
      state: { enum: STATES },
      attempt: { type: "integer" },
      openedAt: time,
      endedAt: time,
      expiresAt: time,
      cursor: ref.schema("Cursor"),
      progress: {},
      result: {},
      fault: { type: "object" },
      received: {
        type: "object",
        properties: { items: { type: "integer" }, ended: { type: "boolean" } },
      },
      fold: {},
    },
  },
  Verdict: {
    type: "object",
    required: ["verdict", "from", "to"],
    properties: { verdict: { enum: VERDICTS }, from: { type: "string" }, to: ref.schema("Cursor"), state: {} },
  },
  Event: {
    type: "object",
    required: ["cursor", "kind", "at", "data"],
    properties: {
      cursor: ref.schema("Cursor"),
      kind: { enum: ["open", "item", "progress", "end", "fail"] },
      at: time,
      data: {},
    },
  },
  Page: {
    type: "object",
    required: ["verdict", "events", "cursor", "more", "ended"],
    properties: {
      verdict: ref.schema("Verdict"),
      events: { type: "array", items: ref.schema("Event") },
      cursor: ref.schema("Cursor"),
      more: { type: "boolean" },
      ended: { type: "boolean" },
    },
  },
};

export const RESPONSES: Json = {
  Fault: {
    description: "A fault",
    headers: { "Retry-After": { schema: { type: "integer" }, description: "With 429 and 503, in seconds" } },
    content: { "application/problem+json": { schema: ref.schema("Fault") } },
  },
  Accepted: {
    description: "The call goes on: its state",
    headers: { Location: { schema: { type: "string" } }, "Preference-Applied": { schema: { type: "string" } } },
    content: one(ref.schema("CallState")),
  },
};
