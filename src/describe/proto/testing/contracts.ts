/** Contracts for tests: schemas that are given as JSON Schema, and random ones. */
import type { AnySchema, Contract } from "../../../contract/index.ts";
import { type Method, service, type Topic, unary } from "../../../contract/index.ts";

type Json = Record<string, unknown>;

/** A schema that is nothing but its JSON Schema: it takes everything. */
export function schemaOf(input: Json, output: Json = input): AnySchema {
  const validate = (value: unknown) => ({ value });
  const jsonSchema = { input: () => input, output: () => output };
  return { "~standard": { version: 1, vendor: "test", validate, jsonSchema } } as unknown as AnySchema;
}

export function method(input: Json, output: Json = {}, kind: Method["kind"] = "unary", safe = false): Method {
  const made = unary({ input: schemaOf(input), output: schemaOf(output), safe }, () => null);
  return { ...made, kind } as Method;
}

export function contractOf(name: string, members: Readonly<Record<string, Method | Topic>>): Contract {
  service(name, members);
  const methods = new Map<string, Method>();
  const topics = new Map<string, Topic>();
  for (const [key, member] of Object.entries(members)) {
    if (member.type === "method") methods.set(`${name}/${key}`, member);
    else topics.set(key, member);
  }
  return { methods, topics, owners: new Map([...topics.keys()].map((topic) => [topic, name])) };
}

export type Random = () => number;

export interface Case {
  readonly schema: Json;
  /** A value that the schema allows. */
  readonly value: (random: Random, depth: number) => unknown;
}

const NAMES = [
  "a", "b", "aB", "a_b", "A", "pauseMs", "URLParts", "x-y", "x.y", "größe", "", " ", "1st", "$ref", "constructor",
  "toString", "valueOf", "value", "values", "backtalkCursor", "backtalk_cursor", "message", "optional", "map",
  "additionalProperties", "reserved", "google", "backtalk", "\u0001\"\\", "日本", "_", "__", "a__b", "caseEntry", "type",
]; // biome-ignore format: one line of names says more than one line a name

/** A random schema, and what makes values for it. */
export function randomCase(next: Random, depth = 0): Case {
  const kinds = depth > 3 ? 8 : 16;
  switch (Math.floor(next() * kinds)) {
    case 0:
      return { schema: { type: "string" }, value: text };
    case 1:
      return { schema: { type: "boolean" }, value: (random) => random() < 0.5 };
    case 2:
      return { schema: { type: "number" }, value: number };
    case 3: {
      const [minimum, maximum] = pick([[-5, 5], [0, 2 ** 31 - 1], [-(2 ** 31), 0], [0, 2 ** 31], [-(2 ** 53) + 1, 2 ** 53 - 1]], next); // biome-ignore format: a table
      const value = (random: Random) => pick([minimum!, maximum!, Math.round((minimum! + maximum!) / 2)], random);
      return { schema: { type: "integer", minimum, maximum }, value };
    }
    case 4: {
      const values = pick<unknown[]>([["x", "y"], [1, 2, -7], [true], ["a", 1, null], [1.5, 2], [null]], next);
      return { schema: { enum: values }, value: (random) => pick(values, random) };
    }
    case 5:
      return { schema: {}, value: anything };
    case 6:
      return { schema: { type: ["string", "null"] }, value: (random) => (random() < 0.5 ? null : text(random)) };
    case 7:
      return { schema: { type: ["number", "boolean"] }, value: (random) => (random() < 0.5 ? true : number(random)) };
    case 8:
    case 9:
      return listOf(randomCase(next, depth + 1));
    case 10: {
      const of = randomCase(next, depth + 1);
      return { schema: { type: "object", additionalProperties: of.schema }, value: (r, d) => some(r, d, of) };
    }
    case 11: {
      const of = randomCase(next, depth + 1);
      const schema = { anyOf: [of.schema, { type: "null" }] };
      return { schema, value: (random, d) => (random() < 0.3 ? null : of.value(random, d)) };
    }
    default:
      return objectOf(next, depth);
  }
}

function listOf(of: Case): Case {
  const value = (random: Random, depth: number) =>
    Array.from({ length: Math.floor(random() * 4) }, () => of.value(random, depth + 1));
  return { schema: { type: "array", items: of.schema }, value };
}

function objectOf(next: Random, depth: number): Case {
  const names = [...new Set(Array.from({ length: Math.floor(next() * 7) }, () => pick(NAMES, next)))];
  const fields = names.map((name) => ({ name, of: randomCase(next, depth + 1), isRequired: next() < 0.5 }));
  const more = next() < 0.2 ? randomCase(next, depth + 1) : undefined;
  const schema = {
    type: "object",
    properties: Object.fromEntries(fields.map(({ name, of }) => [name, of.schema])),
    required: fields.filter(({ isRequired }) => isRequired).map(({ name }) => name),
    ...(more && { additionalProperties: more.schema }),
  };
  const value = (random: Random, level: number) => {
    const object: Json = {};
    for (const { name, of, isRequired } of fields) {
      if (isRequired || random() < 0.5) object[name] = of.value(random, level + 1);
    }
    // As JSON.parse has it, `__proto__` is a name like any other.
    const rest = more ? some(random, level, more) : {};
    for (const key of Object.keys(rest)) if (!names.includes(key)) define(object, key, rest[key]);
    return object;
  };
  return { schema, value };
}

function some(random: Random, depth: number, of: Case): Json {
  const object: Json = {};
  for (let n = Math.floor(random() * 4); n > 0; n--) {
    define(object, pick(["k", "", "__proto__", "constructor", "ключ", "more"], random), of.value(random, depth + 1));
  }
  return object;
}

function define(object: Json, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function text(random: Random): string {
  return pick(["", "x", "größe", "日本 🎉", "\u0000", "a".repeat(300), "__proto__"], random);
}

function number(random: Random): number {
  return pick([0, 1, -1, 0.1, 1e300, -1e-300, 2 ** 53 + 2, Math.PI, 5e-324], random);
}

function anything(random: Random, depth: number): unknown {
  switch (Math.floor(random() * (depth > 6 ? 4 : 6))) {
    case 0:
      return null;
    case 1:
      return text(random);
    case 2:
      return number(random);
    case 3:
      return random() < 0.5;
    case 4:
      return Array.from({ length: Math.floor(random() * 4) }, () => anything(random, depth + 1));
    default:
      return some(random, depth, { schema: {}, value: anything });
  }
}

function pick<T>(of: readonly T[], random: Random): T {
  return of[Math.floor(random() * of.length)]!;
}
