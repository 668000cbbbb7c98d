/** One shape for what goes in and for what comes out: an event is published as the one and read as the other. */
import { commonScalar, type ElementShape, type FieldShape, type MessageShape, type Shape, value } from "./shape.ts";

const WHY = "what is published and what is read are of two types";

export function merge(a: Shape, b: Shape): Shape {
  return new Merge().shape(a, b);
}

class Merge {
  /** Messages that contain themselves come by again. */
  readonly #known = new Map<MessageShape, Map<MessageShape, MessageShape>>();

  shape(a: Shape, b: Shape): Shape {
    if (a.kind === "value") return a;
    if (b.kind === "value") return b;
    if (a.kind === "scalar" && b.kind === "scalar") {
      const type = commonScalar([a.type, b.type]);
      if (type === undefined) return value(WHY);
      const values = a.values && b.values && [...new Set([...a.values, ...b.values])];
      return { kind: "scalar", type, ...(values && { values }) };
    }
    if (a.kind === "list" && b.kind === "list") return { kind: "list", of: this.#element(a.of, b.of) };
    if (a.kind === "map" && b.kind === "map") return { kind: "map", of: this.#element(a.of, b.of) };
    if (a.kind === "message" && b.kind === "message") return this.#message(a, b);
    return value(WHY);
  }

  #element(a: ElementShape, b: ElementShape): ElementShape {
    const both = this.shape(a, b);
    return both.kind === "list" || both.kind === "map" ? value(WHY) : both;
  }

  #message(a: MessageShape, b: MessageShape): MessageShape {
    const known = this.#known.get(a)?.get(b);
    if (known) return known;
    const both: MessageShape = { kind: "message", name: a.name, isWrapper: false, fields: [], more: undefined };
    this.#known.set(a, (this.#known.get(a) ?? new Map<MessageShape, MessageShape>()).set(b, both));
    const others = new Map(b.fields.map((field) => [field.property, field]));
    for (const field of a.fields) {
      const other = others.get(field.property);
      others.delete(field.property);
      both.fields.push(other ? this.#field(field, other) : optional(field));
    }
    for (const field of others.values()) both.fields.push(optional(field));
    both.more = a.more && b.more ? this.#element(a.more, b.more) : (a.more ?? b.more);
    return both;
  }

  #field(a: FieldShape, b: FieldShape): FieldShape {
    const shape = this.shape(a.shape, b.shape);
    const isOptional = a.isOptional || b.isOptional;
    const isNullable = (a.isNullable || b.isNullable) && shape.kind !== "value";
    if (isOptional && isNullable) return { ...a, shape: value("it may be null", shape), isOptional, isNullable: false };
    return { ...a, shape, isOptional, isNullable };
  }
}

function optional(field: FieldShape): FieldShape {
  if (!field.isNullable) return { ...field, isOptional: true };
  return { ...field, shape: value("it may be null", field.shape), isOptional: true, isNullable: false };
}
