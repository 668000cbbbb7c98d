/**
 * What a JSON Schema (2020-12) allows, as far as Protocol Buffers have types for it. What they cannot say
 * without loss is a `google.protobuf.Value`, with the reason, which goes into the comment of the field.
 */

export type Scalar = "string" | "bool" | "int32" | "int64" | "double";

export type Shape =
  | { readonly kind: "scalar"; readonly type: Scalar; readonly values?: readonly unknown[] }
  | { readonly kind: "value"; readonly why: string }
  | { readonly kind: "list"; readonly of: ElementShape }
  | { readonly kind: "map"; readonly of: ElementShape }
  | MessageShape;

/** What can be an element of a list or a map: Protocol Buffers have no list of lists. */
export type ElementShape = Exclude<Shape, { readonly kind: "list" | "map" }>;

export interface MessageShape {
  readonly kind: "message";
  /** Of a definition that has a name; otherwise it is named by where it is used. */
  readonly name: string | undefined;
  /** Filled while the schema is walked, so that a message can have itself in it. */
  readonly fields: FieldShape[];
  /** It is no object, but stands for the value of its only field. */
  readonly isWrapper: boolean;
  /** Properties besides the named ones. */
  more: ElementShape | undefined;
}

export interface FieldShape {
  readonly property: string;
  readonly shape: Shape;
  /** The property may be absent. */
  readonly isOptional: boolean;
  /** It is always there, and may be null: the field is then absent. */
  readonly isNullable: boolean;
  readonly comment: string | undefined;
}

type Json = Readonly<Record<string, unknown>>;

export function shapeOf(schema: Json): Shape {
  return new Walk(schema).shape(schema);
}

class Walk {
  readonly #root: Json;
  readonly #messages = new Map<Json, MessageShape>();
  /** What is being looked at: a schema that comes to itself again without a message between has no type. */
  readonly #open = new Set<Json>();
  /** Schemas made of others, once each, so that the two above know them again. */
  readonly #split = new Map<unknown, readonly Json[]>();
  readonly #nonNull = new Map<unknown, readonly [schema: unknown, isNullable: boolean]>();

  constructor(root: Json) {
    this.#root = root;
  }

  shape(given: unknown, name?: string): Shape {
    if (given === false) return value("nothing is allowed");
    if (typeof given !== "object" || given === null) return value("anything is allowed");
    const schema = given as Json;
    const known = this.#messages.get(schema);
    if (known) return known;
    if (this.#open.has(schema)) return value("it contains itself");
    this.#open.add(schema);
    try {
      return this.#look(schema, name);
    } finally {
      this.#open.delete(schema);
    }
  }

  #look(schema: Json, name: string | undefined): Shape {
    if (typeof schema["$ref"] === "string") return this.#reference(schema["$ref"]);
    if ("const" in schema) return literals([schema["const"]]);
    if (Array.isArray(schema["enum"])) return literals(schema["enum"]);
    const union = schema["anyOf"] ?? schema["oneOf"];
    if (Array.isArray(union)) return this.#union(union);
    if (Array.isArray(schema["allOf"])) return this.#intersection(schema, schema["allOf"], name);
    const { type } = schema;
    if (Array.isArray(type)) return this.#union(this.#once(this.#split, schema, () => splitTypes(schema, type)));
    switch (type) {
      case "string":
        return { kind: "scalar", type: "string" };
      case "boolean":
        return { kind: "scalar", type: "bool" };
      case "number":
        return { kind: "scalar", type: "double" };
      case "integer":
        return { kind: "scalar", type: isInt32(schema) ? "int32" : "int64" };
      case "array":
        return this.#list(schema);
      case "object":
        return this.#object(schema, name);
      case "null":
        return value("always null");
      default:
        return value("anything is allowed");
    }
  }

  #reference(to: string): Shape {
    const target = to === "#" ? this.#root : this.#resolve(to);
    if (target === undefined) return value(`its schema refers to ${to}`);
    const name = /\/(?:\$defs|definitions)\/([^/]+)$/.exec(to)?.[1];
    return this.shape(target, name === undefined || /^_/.test(name) ? undefined : name);
  }

  /** A pointer within the document (RFC 6901); nothing is loaded from elsewhere. */
  #resolve(to: string): unknown {
    if (!to.startsWith("#/")) return undefined;
    let at: unknown = this.#root;
    for (const part of to.slice(2).split("/")) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
      at = (at as Json)[key];
    }
    return at;
  }

  #list(schema: Json): Shape {
    if ("prefixItems" in schema) return value("a tuple");
    return { kind: "list", of: this.#element(schema["items"], "an array") };
  }

  #element(schema: unknown, what: string): ElementShape {
    const shape = this.shape(schema);
    return shape.kind === "list" || shape.kind === "map" ? value(`${what} in ${what}`, shape) : shape;
  }

  #object(schema: Json, name: string | undefined): Shape {
    const properties = Object.entries((schema["properties"] ?? {}) as Json);
    const rest = schema["patternProperties"] === undefined ? schema["additionalProperties"] : {};
    const hasMore = rest !== undefined && rest !== false;
    if (properties.length === 0 && hasMore) return { kind: "map", of: this.#element(rest, "a map") };
    const message: MessageShape = { kind: "message", name, isWrapper: false, fields: [], more: undefined };
    this.#messages.set(schema, message);
    // From here on it may contain itself: it has a name to be referred to by.
    this.#open.delete(schema);
    const required = new Set((schema["required"] ?? []) as readonly string[]);
    for (const [property, each] of properties) message.fields.push(this.#field(property, each, required.has(property)));
    if (hasMore) message.more = this.#element(rest, "a map");
    return message;
  }

  #field(property: string, schema: unknown, isRequired: boolean): FieldShape {
    const [rest, isNullable] = this.#once(this.#nonNull, schema, () => withoutNull(schema));
    const comment = (schema as { description?: unknown } | null)?.description;
    const common = { property, comment: typeof comment === "string" ? comment : undefined };
    const shape = this.shape(isRequired ? rest : schema);
    if (isNullable && isRequired && shape.kind !== "value") {
      return { ...common, shape, isOptional: false, isNullable: true };
    }
    const whole = isNullable ? value("it may be null", this.shape(rest)) : shape;
    return { ...common, shape: whole, isOptional: !isRequired, isNullable: false };
  }

  #once<T>(made: Map<unknown, T>, schema: unknown, make: () => T): T {
    const known = made.get(schema);
    if (known !== undefined) return known;
    const fresh = make();
    made.set(schema, fresh);
    return fresh;
  }

  #union(branches: readonly unknown[]): Shape {
    const shapes = branches.map((branch) => this.shape(branch));
    const first = shapes[0];
    if (first === undefined) return value("nothing is allowed");
    if (shapes.length === 1) return first;
    const scalars = shapes.flatMap((shape) => (shape.kind === "scalar" ? [shape] : []));
    const type = scalars.length === shapes.length ? commonScalar(scalars.map((each) => each.type)) : undefined;
    if (type === undefined) return value("it is one of several types");
    const values = scalars.every((each) => each.values) ? scalars.flatMap((each) => each.values ?? []) : undefined;
    return { kind: "scalar", type, ...(values && { values }) };
  }

  #intersection(schema: Json, parts: readonly unknown[], name: string | undefined): Shape {
    const { allOf: _, ...own } = schema;
    const shapes = [...("type" in own ? [own] : []), ...parts].map((part) => this.shape(part));
    if (shapes.length === 1) return shapes[0]!;
    const seen = new Set<string>();
    const joined: MessageShape = { kind: "message", name, isWrapper: false, fields: [], more: undefined };
    for (const shape of shapes) {
      if (shape.kind !== "message" || shape.more) return value("it is several types at once");
      for (const field of shape.fields) {
        if (seen.has(field.property)) return value("it is several types at once");
        seen.add(field.property);
        joined.fields.push(field);
      }
    }
    this.#messages.set(schema, joined);
    return joined;
  }
}

/** The type that holds the numbers of all of them, or nothing. */
export function commonScalar(types: readonly Scalar[]): Scalar | undefined {
  const all = new Set(types);
  if (all.size === 1) return types[0];
  const order: readonly Scalar[] = ["int32", "int64", "double"];
  const places = [...all].map((type) => order.indexOf(type));
  return places.includes(-1) ? undefined : order[Math.max(...places)];
}

/** A message for what is no object, or for a list or map that may be absent, which Protocol Buffers cannot tell from an empty one. */
export function wrapped(shape: Shape, property: string): MessageShape {
  const field = { property, shape, isOptional: false, isNullable: false, comment: undefined };
  return { kind: "message", name: undefined, isWrapper: true, fields: [field], more: undefined };
}

export function value(why: string, of?: Shape): ElementShape & { readonly kind: "value" } {
  return { kind: "value", why: of?.kind === "value" && of.why !== "always null" ? `${why}; ${of.why}` : why };
}

function literals(values: readonly unknown[]): Shape {
  const kinds = new Set(values.map((each) => typeof each));
  if (kinds.size !== 1) return value("it is one of several types");
  if (kinds.has("string")) return { kind: "scalar", type: "string", values };
  if (kinds.has("boolean")) return { kind: "scalar", type: "bool", values };
  if (!kinds.has("number")) return value("anything is allowed");
  const isWhole = values.every((each) => Number.isInteger(each) && Math.abs(each as number) < 2 ** 31);
  return { kind: "scalar", type: isWhole ? "int32" : "double", values };
}

function isInt32(schema: Json): boolean {
  const least = bound(schema["minimum"], schema["exclusiveMinimum"], Math.max);
  const most = bound(schema["maximum"], schema["exclusiveMaximum"], Math.min);
  return least !== undefined && most !== undefined && least >= -(2 ** 31) && most < 2 ** 31;
}

function bound(a: unknown, b: unknown, choose: (...of: number[]) => number): number | undefined {
  const given = [a, b].filter((each) => typeof each === "number");
  return given.length === 0 ? undefined : choose(...given);
}

function splitTypes(schema: Json, types: readonly unknown[]): Json[] {
  return types.map((type) => ({ ...schema, type }));
}

/** The schema of what it is when it is not null, and whether it may be null. */
function withoutNull(given: unknown): readonly [schema: unknown, isNullable: boolean] {
  if (typeof given !== "object" || given === null) return [given, false];
  const schema = given as Json;
  if (Array.isArray(schema["type"]) && schema["type"].includes("null")) {
    const types = schema["type"].filter((each) => each !== "null");
    const { enum: values, ...rest } = schema;
    const kept = Array.isArray(values) ? { ...rest, enum: values.filter((each) => each !== null) } : rest;
    return [{ ...kept, type: types.length === 1 ? types[0] : types }, true];
  }
  for (const key of ["anyOf", "oneOf"]) {
    const branches = schema[key];
    if (!Array.isArray(branches)) continue;
    const others = branches.filter((each: unknown) => (each as { type?: unknown } | null)?.type !== "null");
    if (others.length === branches.length) return [schema, false];
    return [others.length === 1 ? others[0] : { ...schema, [key]: others }, true];
  }
  if (Array.isArray(schema["enum"]) && schema["type"] === undefined && schema["enum"].includes(null)) {
    return [{ ...schema, enum: schema["enum"].filter((each) => each !== null) }, true];
  }
  return [schema, false];
}
