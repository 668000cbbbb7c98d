import { expect, test } from "bun:test";
import { readTcp } from "../../src/wire/packet/ip.ts";
import { readFrames } from "../../src/wire/packet/quic-frames.ts";
import { readHandshake } from "../../src/wire/packet/tls.ts";
import { seeded } from "../../src/wire/seed.ts";
import type { Seen } from "../wire/index.ts";
import { udpFrame } from "../wire/testing.ts";
import { EARLY_SECRET } from "./keys.ts";
import type { Segment } from "./segments.ts";
import { quicStory, tcpStory } from "./story.ts";
import { Stream } from "./streams.ts";

/** A segment with so many bytes at this place of its stream. */
function segment(offset: number, bytes: number): Segment {
  const tcp = readTcp(
    Buffer.concat([Buffer.from("0001000200000001000000015010000000000000", "hex"), Buffer.alloc(bytes)]),
  )!;
  const seen: Seen = { at: 0, leftAt: 0, from: 0, to: 1, size: 0, bytes: new Uint8Array(0) };
  return { seen, tcp, isOpener: true, sequence: offset + 1, acknowledged: 0, window: 0 };
}

test("a byte was there when the first packet that has it was, in whatever order they came", () => {
  const stream = new Stream();
  for (const [offset, bytes, at] of [
    [0, 100, 1],
    // One is missing, and comes after the next; then both again.
    [200, 100, 2],
    [100, 100, 3],
    [100, 200, 4],
    [300, 10, 5],
  ] as const) {
    stream.add(segment(offset, bytes), at);
  }
  expect(stream.bytes.length).toBe(310);
  expect([0, 99, 100, 199, 200, 299, 300, 309].map((offset) => stream.timeOf(offset))).toEqual([
    1, 1, 3, 3, 2, 2, 5, 5,
  ]);
  expect(stream.timeOf(310)).toBe(Number.POSITIVE_INFINITY);
});

test("bytes without sense are read without an error", () => {
  for (let seed = 1; seed <= 2_000; seed++) {
    const random = seeded(seed);
    const bytes = Uint8Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256));
    // Half of them begin as an Initial.
    if (seed % 2 === 0) bytes.set([0xc0, 0, 0, 0, 1, 8].slice(0, bytes.length));
    readHandshake(bytes);
    readFrames(bytes);
    const frame = udpFrame("10.0.0.1", 1, "10.0.0.2", 2, "x".repeat(bytes.length));
    frame.set(bytes, 42);
    const seen: Seen[] = [{ at: 1, leftAt: 2, from: 0, to: 1, size: frame.length, bytes: frame }];
    quicStory(seen, 0, ["nonsense", `${EARLY_SECRET} 00 ${"00".repeat(32)}`]);
    const tcp = frame.slice();
    tcp[23] = 6;
    tcpStory([{ ...seen[0]!, bytes: tcp }], 0, []);
  }
});
