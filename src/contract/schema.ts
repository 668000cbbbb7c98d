/** Standard Schema (https://standardschema.dev): whatever library the user likes validates. */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { Fault, type FieldFault } from "../log/fault.ts";

export type Schema<In = unknown, Out = In> = StandardSchemaV1<In, Out>;
// biome-ignore lint/suspicious/noExplicitAny: the bound of a type parameter that is inferred from what the user wrote
export type AnySchema = StandardSchemaV1<any, any>;
export type InputOf<S> = S extends AnySchema ? StandardSchemaV1.InferInput<S> : never;
export type OutputOf<S> = S extends AnySchema ? StandardSchemaV1.InferOutput<S> : never;

/**
 * Validates; returns the value as the schema makes it, or a promise of it where the schema is asynchronous.
 * @param of the method or topic, as an address has it: a fault says where its schema is.
 * @throws Fault `invalid_argument` for what a caller sent (`input`, `item`, `event`); `internal` for what a
 * handler made (`output`, `progress`): that is a defect of the service, and its values are not shown.
 */
export function validate(schema: AnySchema, value: unknown, what: Validated, of?: string): unknown {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) return result.then((settled) => unwrap(settled, what, of));
  return unwrap(result, what, of);
}

export type Validated = "input" | "event" | "output" | "progress";

function unwrap(result: StandardSchemaV1.Result<unknown>, what: Validated, of?: string): unknown {
  if (result.issues === undefined) return result.value;
  if (what === "output" || what === "progress") {
    const { path, message } = toField(result.issues[0]!);
    throw new Fault("internal", `the handler made an ${what} that its schema refuses`, {
      hint: "the server's log has the details",
      cause: new Error(`${what}${path ? ` at ${path}` : ""}: ${message}`),
    });
  }
  const fields = result.issues.slice(0, MAX_FIELDS).map(toField);
  const first = fields[0]!;
  throw new Fault(
    "invalid_argument",
    `the ${what} is not valid: ${first.path ? `${first.path}: ` : ""}${first.message}`,
    {
      fields,
      hint: of === undefined ? "its schema is in /openapi.json" : `its schema is that of POST /${of} in /openapi.json`,
    },
  );
}

/** More bad fields than anybody reads; a huge input must not make a huge answer. */
const MAX_FIELDS = 32;

function toField(issue: StandardSchemaV1.Issue): FieldFault {
  let path = "";
  for (const segment of issue.path ?? []) {
    const key = typeof segment === "object" ? segment.key : segment;
    path += typeof key === "number" ? `[${key}]` : path === "" ? String(key) : `.${String(key)}`;
  }
  return { path, message: issue.message };
}

/** JSON Schema (2020-12) of a schema, where its library can say it; otherwise anything is allowed. */
export function jsonSchema(schema: AnySchema, side: "input" | "output"): Record<string, unknown> {
  const standard = schema["~standard"] as Partial<StandardJSONSchemaV1.Props>;
  try {
    const made = standard.jsonSchema?.[side]({ target: "draft-2020-12" });
    if (made === undefined) return {};
    const { $schema: _, ...rest } = made;
    return rest;
  } catch {
    // The library has no JSON Schema for this type (a transform, a custom check): describe nothing rather than lie.
    return {};
  }
}
