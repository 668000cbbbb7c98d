import { describe, expect, test } from "bun:test";
import { bodyObject, DATAGRAM, type DatagramType, encodeDatagram, jsonBytes, parseDatagram } from "./datagram.ts";
import { seeded } from "./seed.ts";

const TYPES = Object.values(DATAGRAM) as DatagramType[];
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("a datagram", () => {
  test("has the bytes of the protocol", () => {
    const bytes = encodeDatagram(DATAGRAM.ask, "00112233445566ff", jsonBytes({ method: "s/m" }), Uint8Array.of(1, 2));
    expect(text(bytes)).toBe(
      `b7010102${"00112233445566ff"}${"0102"}${Buffer.from('{"method":"s/m"}').toString("hex")}`,
    );
  });

  test("comes back as it was written, whatever its token and body", () => {
    const random = seeded(1);
    for (let n = 0; n < 5_000; n++) {
      const type = TYPES[Math.floor(random() * TYPES.length)]!;
      const id = text(bytesOf(8, random));
      const [token, body] = [bytesOf(Math.floor(random() * 256), random), bytesOf(Math.floor(random() * 900), random)];
      const datagram = parseDatagram(encodeDatagram(type, id, body, token));
      expect(datagram && { ...datagram, token: text(datagram.token), body: text(datagram.body) }).toEqual({
        type,
        id,
        token: text(token),
        body: text(body),
      });
    }
  });

  test("that is cut, changed or made up is read as something or as nothing, and never throws", () => {
    const random = seeded(2);
    let read = 0;
    for (let n = 0; n < 50_000; n++) {
      const whole = encodeDatagram(
        DATAGRAM.ask,
        "00112233445566ff",
        jsonBytes({ method: "s/m", input: n }),
        bytesOf(32, random),
      );
      let bytes = n % 3 === 0 ? bytesOf(Math.floor(random() * 80), random) : whole;
      if (n % 3 === 1) bytes = whole.slice(0, Math.floor(random() * whole.length));
      for (let i = 0; i < n % 4; i++) if (bytes.length > 0) bytes[Math.floor(random() * bytes.length)] = random() * 256;
      const datagram = parseDatagram(bytes);
      if (!datagram) continue;
      read++;
      expect(datagram.token.length + datagram.body.length).toBe(bytes.length - 12);
      expect(text(encodeDatagram(datagram.type, datagram.id, datagram.body, datagram.token))).toBe(text(bytes));
      expect(typeof (bodyObject(datagram.body) ?? {})).toBe("object");
    }
    expect(read).toBeGreaterThan(1_000);
  });

  test("of another version, type or length is nothing", () => {
    const good = encodeDatagram(DATAGRAM.ask, "00112233445566ff");
    expect(parseDatagram(good)).toBeDefined();
    for (const [at, value] of [
      [0, 0xb6],
      [1, 2],
      [2, 0x7f],
      [3, 1],
    ] as const) {
      const bad = good.slice();
      bad[at] = value;
      expect([at, parseDatagram(bad)]).toEqual([at, undefined]);
    }
    expect(parseDatagram(good.subarray(0, 11))).toBeUndefined();
  });
});

test("a body is an object in UTF-8, or nothing", () => {
  const of = (value: string | Uint8Array) => bodyObject(typeof value === "string" ? Buffer.from(value) : value);
  expect(of("")).toEqual({});
  expect(of(' {"a":1} ')).toEqual({ a: 1 });
  for (const bad of ["[1]", "null", "1", '"x"', "{", "{}x", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)]) {
    expect(of(bad)).toBeUndefined();
  }
});

function bytesOf(length: number, random: () => number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random() * 256);
}
