import { expect, test } from "bun:test";
import { LineSplitter, LineTooLong, NotUtf8 } from "./ndjson.ts";
import { seeded } from "./seed.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("lines cut anywhere come out whole; empty ones do not", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const values = Array.from({ length: 20 }, () => ({
      n: Math.floor(random() * 1e6),
      text: "€🙂x".repeat(random() * 9),
    }));
    const ending = random() < 0.5 ? "\n" : "\r\n\n";
    const isEnded = random() < 0.5;
    const all = bytes(values.map((value) => JSON.stringify(value)).join(ending) + (isEnded ? ending : ""));
    const splitter = new LineSplitter(1000);
    const lines: string[] = [];
    const buffer = new Uint8Array(64);
    for (let at = 0; at < all.length; ) {
      const size = Math.min(1 + Math.floor(random() * 40), all.length - at);
      // The same buffer again and again, as a socket may do it.
      buffer.set(all.subarray(at, at + size));
      lines.push(...splitter.feed(buffer.subarray(0, size)));
      at += size;
    }
    const rest = splitter.end();
    expect(rest === undefined).toBe(isEnded);
    if (rest !== undefined) lines.push(rest);
    expect(lines.map((line) => JSON.parse(line))).toEqual(values);
  }
});

test("a line that is too long is refused before it is complete", () => {
  const splitter = new LineSplitter(10);
  expect(splitter.feed(bytes("0123456789\n"))).toEqual(["0123456789"]);
  splitter.feed(bytes("01234"));
  expect(() => splitter.feed(bytes("567890"))).toThrow(LineTooLong);
});

test("what is not UTF-8 is refused", () => {
  expect(() => new LineSplitter(10).feed(Uint8Array.of(0xff, 0xfe, 10))).toThrow(NotUtf8);
  const cut = new LineSplitter(10);
  cut.feed(Uint8Array.of(0xe2, 0x82));
  expect(() => cut.end()).toThrow(NotUtf8);
});
