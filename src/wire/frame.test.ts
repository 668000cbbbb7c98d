import { describe, expect, test } from "bun:test";
import { encodeEvents, encodeEventsTail, encodeMessage } from "./frame.ts";
import { parseClientMessage } from "./frame-parse.ts";

const limits = { jsonDepth: 8 };
const parse = (value: unknown) => parseClientMessage(typeof value === "string" ? value : JSON.stringify(value), limits);

/** One of each, with every member. */
const GOOD = [
  { type: "auth", token: "t" },
  { type: "call", id: 0, method: "s/m", input: [1], key: "k", keep: true, timeoutMs: 0.5, credit: 0, traceparent: "x" },
  { type: "call", id: 2 ** 53 - 1, method: "s/m" },
  { type: "attach", id: 1, call: "c", after: "now", credit: 2, follow: false },
  { type: "subscribe", id: 1, topic: "t", after: "start", credit: 2 },
  { type: "credit", id: 1, n: 2 ** 31 - 1 },
  { type: "items", id: 1, call: "c", seq: 0, items: [], end: true },
  { type: "publish", id: 1, topic: "t", event: null, key: "" },
  { type: "state", id: 1, call: "c", after: "x", waitMs: 0 },
  { type: "cancel", id: 1 },
  { type: "leave", id: 1 },
  { type: "pong" },
] as const;

describe("messages of a client", () => {
  test("each form is taken as it is, and unknown members are ignored", () => {
    for (const message of GOOD) {
      expect(parse(message)).toEqual(message as never);
      expect(parse({ ...message, unknown: { x: 1 } })).toMatchObject({ type: message.type });
    }
  });

  const bad: readonly (readonly [what: string, message: unknown, expected: object])[] = [
    ["not JSON", "{", { path: "", isOpening: false }],
    ["an array", [], { path: "" }],
    ["null", "null", { path: "" }],
    ["no type", {}, { path: "type" }],
    ["an unknown type", { type: "toString" }, { path: "type" }],
    ["an unknown type of a newer client", { type: "later", id: 3 }, { path: "type", id: 3, isOpening: true }],
    ["a type of the prototype", '{"type":"__proto__"}', { path: "type" }],
    ["no id", { type: "leave" }, { path: "id" }],
    ["a negative id", { type: "leave", id: -1 }, { path: "id" }],
    ["a broken id", { type: "leave", id: 1.5 }, { path: "id" }],
    ["an id as text", { type: "call", id: "1", method: "m" }, { path: "id" }],
    ["a large id", '{"type":"leave","id":9007199254740993}', { path: "id" }],
    ["credit that is no number", { type: "credit", id: 1, n: "1" }, { path: "n", id: 1 }],
    ["credit below 0", { type: "credit", id: 1, n: -1 }, { path: "n", id: 1 }],
    ["endless credit", '{"type":"credit","id":1,"n":1e999}', { path: "n" }],
    ["a subscription without credit", { type: "subscribe", id: 1, topic: "t" }, { path: "credit", isOpening: true }],
    ["items that are no list", { type: "items", id: 1, items: {} }, { path: "items", isOpening: false }],
    ["items of a call", { type: "items", id: 1, call: "c" }, { path: "items", isOpening: true }],
    ["an empty method", { type: "call", id: 7, method: "" }, { path: "method", id: 7, isOpening: true }],
    ["a long topic", { type: "publish", id: 1, topic: "t".repeat(2000), event: 1 }, { path: "topic" }],
    ["no event", { type: "publish", id: 1, topic: "t" }, { path: "event" }],
    ["a timeout of nothing", { type: "call", id: 1, method: "m", timeoutMs: 0 }, { path: "timeoutMs" }],
  ];
  for (const [what, message, expected] of bad) {
    test(`${what} is bad`, () => {
      expect(parse(message)).toMatchObject({ type: "bad", ...expected });
    });
  }

  test("what nests too deep is not parsed, and its id is known when it comes first", () => {
    const deep = "[".repeat(30) + "]".repeat(30);
    const expected = { type: "bad", limit: "jsonDepth", id: 12, isOpening: true };
    expect(parse(`{"type":"call","id":12,"method":"m","input":${deep}}`)).toMatchObject(expected);
    expect(parse(`{"method":"m","type":"call","id":12,"input":${deep}}`)).not.toHaveProperty("id");
    const allowed = "[".repeat(8) + "]".repeat(8);
    expect(parse(`{"type":"call","id":12,"method":"m","input":${allowed}}`)).toMatchObject({ type: "call" });
  });

  test("any text gives a message or the reason, never an exception", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = generator(seed);
      for (let n = 0; n < 100; n++) {
        const text = mutated(JSON.stringify(GOOD[Math.floor(random() * GOOD.length)]), random);
        const message = parse(text);
        if (message.type !== "bad" && "id" in message) expect(Number.isSafeInteger(message.id)).toBe(true);
        if (message.type === "items") expect(message.items).toBeArray();
      }
    }
  });
});

describe("messages of the server", () => {
  test("events are JSON, with their data and the verdict's state as they were", () => {
    const events = [
      { cursor: "e-a1", kind: "item", json: '{"a":[1,"\\u2028"]}', at: 5 },
      { cursor: "e-a2", kind: "end", json: "{}", at: 6 },
    ];
    const verdict = { verdict: "gap", from: 'e"', to: "e-a0", state: "[7]" };
    expect(JSON.parse(encodeEvents(3, encodeEventsTail(events, "e-a2"), verdict))).toEqual({
      type: "events",
      id: 3,
      verdict: { verdict: "gap", from: 'e"', to: "e-a0", state: [7] },
      events: [
        { cursor: "e-a1", kind: "item", at: 5, data: { a: [1, "\u2028"] } },
        { cursor: "e-a2", kind: "end", at: 6, data: {} },
      ],
      cursor: "e-a2",
    });
    expect(JSON.parse(encodeEvents(0, encodeEventsTail([], "e-a2")))).toEqual({
      type: "events",
      id: 0,
      events: [],
      cursor: "e-a2",
    });
  });

  test("a result that is nothing has no data", () => {
    expect(encodeMessage({ type: "result", id: 1, data: undefined })).toBe('{"type":"result","id":1}');
  });
});

/** Numbers that repeat by seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function mutated(text: string, random: () => number): string {
  let result = text;
  for (let times = 1 + Math.floor(random() * 4); times > 0; times--) {
    const at = Math.floor(random() * result.length);
    const piece = PIECES[Math.floor(random() * PIECES.length)]!;
    const cut = Math.floor(random() * 6);
    result = result.slice(0, at) + piece + result.slice(at + cut);
  }
  return result;
}

const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "null",
  "-1",
  "1e400",
  "\\u0000",
  "\ud800",
  "true",
  "",
  "[[[[[[[[[[",
];
