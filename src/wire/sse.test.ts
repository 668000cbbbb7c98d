import { describe, expect, test } from "bun:test";
import { seeded } from "./seed.ts";
import { encodeSse, SSE_COMMENT, SseDecoder, type SseOutput, SseTooLong } from "./sse.ts";

function decodeAll(chunks: readonly (string | Uint8Array)[]): SseOutput[] {
  const decoder = new SseDecoder();
  return chunks.flatMap((chunk) => decoder.feed(chunk));
}

const event = (data: string, id = "", name = "message"): SseOutput => ({ type: "event", id, event: name, data });

describe("the examples of WHATWG HTML §9.2.6", () => {
  test("two lines of data are one event", () => {
    expect(decodeAll(["data: YHOO\ndata: +2\ndata: 10\n\n"])).toEqual([event("YHOO\n+2\n10")]);
  });

  test("comment, ids, an id that is reset", () => {
    const text = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    expect(decodeAll([text])).toEqual([
      { type: "comment", text: "test stream" },
      event("first event", "1"),
      event("second event"),
      event(" third event"),
    ]);
  });

  test("an event without data is not dispatched; what is unfinished is thrown away", () => {
    expect(decodeAll(["data\n\ndata\ndata\n\ndata:"])).toEqual([event(""), event("\n")]);
    expect(decodeAll(["event: x\nid: 7\n\ndata: a\n\n"])).toEqual([event("a", "7")]);
  });

  test("data:test and data: test are the same", () => {
    expect(decodeAll(["data:test\n\ndata: test\n\n"])).toEqual([event("test"), event("test")]);
  });
});

test("a byte order mark, retry, unknown fields, an id with NUL", () => {
  const bytes = new TextEncoder().encode("\ufeffretry: 250\nretry: 1x\nfoo: bar\nid: a\0b\ndata: x\n\n");
  expect(decodeAll([bytes])).toEqual([{ type: "retry", ms: 250 }, event("x")]);
});

test("what is too long is refused, and not kept", () => {
  const line = new SseDecoder({ maxChars: 100 });
  expect(() => line.feed("x".repeat(101))).toThrow(SseTooLong);
  const lines = new SseDecoder({ maxChars: 100 });
  expect(() => {
    for (let i = 0; i < 200; i++) lines.feed("data: x\n");
  }).toThrow(SseTooLong);
});

test("the last event id that a reader came with is inherited", () => {
  expect(new SseDecoder({ lastEventId: "9" }).feed("data: x\n\n")).toEqual([event("x", "9")]);
});

test("what was encoded is decoded, with any line ends, cut anywhere", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
    const expected: SseOutput[] = [];
    let text = "";
    let id = "";
    for (let n = 0; n < 8; n++) {
      if (random() < 0.2) {
        text += SSE_COMMENT;
        expected.push({ type: "comment", text: "" });
      }
      let data = "";
      for (let i = Math.floor(random() * 12); i > 0; i--) data += pick(["a", "€", "🙂", " ", ":", "\n", "\r\n", '"']);
      const name = pick(["item", "progress"]);
      if (random() < 0.7) id = `c-${n}`;
      text += encodeSse({ ...(random() < 0.5 || id === `c-${n}` ? { id } : {}), event: name, data });
      expected.push(event(data.replace(/\r\n/g, "\n"), id, name));
    }
    const ending = pick(["\n", "\r", "\r\n"]);
    const bytes = new TextEncoder().encode(text.replace(/\n/g, ending));
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = Math.floor(random() * 7);
      chunks.push(bytes.subarray(at, at + size));
      at += size;
    }
    expect([seed, decodeAll(chunks)]).toEqual([seed, expected]);
  }
});

test("noise is survived", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seeded(seed);
    const decoder = new SseDecoder({ maxChars: 4096 });
    for (let n = 0; n < 20; n++) decoder.feed(Uint8Array.from({ length: 50 }, () => Math.floor(random() * 256)));
  }
});
