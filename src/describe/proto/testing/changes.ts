/** Changes of a contract and what they break: for the comparison, and for a second opinion on it by `buf breaking`. */
import type { Method, MethodKind, Topic } from "../../../contract/index.ts";
import { topic } from "../../../contract/index.ts";
import { method, schemaOf } from "./contracts.ts";

type Json = Record<string, unknown>;
type Members = Readonly<Record<string, Method | Topic>>;

export interface Change {
  readonly name: string;
  readonly before: Members;
  readonly after: Members;
  /** Words of the break; undefined when nothing breaks. */
  readonly breaks?: string;
  /** What the new file has. */
  readonly text?: readonly string[];
  /**
   * Why `buf breaking` (category WIRE_JSON) says otherwise: it knows of numbers and types, not of what a caller has
   * to send or may rely on.
   */
  readonly bufDiffers?: string;
}

const text = { type: "string" };
const int = { type: "integer", minimum: 0, maximum: 100 };
const long = { type: "integer", minimum: 0, maximum: 2 ** 53 - 1 };
const number = { type: "number" };
const list = { type: "array", items: text };

function object(properties: Json, ...required: string[]): Json {
  return { type: "object", properties, required };
}

/** One method `m`: its input changes, and its output stays. */
function input(before: Json, after: Json): Pick<Change, "before" | "after"> {
  return { before: { m: method(before) }, after: { m: method(after) } };
}

function output(before: Json, after: Json): Pick<Change, "before" | "after"> {
  return { before: { m: method({}, before) }, after: { m: method({}, after) } };
}

function event(schema: Json, open = true): Topic {
  return topic({ event: schemaOf(schema), open }) as Topic;
}

function kind(name: MethodKind, isSafe = false): Members {
  return { m: method(object({ a: text }), object({ b: text }), name, isSafe) };
}

const PRESENCE = "over the wire presence is no matter";

export const CHANGES: readonly Change[] = [
  { name: "nothing", ...input(object({ a: text }, "a"), object({ a: text }, "a")) },
  { name: "a new optional input", ...input(object({ a: text }), object({ a: text, b: text })) },
  {
    name: "a new required input",
    ...input(object({ a: text }), object({ a: text, b: text }, "b")),
    breaks: 's.MRequest.b is new, and the input must have "b"',
    bufDiffers: PRESENCE,
  },
  {
    name: "an optional input that is required now",
    ...input(object({ a: text }), object({ a: text }, "a")),
    breaks: "s.MRequest.a could be absent, and the input must have it",
    bufDiffers: PRESENCE,
  },
  { name: "a required input that is optional now", ...input(object({ a: text }, "a"), object({ a: text })) },
  {
    name: "an input that is removed",
    ...input(object({ a: text, b: int }), object({ a: text })),
    text: ["reserved 2;", 'reserved "b";'],
  },
  { name: "a new output", ...output(object({ a: text }, "a"), object({ a: text, b: int }, "a", "b")) },
  {
    name: "an output that is optional now",
    ...output(object({ a: text }, "a"), object({ a: text })),
    breaks: "s.MResponse.a was always in what is answered, and can be absent",
    bufDiffers: PRESENCE,
  },
  { name: "an output that is required now", ...output(object({ a: text }), object({ a: text }, "a")) },
  {
    name: "a required output that is removed",
    ...output(object({ a: text, b: text }, "a", "b"), object({ a: text }, "a")),
    breaks: "s.MResponse.b was always in what is answered",
    text: ["reserved 2;"],
    bufDiffers: "a removed field is fine by it when its number and name are reserved",
  },
  {
    name: "an optional output that is removed",
    ...output(object({ a: text, b: text }, "a"), object({ a: text }, "a")),
    text: ["reserved 2;", 'reserved "b";'],
  },
  {
    name: "another type",
    ...input(object({ a: text }), object({ a: int })),
    breaks: "s.MRequest.a was string and is int32",
    text: ["reserved 1;", "optional int32 a = 2;"],
  },
  {
    name: "a list in the place of one",
    ...input(object({ a: text }, "a"), object({ a: list }, "a")),
    breaks: "s.MRequest.a was string and is repeated string",
  },
  {
    name: "a map in the place of a list",
    ...output(object({ a: list }, "a"), object({ a: { type: "object", additionalProperties: text } }, "a")),
    breaks: "s.MResponse.a was repeated string and is map<string, string>",
  },
  {
    name: "a whole number that needs more bits",
    ...input(object({ a: int }), object({ a: long })),
    breaks: "s.MRequest.a was int32 and is int64",
  },
  {
    name: "a whole number that needs fewer bits keeps its type",
    ...input(object({ a: long }), object({ a: int })),
    text: ["optional int64 a = 1;"],
  },
  {
    name: "a number that is whole now keeps its type",
    ...output(object({ a: number }, "a"), object({ a: int }, "a")),
    text: ["double a = 1;"],
  },
  {
    name: "what was anything keeps its type",
    ...output(object({ a: {} }, "a"), object({ a: list }, "a")),
    text: ["google.protobuf.Value a = 1;"],
  },
  {
    name: "what can be null now, besides absent",
    ...input(object({ a: text }), object({ a: { type: ["string", "null"] } })),
    breaks: "s.MRequest.a was string and is google.protobuf.Value",
  },
  {
    name: "a list that may be absent, and is always there now, stays wrapped",
    ...output(object({ a: list }), object({ a: list }, "a")),
    text: ["AList a = 1;"],
  },
  {
    name: "nested: a new required input",
    ...input(object({ a: object({}) }, "a"), object({ a: object({ b: text }, "b") }, "a")),
    breaks: "s.MRequest.A.b is new",
    bufDiffers: PRESENCE,
  },
  {
    name: "a method that is removed",
    before: { m: method(object({})), n: method(object({})) },
    after: { m: method(object({})) },
    breaks: "s.N was removed",
  },
  { name: "a new method", before: { m: method({}) }, after: { n: method({}), m: method({}) } },
  {
    name: "a unary method that streams",
    before: kind("unary"),
    after: kind("serverStream"),
    breaks: "s.M was unary and is serverStream",
  },
  {
    name: "a stream of the caller that is one",
    before: kind("bidi"),
    after: kind("serverStream"),
    breaks: "s.M was bidi and is serverStream",
  },
  {
    name: "a safe method that is not any more",
    before: kind("unary", true),
    after: kind("unary"),
    breaks: "s.M is not `safe` any more",
  },
  {
    name: "a method that is safe now",
    before: kind("unary"),
    after: kind("unary", true),
    bufDiffers: "it takes any change of idempotency_level for a break; that GET works besides hurts nobody",
  },
  {
    name: "a topic that is removed",
    before: { m: method({}), t: event({}) },
    after: { m: method({}) },
    breaks: "s.SubscribeT was removed",
  },
  {
    name: "a topic that is closed",
    before: { t: event({}) },
    after: { t: event({}, false) },
    breaks: "s.PublishT was removed",
  },
  {
    name: "a method that takes the name of what a topic had",
    before: { t: event({}) },
    after: { publishT: method({}), t: event({}) },
    breaks: "s.PublishT was (s.TEvent) returns (backtalk.v1.PublishResponse) and is",
  },
  { name: "a topic that is open now", before: { t: event({}, false) }, after: { t: event({}) } },
  {
    name: "an event with a new property that publishers must give",
    before: { t: event(object({ a: text }, "a")) },
    after: { t: event(object({ a: text, b: text }, "a", "b")) },
    breaks: "s.TEvent.b is new",
    bufDiffers: PRESENCE,
  },
  {
    name: "an event of a closed topic with a new property",
    before: { t: event(object({ a: text }, "a"), false) },
    after: { t: event(object({ a: text, b: text }, "a", "b"), false) },
  },
  {
    name: "an event with a property that readers have not always",
    before: { t: event(object({ a: text }, "a")) },
    after: { t: event(object({ a: text })) },
    breaks: "s.TEvent.a was always in what is answered, and can be absent",
    bufDiffers: PRESENCE,
  },
  {
    name: "an object that is a text now",
    ...output(object({ a: text }, "a"), text),
    breaks: "s.MResponse.a was always in what is answered",
    bufDiffers: "a removed field is fine by it when its number and name are reserved",
  },
];
