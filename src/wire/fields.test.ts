import { describe, expect, test } from "bun:test";
import { negotiate } from "./accept.ts";
import { hasEtag, parseEtags } from "./etag.ts";
import { isTooDeep } from "./json.ts";
import { parsePrefer } from "./prefer.ts";
import { seeded } from "./seed.ts";
import { parseKey } from "./sf.ts";
import { childTraceparent, parseTraceparent } from "./traceparent.ts";

describe("Prefer (RFC 7240)", () => {
  test.each([
    ["respond-async", true, undefined],
    ["respond-async, wait=10", true, 10],
    ["wait=10;x=y , Respond-Async", true, 10],
    ['wait="5"', false, 5],
    ["wait=10, wait=20", false, 10],
    ["wait=-1", false, undefined],
    ["wait=soon, lenient", false, undefined],
    ['foo="a, respond-async", wait=3', false, 3],
    ["", false, undefined],
    ['"', false, undefined],
    [String.raw`foo="a\", respond-async", wait=3`, false, 3],
  ] as const)("%s", (header, respondAsync, wait) => {
    expect(parsePrefer(header)).toEqual({ respondAsync, wait });
  });
  test("quotes that are never closed take as long as they are", () => {
    expect(parsePrefer(`respond-async, a="${'\\"'.repeat(1_000_000)}`)).toEqual({
      respondAsync: true,
      wait: undefined,
    });
  });
});

describe("Idempotency-Key (RFC 9651 §3.3.3)", () => {
  test.each([
    ["8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ['"8e03978e"', "8e03978e"],
    [String.raw`"a\"b\\c d"`, String.raw`a"b\c d`],
    ['""', undefined],
    ["", undefined],
    ['"open', undefined],
    ['"a", "b"', undefined],
    ["a, b", undefined],
    ["ü", undefined],
  ] as const)("%s", (header, key) => {
    expect(parseKey(header)).toBe(key);
  });
});

describe("Accept (RFC 9110 §12.5.1)", () => {
  const offers = ["application/json", "text/event-stream", "application/x-ndjson"] as const;
  test.each([
    [null, "application/json"],
    ["*/*", "application/json"],
    ["text/event-stream", "text/event-stream"],
    ["text/html, application/x-ndjson;q=0.5, */*;q=0.1", "application/x-ndjson"],
    ["application/*;q=0.2, text/event-stream;q=0.3", "text/event-stream"],
    ["application/json;q=0, */*", "text/event-stream"],
    ["Application/JSON; charset=utf-8", "application/json"],
    ["text/html", undefined],
    ["text/event-stream;q=oops", undefined],
  ] as const)("%s", (header, type) => {
    expect(negotiate(header, offers)).toBe(type);
  });
});

describe("If-None-Match (RFC 9110 §13.1.2)", () => {
  test("lists, weak tags and the star", () => {
    expect(parseEtags('"a", W/"b,c" ,"d"')).toEqual(["a", "b,c", "d"]);
    expect(hasEtag('"a", W/"b"', "b")).toBe(true);
    expect(hasEtag("*", "anything")).toBe(true);
    expect(hasEtag('"a"', "b")).toBe(false);
    expect(hasEtag("a", "a")).toBe(false);
    expect(hasEtag(null, "a")).toBe(false);
  });
});

describe("traceparent (W3C Trace Context §3.2)", () => {
  const header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  test("a child has the trace, a span of its own, and the flag", () => {
    const parent = parseTraceparent(header)!;
    const child = childTraceparent(parent, seeded(1));
    expect(child).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/);
    expect(child).not.toBe(header);
    expect(parseTraceparent(childTraceparent(parent, () => 0))).toBeDefined();
  });
  test.each([
    header.replace("00-", "ff-"),
    header.toUpperCase(),
    `${header}-more`,
    header.replace("00f067aa0ba902b7", "0000000000000000"),
    header.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0".repeat(32)),
    "garbage",
  ])("not one: %s", (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });
  test("a later version may say more", () => {
    expect(parseTraceparent(`01${header.slice(2)}-more`)).toBeDefined();
  });
});

describe("depth of JSON", () => {
  test("brackets in strings do not count", () => {
    const text = JSON.stringify({ text: `${"[".repeat(500)}\\"{`, more: ["\\\\", "[[["] });
    expect(isTooDeep(text, 2)).toBe(false);
    expect(isTooDeep(`[[[${"1,".repeat(10)}1]]]`, 2)).toBe(true);
    expect(isTooDeep(`[[[${"1,".repeat(10)}1]]]`, 3)).toBe(false);
  });

  test("agrees with the depth of what was made", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      let deepest = 0;
      const make = (depth: number): unknown => {
        const kind = random();
        if (kind < 0.3 || depth > 12) return '"\\[{'.repeat(random() * 4);
        deepest = Math.max(deepest, depth);
        const children = Array.from({ length: Math.floor(random() * 4) }, () => make(depth + 1));
        return kind < 0.6 ? children : Object.fromEntries(children.map((child, i) => [`k"]${i}`, child]));
      };
      const text = JSON.stringify(make(1));
      for (const max of [1, 3, 6]) expect([seed, max, isTooDeep(text, max)]).toEqual([seed, max, deepest > max]);
    }
  });
});
