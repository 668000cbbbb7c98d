/** Gives shapes their messages: names, and numbers as they are pinned. */
import {
  CURSOR_FIELD,
  CURSOR_NUMBER,
  type ProtoField,
  type ProtoFile,
  type ProtoMessage,
  type Reserved,
  VALUE,
} from "./model.ts";
import { folded, pascal, snake, unique } from "./names.ts";
import { type ElementShape, type FieldShape, type MessageShape, type Shape, value, wrapped } from "./shape.ts";

/** A message as it is built, and what its codec is made of. */
export interface MessagePlan {
  /** The whole name, with the package. */
  readonly path: string;
  readonly name: string;
  readonly shape: MessageShape;
  readonly fields: FieldPlan[];
  readonly messages: MessagePlan[];
  reserved: Reserved;
  isStreamed: boolean;
  comment: string | undefined;
}

export interface FieldPlan {
  /** Undefined for the properties that have no name of their own in the schema. */
  readonly property: string | undefined;
  readonly field: ProtoField;
  readonly shape: Shape;
  readonly isNullable: boolean;
}

export type Pins = ReadonlyMap<string, ProtoMessage>;

/** The messages of a file by their whole names. */
export function messagesOf(file: ProtoFile): Map<string, ProtoMessage> {
  const all = new Map<string, ProtoMessage>();
  const add = (message: ProtoMessage, scope: string) => {
    const path = `${scope}.${message.name}`;
    all.set(path, message);
    for (const each of message.messages) add(each, path);
  };
  for (const message of file.messages) add(message, file.package);
  return all;
}

/** All messages of one input, output or event. */
export class MessageBuilder {
  readonly #pins: Pins;
  /** Names that a nested message must not have, so that a name means one message wherever it is written. */
  readonly #topNames: ReadonlySet<string>;
  readonly #plans: Map<MessageShape, MessagePlan>;
  #root: MessagePlan | undefined;
  #taken = new Map<MessagePlan, Set<string>>();

  constructor(pins: Pins, topNames: ReadonlySet<string>, plans: Map<MessageShape, MessagePlan>) {
    this.#pins = pins;
    this.#topNames = topNames;
    this.#plans = plans;
  }

  /** What is no object becomes a message with the one field `value`. */
  root(shape: Shape, scope: string, name: string): MessagePlan {
    const message = shape.kind === "message" ? shape : wrapped(shape, "value");
    const plan = this.#plan(message, scope, name);
    this.#root = plan;
    this.#fill(plan);
    return plan;
  }

  #plan(shape: MessageShape, scope: string, name: string): MessagePlan {
    const path = `${scope}.${name}`;
    const reserved = { numbers: [], names: [] };
    const plan: MessagePlan = {
      path,
      name,
      shape,
      fields: [],
      messages: [],
      reserved,
      isStreamed: false,
      comment: undefined,
    };
    this.#plans.set(shape, plan);
    this.#taken.set(plan, new Set(this.#topNames));
    return plan;
  }

  #fill(plan: MessagePlan): void {
    const { shape, path } = plan;
    const pinned = this.#pins.get(path);
    const known = pinned?.fields.filter(({ number }) => number !== CURSOR_NUMBER) ?? [];
    const byJsonName = new Map(known.map((field) => [field.jsonName, field]));
    const names = new Set([folded(CURSOR_FIELD), ...known.map(({ name }) => folded(name))]);
    const numbers = new Numbers(pinned);
    const add = (given: FieldShape, property: string | undefined) => {
      const jsonName = jsonNameOf(given.property);
      const before = byJsonName.get(jsonName);
      const name = before?.name ?? unique(snake(given.property), names, "_");
      const { shape: fitted, type, label } = this.#type(plan, given, before);
      const isSame = before?.type === type && cardinality(before.label) === cardinality(label);
      const number = isSame ? before.number : numbers.next();
      const comment = commentOf(given, fitted);
      const field: ProtoField = { name, jsonName, number, type, label, comment };
      plan.fields.push({ property, field, shape: fitted, isNullable: given.isNullable && fitted.kind !== "value" });
    };
    for (const field of shape.fields) add(field, field.property);
    if (shape.more) {
      const property = free("additionalProperties", new Set(shape.fields.map((field) => field.property)));
      const all: Shape = { kind: "map", of: shape.more };
      const comment = "Properties besides those that have a field.";
      add({ property, shape: all, isOptional: false, isNullable: false, comment }, undefined);
    }
    plan.reserved = reservedOf(pinned, plan);
  }

  #type(plan: MessagePlan, given: FieldShape, before: ProtoField | undefined) {
    const isAbsent = given.isOptional || given.isNullable;
    const shape = widened(given.shape, before, given.isNullable);
    const label = given.isOptional || (given.isNullable && shape.kind !== "value") ? "optional" : "required";
    if (shape.kind === "list" || shape.kind === "map") {
      const suffix = shape.kind === "list" ? "List" : "Map";
      // What was wrapped stays so, although it is always there now.
      const isWrapped = isAbsent || before?.type === `${plan.path}.${pascal(given.property)}${suffix}`;
      if (isWrapped) {
        const whole = wrapped(shape, "values");
        return { shape: whole, type: this.#name(plan, whole, given.property, suffix, before), label } as const;
      }
      const of = shape.kind === "list" ? "Item" : "Value";
      const type = this.#name(plan, shape.of, given.property, of, before);
      return { shape, type, label: shape.kind === "list" ? "repeated" : "map" } as const;
    }
    return { shape, type: this.#name(plan, shape, given.property, "", before), label } as const;
  }

  /** The type's name; a message is planned where it is first used, one with a name of its own in the outermost message. */
  #name(plan: MessagePlan, shape: ElementShape, property: string, suffix: string, before: ProtoField | undefined) {
    if (shape.kind === "scalar") return shape.type;
    if (shape.kind === "value") return VALUE;
    const known = this.#plans.get(shape);
    if (known) return known.path;
    const scope = shape.name === undefined ? plan : this.#root!;
    const taken = this.#taken.get(scope)!;
    const pinnedName = before?.type.startsWith(`${scope.path}.`) ? before.type.slice(scope.path.length + 1) : undefined;
    const wanted = shape.name === undefined ? `${pascal(property)}${suffix}` : pascal(shape.name);
    // A number after the name is kept as it is pinned.
    const isPinned =
      pinnedName !== undefined && /^\d*$/.test(pinnedName.slice(wanted.length)) && pinnedName.startsWith(wanted);
    const name = isPinned && !taken.has(folded(pinnedName)) ? pinnedName : unique(wanted, taken);
    taken.add(folded(name));
    // The compiler makes messages of maps, and calls them so.
    const nested = this.#plan(shape, scope.path, /Entry$/.test(name) ? unique(`${name}Message`, taken) : name);
    scope.messages.push(nested);
    this.#fill(nested);
    return nested.path;
  }
}

/** Numbers that were never used in this message. */
class Numbers {
  #last: number;

  constructor(pinned: ProtoMessage | undefined) {
    const used = [...(pinned?.fields.map(({ number }) => number) ?? []), ...(pinned?.reserved.numbers ?? [])];
    this.#last = Math.max(0, ...used.filter((number) => number !== CURSOR_NUMBER));
  }

  next(): number {
    this.#last++;
    // Kept for implementations of Protocol Buffers.
    if (this.#last >= 19_000 && this.#last < 20_000) this.#last = 20_000;
    return this.#last;
  }
}

/** A type that is pinned and holds all that the new one allows is kept: readers know it. */
function widened(shape: Shape, before: ProtoField | undefined, isNullable: boolean): Shape {
  if (!before) return shape;
  const isSingular = before.label === "required" || before.label === "optional";
  if (isSingular && before.type === VALUE && shape.kind !== "value") {
    return value(isNullable ? "it may be null" : "its type was wider before");
  }
  if (isSingular) return widenedElement(shape, before.type);
  if (shape.kind === "list" && before.label === "repeated") return { kind: "list", of: element(shape.of, before.type) };
  if (shape.kind === "map" && before.label === "map") return { kind: "map", of: element(shape.of, before.type) };
  return shape;
}

function element(of: ElementShape, type: string): ElementShape {
  if (type === VALUE && of.kind !== "value") return value("its type was wider before");
  return widenedElement(of, type);
}

function widenedElement<S extends Shape>(shape: S, type: string): S {
  if (shape.kind !== "scalar") return shape;
  const isWider = (type === "double" && /^int/.test(shape.type)) || (type === "int64" && shape.type === "int32");
  return isWider ? { ...shape, type } : shape;
}

function reservedOf(pinned: ProtoMessage | undefined, plan: MessagePlan): Reserved {
  const numbers = new Set(pinned?.reserved.numbers);
  const names = new Set(pinned?.reserved.names);
  for (const { name, number } of pinned?.fields ?? []) {
    if (number === CURSOR_NUMBER || plan.fields.some(({ field }) => field.number === number)) continue;
    numbers.add(number);
    names.add(name);
  }
  // A name that came back is told of as a break; who accepts it gets a file that can be read.
  for (const { field } of plan.fields) names.delete(field.name);
  return { numbers: [...numbers].sort((a, b) => a - b), names: [...names] };
}

/** The property, but for those that are called as the cursor's field is. */
function jsonNameOf(property: string): string {
  return folded(property) === folded(CURSOR_FIELD) ? `${property}_` : property;
}

function cardinality(label: ProtoField["label"]): string {
  return label === "optional" ? "required" : label;
}

function free(name: string, taken: ReadonlySet<string>): string {
  let found = name;
  for (let n = 2; taken.has(found); n++) found = `${name}${n}`;
  return found;
}

/** More values than anybody reads. */
const MAX_VALUES = 32;

function commentOf(given: FieldShape, shape: Shape): string | undefined {
  const parts = given.comment === undefined ? [] : [given.comment];
  const inner = shape.kind === "list" || shape.kind === "map" ? shape.of : shape;
  if (inner.kind === "scalar" && inner.values) {
    const shown = inner.values.slice(0, MAX_VALUES).map((each) => JSON.stringify(each));
    const more = inner.values.length > MAX_VALUES ? ", ..." : "";
    parts.push(shown.length === 1 ? `Always ${shown[0]}.` : `One of ${shown.join(", ")}${more}.`);
  }
  if (inner.kind === "value") parts.push(`Any JSON: ${inner.why}.`);
  if (given.isNullable && shape.kind !== "value") parts.push("Null when absent.");
  if (shape.kind === "message" && shape.isWrapper) parts.push("A message, so that absent is told from empty.");
  return parts.length === 0 ? undefined : parts.join("\n");
}
