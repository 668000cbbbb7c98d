import { expect, test } from "bun:test";
import { seeded } from "../seed.ts";
import { type CaptureFile, readPcapng, writePcapng } from "./pcapng.ts";

const file: CaptureFile = {
  application: "backtalk",
  comment: "seed 7",
  interfaces: [{ name: "client", description: "at the client" }, { name: "dropped" }],
  keyLog: "CLIENT_RANDOM 00 11\n",
  packets: [
    { interface: 0, at: 1_790_000_000_123_456_789n, bytes: Uint8Array.of(1, 2, 3) },
    { interface: 1, at: 1_790_000_000_123_456_790n, bytes: Uint8Array.of(), size: 1_500, comment: "dropped: loss" },
  ],
};

test("what is written is read", () => {
  expect(readPcapng(writePcapng(file))).toEqual(file);
});

test("what is cut or changed is refused or read, by seed, and nothing else is thrown", () => {
  const random = seeded(11);
  const whole = writePcapng(file);
  for (let n = 0; n < 3_000; n++) {
    const bytes = whole.slice(0, Math.floor(random() * (whole.length + 1)));
    for (let flips = Math.floor(random() * 4); flips > 0 && bytes.length > 0; flips--) {
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    }
    try {
      readPcapng(bytes);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(RangeError);
    }
  }
});
