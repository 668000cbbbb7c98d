import { describe, expect, test } from "bun:test";
import { toolsOf } from "../../suites/store/case.ts";
import { encodeFrame, type FrameError, FrameReader } from "./length-prefix.ts";

/** Everything that comes of these pieces. */
function read(pieces: readonly Uint8Array[], most = 1000) {
  const reader = new FrameReader(most);
  const texts: string[] = [];
  let error: FrameError | undefined;
  for (const piece of pieces) error = reader.push(piece, (text) => texts.push(text));
  return { texts, error, isInside: reader.isInside };
}

const bytes = (...numbers: number[]) => Uint8Array.from(numbers);

describe("length-prefixed messages", () => {
  test("are four bytes of length, the most significant first, and UTF-8", () => {
    expect([...encodeFrame("aü")]).toEqual([0, 0, 0, 3, 0x61, 0xc3, 0xbc]);
    expect(encodeFrame("x".repeat(66_000)).readUInt32BE()).toBe(66_000);
  });

  test("any split of the bytes gives the same messages", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const { random, pick } = toolsOf(seed);
      const texts = Array.from({ length: 1 + pick(12) }, () =>
        "aü€😀\u0000 ".repeat(pick(pick(3) === 0 ? 2000 : 8)).slice(0, -1),
      );
      const whole = Buffer.concat(texts.map(encodeFrame));
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < whole.length; ) {
        const size = random() < 0.5 ? 1 + pick(4) : 1 + pick(5000);
        // A piece is a copy that is overwritten after: nothing of it may be kept.
        pieces.push(Uint8Array.from(whole.subarray(at, at + size)));
        at += size;
      }
      const reader = new FrameReader(100_000);
      const got: string[] = [];
      for (const piece of pieces) {
        expect(reader.push(piece, (text) => got.push(text))).toBeUndefined();
        piece.fill(0xff);
      }
      // A half of a pair of surrogates becomes U+FFFD on the way to UTF-8.
      expect(got, `seed ${seed}`).toEqual(texts.map((text) => text.toWellFormed()));
      expect(reader.isInside).toBe(false);
    }
  });

  test("byte by byte", () => {
    const whole = Buffer.concat(["", "{}", "ü".repeat(300)].map(encodeFrame));
    expect(read([...whole].map((byte) => bytes(byte)))).toEqual({
      texts: ["", "{}", "ü".repeat(300)],
      error: undefined,
      isInside: false,
    });
  });

  test("a length above the limit is refused before its bytes, and nothing after it is read", () => {
    for (const prefix of [bytes(0, 0, 3, 233), bytes(0xff, 0xff, 0xff, 0xff), bytes(0x80, 0, 0, 0)]) {
      const length = Buffer.from(prefix).readUInt32BE();
      const before = encodeFrame("ok");
      const after = encodeFrame("no");
      expect(read([Buffer.concat([before, prefix, after]), after])).toMatchObject({
        texts: ["ok"],
        error: { error: "tooLarge", length },
      });
    }
    expect(read([encodeFrame("x".repeat(1000))]).texts).toHaveLength(1);
  });

  test("what is not UTF-8 is refused", () => {
    for (const wrong of [bytes(0xff), bytes(0xc3), bytes(0xed, 0xa0, 0x80), bytes(0xc0, 0xaf)]) {
      expect(read([bytes(0, 0, 0, wrong.length), wrong, encodeFrame("no")])).toMatchObject({
        texts: [],
        error: { error: "notText" },
      });
    }
    // A byte order mark is a character like any other: JSON does not have it.
    expect(read([encodeFrame("\uFEFF{}")]).texts).toEqual(["\uFEFF{}"]);
  });

  test("a message that is cut off is none", () => {
    const whole = encodeFrame("hello");
    for (let size = 1; size < whole.length; size++) {
      expect(read([whole.subarray(0, size)])).toEqual({ texts: [], error: undefined, isInside: true });
    }
  });

  test("a length alone costs nothing, and a slow message at most twice its bytes", () => {
    const most = 2 ** 30;
    const readers = Array.from({ length: 2000 }, () => new FrameReader(most));
    const before = process.memoryUsage().arrayBuffers;
    // 2,000 times 1 GiB is claimed, and 8 bytes of each are sent.
    for (const reader of readers) reader.push(bytes(0x3f, 0xff, 0xff, 0xff, 1, 2, 3, 4), () => {});
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    expect(readers.every((reader) => reader.isInside)).toBe(true);
  });

  test("garbage is an error or waits for more, and never more than was sent", () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const { pick } = toolsOf(seed);
      const garbage = Uint8Array.from({ length: pick(200) }, () => (pick(3) === 0 ? 0 : pick(256)));
      const { texts } = read([garbage.subarray(0, 50), garbage.subarray(50)], 100);
      expect(texts.join("").length).toBeLessThanOrEqual(garbage.length);
    }
  });
});
