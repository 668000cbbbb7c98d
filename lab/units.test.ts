import { describe, expect, test } from "bun:test";
import { parseBytes, parseDuration, parseLoss, parsePart, parseRate } from "./units.ts";

describe("what people type", () => {
  test("is a time, a rate, a part, a loss, a size", () => {
    expect(["100ms", "1.5s", "250us", "7"].map(parseDuration)).toEqual([100, 1_500, 0.25, 7]);
    expect(["10mbit", "500kbit", "2MB/s", "1000"].map(parseRate)).toEqual([1e7, 5e5, 1.6e7, 1_000]);
    expect(["1%", "0.01", "0", "100%"].map(parsePart)).toEqual([0.01, 0.01, 0, 1]);
    expect(parseLoss("burst:1%:25%")).toEqual({ toBad: 0.01, toGood: 0.25 });
    expect(["64k", "1M", "1500"].map(parseBytes)).toEqual([64_000, 1_000_000, 1_500]);
  });

  test("or is refused with how it is written", () => {
    for (const text of ["", "-5ms", "5 minutes", "1e3"]) expect(() => parseDuration(text)).toThrow("write it as 100ms");
    for (const text of ["0", "fast", "-1mbit"]) expect(() => parseRate(text)).toThrow("write it as 10mbit");
    for (const text of ["101%", "1.01", "-1%"]) expect(() => parsePart(text)).toThrow("write it as 1%");
    for (const text of ["burst", "burst:1%", "burst:1%:2%:3%"]) expect(() => parseLoss(text)).toThrow("not a loss");
    expect(() => parseBytes("64q")).toThrow("write it as 64k");
  });

  test("a rate at which nothing ends is refused", () => {
    for (const text of ["10", "999", "100B/s"]) expect(() => parseRate(text)).toThrow("slower than 1kbit");
    expect(parseRate("1kbit")).toBe(1_000);
  });
});
