/**
 * OpenAPI 3.1 of a contract: what can be asked for over HTTP (PROTOCOL.md §2), so that clients can be made
 * by tools. OpenAPI has no words for the parts of a stream; they are described as `text/event-stream` and
 * `application/x-ndjson` with the schema of one item in `x-backtalk-item`.
 */
import type { Contract } from "../contract/host.ts";
import { type AnySchema, jsonSchema } from "../contract/schema.ts";
import type { Method, Topic } from "../contract/service.ts";
import { type Json, one, PARAMETERS, RESPONSES, ref, SCHEMAS, STATES, VERDICTS } from "./openapi-schemas.ts";
import { hasReference, rebased } from "./rebase.ts";

export interface OpenApiOptions {
  readonly title: string;
  readonly version: string;
  /** Whether nobody has to prove anything. */
  readonly isAnonymous: boolean;
  /** Where the server is reached (default: where the document came from). */
  readonly url?: string;
}

export function openapi(contract: Contract, options: OpenApiOptions): Json {
  const paths: Json = {};
  const schemas = new Schemas();
  for (const [name, method] of contract.methods) paths[`/${name}`] = methodPath(name, method, schemas);
  for (const [name, topic] of contract.topics) paths[`/topics/${name}`] = topicPath(name, topic, schemas);
  return {
    openapi: "3.1.0",
    info: { title: options.title, version: options.version },
    servers: [{ url: options.url ?? "/" }],
    paths: { ...paths, ...callPaths() },
    components: {
      schemas: { ...SCHEMAS, ...schemas.named },
      parameters: PARAMETERS,
      responses: RESPONSES,
      ...(!options.isAnonymous && {
        securitySchemes: {
          bearer: { type: "http", scheme: "bearer" },
          apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
        },
      }),
    },
    ...(!options.isAnonymous && { security: [{ bearer: [] }, { apiKey: [] }] }),
  };
}

/** Schemas that refer to themselves have a place of their own, to which they refer. */
class Schemas {
  readonly named: Json = {};

  of(schema: AnySchema, side: "input" | "output", name: string): Json {
    const json = jsonSchema(schema, side);
    if (!hasReference(json)) return json;
    this.named[name] = rebased(json, `#/components/schemas/${name}`);
    return ref.schema(name);
  }
}

function methodPath(name: string, method: Method, schemas: Schemas): Json {
  const own = name.replace("/", ".");
  const input = schemas.of(method.input, "input", `${own}.input`);
  const output = schemas.of(method.output, "output", `${own}.output`);
  const takesMany = method.kind === "clientStream" || method.kind === "bidi";
  const givesMany = method.kind === "serverStream" || method.kind === "bidi";
  const common = {
    tags: [name.slice(0, name.indexOf("/"))],
    ...told(method.options.description),
    "x-backtalk-kind": method.kind,
    ...(method.progress && {
      "x-backtalk-progress": extension(schemas.of(method.progress, "output", `${own}.progress`)),
    }),
  };
  const responses = {
    "200": {
      description: "The result",
      headers: ref.locationHeader,
      content: givesMany ? stream(output) : one(output),
    },
    "202": ref.response("Accepted"),
    default: ref.response("Fault"),
  };
  const body = takesMany
    ? {
        "application/x-ndjson": { schema: { type: "string" }, "x-backtalk-item": extension(input) },
        ...one({ type: "array", items: input }),
      }
    : one(input);
  const isOptional = acceptsNothing(method.input);
  const post = {
    ...common,
    operationId: own,
    parameters: ["IdempotencyKey", "Prefer", "RequestTimeout", "TraceParent"].map(ref.parameter),
    requestBody: { required: !takesMany && !isOptional, content: body },
    responses:
      givesMany || takesMany
        ? responses
        : { ...responses, "200": { ...responses["200"], content: { ...one(output), ...stream() } } },
  };
  if (!method.options.safe) return { post };
  const get = {
    ...common,
    operationId: `${own}.get`,
    parameters: [
      {
        name: "input",
        in: "query",
        required: !isOptional,
        description: `The input as JSON${isOptional ? "; {} when absent" : ""}`,
        content: one(input),
      },
      ref.parameter("IfNoneMatch"),
    ],
    responses: {
      "200": { description: "The result", headers: ref.etagHeader, content: one(output) },
      "304": { description: "Not modified" },
      default: ref.response("Fault"),
    },
  };
  return { post, get };
}

function topicPath(name: string, topic: Topic, schemas: Schemas): Json {
  const event = schemas.of(topic.event, "input", `topics.${name}.published`);
  const common = {
    tags: ["topics"],
    ...told(topic.options.description),
  };
  const get = {
    ...common,
    operationId: `topics.${name}.read`,
    ...readOperation(schemas.of(topic.event, "output", `topics.${name}.event`)),
  };
  if (topic.options.open === false) return { get };
  const appended = one({
    type: "object",
    required: ["cursor", "duplicate"],
    properties: { cursor: ref.schema("Cursor"), duplicate: { type: "boolean" } },
  });
  const post = {
    ...common,
    operationId: `topics.${name}.publish`,
    parameters: [ref.parameter("IdempotencyKey")],
    requestBody: { required: true, content: one(event) },
    responses: {
      "201": { description: "Published", content: appended },
      "200": { description: "Published before with this key", content: appended },
      default: ref.response("Fault"),
    },
  };
  return { get, post };
}

function callPaths(): Json {
  const id = { name: "id", in: "path", required: true, schema: { type: "string" } };
  const tags = ["calls"];
  const state = { "200": { description: "The state", headers: ref.etagHeader, content: one(ref.schema("CallState")) } };
  const fault = { default: ref.response("Fault") };
  return {
    "/calls": {
      get: {
        tags,
        operationId: "calls.list",
        parameters: [
          query("state", { enum: STATES }),
          query("method", { type: "string" }),
          query("after", { type: "string" }),
          query("limit", { type: "integer", minimum: 1, maximum: 100 }),
        ],
        responses: {
          "200": {
            description: "The caller's calls, newest first",
            headers: { Link: { schema: { type: "string" }, description: 'The next page, rel="next" (RFC 8288)' } },
            content: one({
              type: "object",
              required: ["calls"],
              properties: { calls: { type: "array", items: ref.schema("CallState") }, next: { type: "string" } },
            }),
          },
          ...fault,
        },
      },
    },
    "/calls/{id}": {
      parameters: [id],
      get: {
        tags,
        operationId: "calls.state",
        parameters: ["Prefer", "IfNoneMatch"].map(ref.parameter),
        responses: { ...state, "304": { description: "Nothing new" }, ...fault },
      },
      delete: { tags, operationId: "calls.cancel", responses: { ...state, ...fault } },
    },
    "/calls/{id}/events": {
      parameters: [id],
      get: { tags, operationId: "calls.events", ...readOperation({}) },
    },
    "/calls/{id}/items": {
      parameters: [id],
      post: {
        tags,
        operationId: "calls.append",
        parameters: [query("seq", { type: "integer", minimum: 0 }), query("end", { type: "boolean" })],
        requestBody: {
          content: { "application/x-ndjson": { schema: { type: "string" } }, ...one({ type: "array" }) },
        },
        responses: {
          "200": {
            description: "Stored",
            content: one({
              type: "object",
              required: ["next", "cursor"],
              properties: { next: { type: "integer" }, cursor: ref.schema("Cursor") },
            }),
          },
          ...fault,
        },
      },
    },
  };
}

function readOperation(item: Json): Json {
  const header = (description: string, schema: Json) => ({ description, schema });
  return {
    parameters: [
      query("after", { type: "string" }, "A cursor, start or now"),
      ref.parameter("LastEventId"),
      ref.parameter("Prefer"),
      ref.parameter("IfNoneMatch"),
    ],
    responses: {
      "200": {
        description: "Events after the place",
        headers: {
          "Backtalk-Verdict": header("What the place was good for", { enum: VERDICTS }),
          "Backtalk-Cursor": header("Where reading begins", ref.schema("Cursor")),
        },
        content: { ...one(ref.schema("Page")), ...stream(item) },
      },
      "204": { description: "The log has ended at this place (text/event-stream)" },
      "304": { description: "Nothing new" },
      default: ref.response("Fault"),
    },
  };
}

function stream(item?: Json): Json {
  const media = { schema: { type: "string" }, ...(item && { "x-backtalk-item": extension(item) }) };
  return { "text/event-stream": media, "application/x-ndjson": media };
}

/** Tools take a bare `$ref` in an extension for a mistake. */
function extension(schema: Json): Json {
  return "$ref" in schema ? { allOf: [schema] } : schema;
}

/** Whether the input may be left out: then it is `{}`. Of a schema that takes its time nothing is known. */
function acceptsNothing(schema: AnySchema): boolean {
  try {
    const checked = schema["~standard"].validate({});
    if (!(checked instanceof Promise)) return checked.issues === undefined;
    checked.catch(() => {});
  } catch {
    // A check that fails by itself says nothing either.
  }
  return true;
}

/** The first line is what lists show. */
function told(description: string | undefined): Json {
  return description === undefined ? {} : { summary: description.split("\n", 1)[0], description };
}

function query(name: string, schema: Json, description?: string): Json {
  return { name, in: "query", schema, ...(description !== undefined && { description }) };
}
