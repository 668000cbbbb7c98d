/** Codecs: what a schema allows comes back as it was. */
import { describe, expect, test } from "bun:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { type AnySchema, LIMITS, type Method, topic, unary } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { seeded } from "../../wire/seed.ts";
import { describeProto, type MessageCodec, RECURSION_LIMIT } from "./index.ts";
import { contractOf, method, randomCase } from "./testing/contracts.ts";

function throughBytes({ desc, toMessage, fromMessage }: MessageCodec, value: unknown): unknown {
  const bytes = toBinary(desc, toMessage(value));
  return fromMessage(fromBinary(desc, bytes, { recursionLimit: RECURSION_LIMIT }));
}

function codecsOf(schema: Record<string, unknown>): MessageCodec[] {
  const contract = contractOf("s", { m: method(schema, schema), n: method(schema, schema, "bidi") });
  const { methods } = describeProto(contract);
  return [...methods.values()].flatMap(({ input, output }) => [input, output]);
}

function codecOf(schema: AnySchema): MessageCodec {
  const made = unary({ input: schema, output: schema }, (value) => value) as unknown as Method;
  return describeProto(contractOf("s", { m: made })).methods.get("/s.S/M")!.input;
}

describe("random schemas", () => {
  const SEEDS = 400;
  test(`${SEEDS} of them, with 20 values each, lose nothing`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const next = seeded(seed);
      const { schema, value } = randomCase(next);
      const codecs = codecsOf(schema);
      for (let n = 0; n < 20; n++) {
        const given = value(next, 0);
        for (const codec of codecs) {
          const got = throughBytes(codec, given);
          if (Bun.deepEquals(got, given, true)) continue;
          expect({ seed, schema, got }).toEqual({ seed, schema, got: given });
        }
      }
    }
  }, 120_000);

  test("have text that pins itself: read again, it changes nothing", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const { schema } = randomCase(seeded(seed));
      const contract = contractOf("s", { m: method(schema, schema), n: method(schema, schema, "bidi") });
      const { files } = describeProto(contract);
      const again = describeProto(contract, files);
      const withoutHead = (text: string | undefined) => text?.slice(text.indexOf("syntax"));
      expect([seed, withoutHead(again.files.get("s"))]).toEqual([seed, withoutHead(files.get("s"))]);
      expect(again.unpinned).toEqual([]);
      expect(describeProto(contract, again.files).files).toEqual(again.files);
    }
  }, 60_000);
});

describe("shapes", () => {
  const node: z.ZodType = z.object({
    name: z.string(),
    get children() {
      return z.array(node);
    },
    get next() {
      return node.nullable();
    },
    get maybe() {
      return node.optional();
    },
  });
  const json: z.ZodType = z.lazy(() => z.union([z.string(), z.null(), z.array(json), z.record(z.string(), json)]));

  test("that contain themselves", () => {
    const leaf = { name: "c", children: [], next: null };
    const value = { name: "a", children: [leaf, leaf], next: { ...leaf, children: [leaf] }, maybe: leaf };
    expect(throughBytes(codecOf(node as AnySchema), value)).toEqual(value);
    expect(
      throughBytes(codecOf(z.object({ tree: node, trees: z.array(node) })), { tree: value, trees: [value] }),
    ).toEqual({
      tree: value,
      trees: [value],
    });
    expect(throughBytes(codecOf(json as AnySchema), { a: ["x", null, [["y"]]] })).toEqual({ a: ["x", null, [["y"]]] });
  });

  test("that refer to themselves without an end are anything", () => {
    for (const schema of [
      { $ref: "#" },
      { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
      { anyOf: [{ $ref: "#" }, { type: "string" }] },
      { $ref: "https://example.org/schema" },
    ]) {
      for (const codec of codecsOf(schema)) expect(throughBytes(codec, [null])).toEqual([null]);
    }
    for (const codec of codecsOf({ type: "array", items: { $ref: "#" } })) {
      expect(throughBytes(codec, [[], [[]]])).toEqual([[], [[]]]);
    }
    const own = { type: ["object", "null"], properties: { a: { $ref: "#" }, b: { $ref: "#/properties/a" } } };
    for (const codec of codecsOf(own)) expect(throughBytes(codec, { a: null, b: {} })).toEqual({ a: null, b: {} });
  });

  test("as deep as JSON may be", () => {
    let value: unknown = 1;
    for (let depth = 1; depth < LIMITS.jsonDepth; depth++) value = depth % 2 ? { a: value } : [value];
    expect(throughBytes(codecOf(z.unknown()), value)).toEqual(value);
  });

  test("of definitions with a name are messages of that name", () => {
    const photo = z.object({ width: z.int() }).meta({ id: "Photo" });
    const contract = contractOf("s", {
      m: unary(
        { input: z.object({ one: photo, many: z.array(photo) }), output: z.null() },
        () => null,
      ) as unknown as Method,
    });
    const text = describeProto(contract).files.get("s")!;
    expect(text).toContain("  Photo one = 1;\n  repeated Photo many = 2;\n\n  message Photo {\n    int64 width = 1;");
  });

  test("of several objects at once, and of objects with more than their names", () => {
    const both = codecOf(z.intersection(z.object({ a: z.string() }), z.object({ b: z.int().optional() })));
    expect(both.desc.fields.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(throughBytes(both, { a: "x", b: 1 })).toEqual({ a: "x", b: 1 });
    const loose = codecOf(z.looseObject({ a: z.string(), additionalProperties: z.int() }));
    const value = { a: "x", additionalProperties: 1, more: [1, { a: null }], "": false };
    expect(throughBytes(loose, value)).toEqual(value);
    // What has a field does not come in as something else.
    const message = loose.toMessage({ a: "x", additionalProperties: 1 }) as unknown as Record<string, unknown>;
    message["additionalProperties2"] = {
      a: { $typeName: "google.protobuf.Value", kind: { case: "numberValue", value: 7 } },
    };
    expect(loose.fromMessage(message as never)).toEqual({ a: "x", additionalProperties: 1 });
    const merged = codecOf(z.intersection(z.object({ a: z.string() }), z.object({ a: z.string() })));
    expect(throughBytes(merged, { a: "x" })).toEqual({ a: "x" });
  });

  test("a method without input or output is called with undefined", () => {
    const codec = codecOf(z.void());
    expect(throughBytes(codec, undefined)).toBe(undefined);
  });

  test("absent, empty and null are told apart", () => {
    const codec = codecOf(
      z.object({
        list: z.array(z.string()).optional(),
        map: z.record(z.string(), z.int()).optional(),
        text: z.string().optional(),
        none: z.string().nullable(),
        nullList: z.array(z.int()).nullable(),
        both: z.string().nullish(),
        object: z.object({}).optional(),
      }),
    );
    for (const value of [
      { none: null, nullList: null },
      { list: [], map: {}, text: "", none: "", nullList: [], both: "", object: {} },
      { none: "x", nullList: [0], both: null },
    ]) {
      expect(throughBytes(codec, value)).toEqual(value);
    }
  });
});

describe("what is more than JSON", () => {
  class Money {
    readonly cents: number;
    constructor(cents: number) {
      this.cents = cents;
    }
    toJSON() {
      return { cents: this.cents };
    }
  }
  const odd = {
    at: new Date(0),
    list: [undefined, Number.NaN, new Money(1), () => 1],
    none: undefined,
    call: () => 1,
    money: new Money(2),
  };

  test("becomes what JSON.stringify makes of it", () => {
    const json: unknown = JSON.parse(JSON.stringify(odd));
    expect(throughBytes(codecOf(z.unknown()), odd)).toEqual(json);
    expect(throughBytes(codecOf(z.record(z.string(), z.unknown())), odd)).toEqual(json);
    const cents = { type: "object", properties: { cents: { type: "number" } } };
    const typed = { type: "object", properties: { at: { type: "string" }, money: cents } };
    const expected = { at: odd.at.toJSON(), money: { cents: 2 } };
    for (const codec of codecsOf(typed)) expect(throughBytes(codec, odd)).toEqual(expected);
  });

  test("and what JSON.stringify refuses is refused", () => {
    expect(caught(() => codecOf(z.unknown()).toMessage({ a: [1n] })).message).toContain("a[0] is not JSON");
  });
});

describe("what a message cannot hold", () => {
  const schema = z.object({ n: z.int32(), big: z.int(), list: z.array(z.object({ s: z.string(), d: z.number() })) });
  const codec = codecOf(schema);
  const good = { n: 1, big: 1, list: [] };
  test.each([
    [{ ...good, n: 1.5 }, "n must be a whole number of 32 bits"],
    [{ ...good, n: 2 ** 31 }, "n must be a whole number of 32 bits"],
    [{ ...good, big: 2 ** 53 }, "big must be a whole number, exact up to 2^53"],
    [{ ...good, list: [{ s: 1, d: 1 }] }, "list[0].s must be a string"],
    [{ ...good, list: [{ s: "\ud800", d: 1 }] }, "list[0].s has half of a surrogate pair"],
    [{ ...good, list: [{ s: "", d: Number.NaN }] }, "list[0].d must be a number of JSON"],
    [{ ...good, list: {} }, "list must be an array"],
    [{ n: 1, big: 1 }, "list is missing"],
    [[], "it must be an object"],
    ["x", "it must be an object"],
  ])("%j", (value, message) => {
    const fault = caught(() => codec.toMessage(value));
    expect(fault.code).toBe("invalid_argument");
    expect(fault.message).toContain(message);
  });

  test("from the wire: numbers that JSON has not", () => {
    const message = codec.toMessage(good) as unknown as { big: bigint };
    message.big = 2n ** 60n;
    expect(caught(() => codec.fromMessage(message as never)).message).toContain("big is a whole number beyond 2^53");
  });
});

describe("names", () => {
  test("that are one in Protocol Buffers are refused with a hint", () => {
    const fault = caught(() => describeProto(contractOf("s", { isPrime: method({}), is_prime: method({}) })));
    expect([fault.code, fault.message]).toEqual([
      "failed_precondition",
      "s has two members that are IsPrime in Protocol Buffers",
    ]);
  });

  test("a method keeps its name where a topic would take it", () => {
    const members = { publishTicks: method({}), subscribe_ticks: method({}), ticks: topic({ event: z.object({}) }) };
    const { topics, methods } = describeProto(contractOf("s", members as never));
    expect([...methods.keys()]).toEqual(["/s.S/PublishTicks", "/s.S/SubscribeTicks"]);
    expect([...topics.keys()]).toEqual(["/s.S/SubscribeTopicTicks"]);
    expect(topics.get("/s.S/SubscribeTopicTicks")!.publish!.name).toBe("PublishTopicTicks");
  });

  test("an event with a default is published without and read with it", () => {
    const event = z.object({ n: z.int(), at: z.number().default(0) });
    const { topics, files } = describeProto(contractOf("s", { ticks: topic({ event }) as never }));
    expect(files.get("s")).toContain("optional double at = 2;");
    const { event: codec } = topics.get("/s.S/SubscribeTicks")!;
    for (const value of [{ n: 1 }, { n: 1, at: 5 }]) expect(throughBytes(codec, value)).toEqual(value);
  });
});

function caught(run: () => unknown): Fault {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}
