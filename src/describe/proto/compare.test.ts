/** What breaks those who know a contract, and what does not; each change from one contract to the next. */
import { describe, expect, test } from "bun:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Fault } from "../../log/index.ts";
import { seeded } from "../../wire/seed.ts";
import { describeProto, draftProto, RECURSION_LIMIT } from "./index.ts";
import { messagesOf } from "./messages.ts";
import type { ProtoFile } from "./model.ts";
import { parseProto } from "./parse.ts";
import { CHANGES, type Change } from "./testing/changes.ts";
import { contractOf, method, randomCase } from "./testing/contracts.ts";

const NONE: ReadonlyMap<string, string> = new Map();

function draftOf({ before, after }: Change) {
  const pins = describeProto(contractOf("s", before)).files;
  return draftProto(contractOf("s", after), pins).get("s")!;
}

describe("changes", () => {
  for (const change of CHANGES) {
    test(`${change.name}: ${change.breaks === undefined ? "nothing breaks" : change.breaks}`, () => {
      const { breaks, text } = draftOf(change);
      const told = breaks.map(({ where, what }) => `${where} ${what}`);
      if (change.breaks === undefined) expect(told).toEqual([]);
      else expect(told.join("\n")).toContain(change.breaks);
      for (const { hint } of breaks) expect(hint).not.toBe("");
      for (const part of change.text ?? []) expect(text).toContain(part);
      // Written again it is the same: a file that was accepted is at rest.
      const again = draftProto(contractOf("s", change.after), new Map([["s", text]])).get("s")!;
      expect([again.text, again.breaks, again.additions]).toEqual([text, [], []]);
    });
  }
});

describe("pins", () => {
  const object = (...names: string[]) => ({
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
  });

  test("keep numbers through additions, removals and another order", () => {
    let pins = NONE;
    const step = (...names: string[]) => {
      pins = new Map([["s", draftProto(contractOf("s", { m: method(object(...names)) }), pins).get("s")!.text]]);
      const body = /message MRequest \{\n([^}]*)\}/.exec(pins.get("s")!)![1]!;
      return body.trim().split(/\n\s*/);
    };
    expect(step("a", "b")).toEqual(["optional string a = 1;", "optional string b = 2;"]);
    expect(step("new", "b", "a")).toEqual([
      "optional string new = 3;",
      "optional string b = 2;",
      "optional string a = 1;",
    ]);
    expect(step("a", "new")).toEqual([
      "reserved 2;",
      'reserved "b";',
      "optional string a = 1;",
      "optional string new = 3;",
    ]);
    expect(step("new", "more")).toEqual([
      "reserved 1 to 2;",
      'reserved "b", "a";',
      "optional string new = 3;",
      "optional string more = 4;",
    ]);
  });

  test("numbers that implementations keep are passed over", () => {
    const { files } = describeProto(contractOf("s", { m: method(object("a")) }));
    const pins = new Map([["s", files.get("s")!.replace("a = 1", "a = 18999")]]);
    const { text } = draftProto(contractOf("s", { m: method(object("a", "b")) }), pins).get("s")!;
    expect(text).toContain("optional string b = 20000;");
  });

  test("a server refuses a contract that breaks them, with what and how to go on", () => {
    const before = contractOf("s", { m: method({ type: "object", properties: { a: { type: "string" } } }) });
    const after = contractOf("s", { m: method({ type: "object", properties: { a: { type: "boolean" } } }) });
    try {
      describeProto(after, describeProto(before).files);
      expect.unreachable();
    } catch (thrown) {
      const { code, message, hint, fields } = thrown as Fault;
      expect([code, message]).toEqual([
        "failed_precondition",
        "the contract breaks its readers: s.MRequest.a was string and is bool",
      ]);
      expect(hint).toContain("keep the type");
      expect(hint).toContain("--check");
      expect(fields).toHaveLength(1);
    }
  });

  test("may be written by hand: comments, white space and order do not matter", () => {
    const text = `syntax="proto3";package s;
/* a block
   of text */ import 'x'`
      .replace(" import 'x'", "")
      .concat(`service S{rpc M(MRequest)returns(MResponse){option idempotency_level=NO_SIDE_EFFECTS;};}
message MResponse{google.protobuf.Value value=1;}
message MRequest{reserved 4 to 6,9;reserved "old";optional string a=7;}`);
    const draft = draftProto(
      contractOf("s", { m: method(object("a", "b"), {}, "unary", true) }),
      new Map([["s", text]]),
    );
    const { breaks, additions, text: written } = draft.get("s")!;
    expect([breaks, additions]).toEqual([[], ["s.MRequest.b"]]);
    expect(written).toContain("reserved 4 to 6, 9;");
    expect(written).toContain("optional string b = 10;");
  });

  test.each([
    ["message A { string a = 1; string b = 1; }", "s.proto:1: A.b = 1: the number is taken (a)"],
    ["message A { string a = 1; string a = 2; }", "A has two fields a"],
    ["message A { reserved 3; string a = 3; }", "A.a = 3: the number is taken (reserved)"],
    ["message A { string a = 0; }", "expected a field's number"],
    ["message A { string a 1; }", "expected =, found 1"],
    ["message A {", "the file ends too early"],
    ["message A { ? }", 'unexpected "?"'],
    ["enum A { B = 0; }", 'unexpected "enum"'],
  ])("%s cannot be read: %s", (body, message) => {
    const text = `syntax = "proto3"; package s; ${body}`;
    let told: unknown;
    try {
      draftProto(contractOf("s", { m: method({}) }), new Map([["s", text]]));
    } catch (thrown) {
      told = thrown;
    }
    expect(told).toBeInstanceOf(Fault);
    expect((told as Fault).code).toBe("invalid_argument");
    expect((told as Fault).message).toContain(message);
  });

  test("damaged in any way they are read, or told of as bad input", () => {
    const whole = describeProto(contractOf("s", { m: method(object("a", "b"), object("c"), "bidi", false) })).files.get(
      "s",
    )!;
    const pieces = [
      "{",
      "}",
      ";",
      '"',
      "reserved",
      "1",
      "=",
      "optional",
      "/*",
      "//",
      "\u0000",
      "map<",
      "to",
      "99999999999",
    ];
    for (let seed = 1; seed <= 2_000; seed++) {
      const next = seeded(seed);
      const at = Math.floor(next() * whole.length);
      const piece = next() < 0.5 ? "" : pieces[Math.floor(next() * pieces.length)]!;
      const text = whole.slice(0, at) + piece + whole.slice(at + Math.floor(next() * 20));
      try {
        draftProto(contractOf("s", { m: method(object("a")) }), new Map([["s", text]]));
      } catch (thrown) {
        expect([seed, (thrown as Fault).code]).toEqual([seed, "invalid_argument"]);
      }
    }
  });

  test("of another package are not taken", () => {
    const pins = new Map([["s", 'syntax = "proto3"; package other;']]);
    expect(() => describeProto(contractOf("s", { m: method({}) }), pins)).toThrow("of the package other, not s");
  });
});

describe("random contracts, one after the other, with all breaks accepted", () => {
  const SEEDS = 150;
  test(`${SEEDS} histories of four: no number means two things, and nothing is lost`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const next = seeded(seed);
      /** What was ever sent under each number. */
      const meanings = new Map<string, string>();
      let pins = NONE;
      for (let version = 0; version < 4; version++) {
        const of = { input: randomCase(next, 1), output: randomCase(next, 1) };
        const contract = contractOf("s", {
          m: method(of.input.schema, of.output.schema, version % 2 ? "unary" : "bidi"),
        });
        const { text } = draftProto(contract, pins).get("s")!;
        for (const [key, meaning] of meaningsOf(parseProto(text, "s.proto"))) {
          expect([seed, version, key, meanings.get(key) ?? meaning]).toEqual([seed, version, key, meaning]);
          meanings.set(key, meaning);
        }
        pins = new Map([["s", text]]);
        const { methods, files, unpinned } = describeProto(contract, pins);
        expect([files.get("s"), unpinned]).toEqual([text, []]);
        const { input, output } = methods.get("/s.S/M")!;
        for (const [codec, { value }] of [
          [input, of.input],
          [output, of.output],
        ] as const) {
          for (let n = 0; n < 5; n++) {
            const given = value(next, 0);
            const bytes = toBinary(codec.desc, codec.toMessage(given));
            const got = codec.fromMessage(fromBinary(codec.desc, bytes, { recursionLimit: RECURSION_LIMIT }));
            if (!Bun.deepEquals(got, given, true))
              expect({ seed, version, got }).toEqual({ seed, version, got: given });
          }
        }
      }
    }
  }, 120_000);
});

/** By the numbers that lead there, as they are sent: a message that nobody refers to any more may be another one later. */
function meaningsOf(file: ProtoFile): Map<string, string> {
  const messages = messagesOf(file);
  const meanings = new Map<string, string>();
  const walk = (path: string, key: string): void => {
    for (const { number, jsonName, type, label } of messages.get(path)?.fields ?? []) {
      const at = `${key} ${number}`;
      meanings.set(at, `${jsonName}: ${label === "optional" ? "required" : label} ${type}`);
      walk(type, at);
    }
  };
  for (const { input, output } of file.service!.rpcs) for (const path of [input, output]) walk(path, path);
  return meanings;
}
