/** Header fields of strangers, and forms in pieces of any size. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { Fault } from "../log/index.ts";
import { seeded } from "../wire/seed.ts";
import { parseChecksum, parseDigest } from "./digest.ts";
import { nameOf, parseBoolean, parseFilename, parseInteger, parseMetadata } from "./fields.ts";
import { bytesOf, Lab, sha256 } from "./testing.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await new Lab().start();
});
afterAll(() => lab.close());

test("what is no value is none", () => {
  expect(["5", " 7", "0", "-1", "1.5", "1e3", "", "9".repeat(16)].map(parseInteger)).toEqual([
    5,
    7,
    0,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(["?1", "?0", "1", "true", "?2", ""].map(parseBoolean)).toEqual([
    true,
    false,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(parseDigest("Content-Digest", "unknown=:AAAA:")).toBeUndefined();
  expect(parseDigest("Content-Digest", "sha-256=:AAAA:, sha-512=:BBBB:")).toEqual({
    algorithm: "sha512",
    base64: "BBBB",
  });
});

test("names are for people: no folders, no codes for terminals", () => {
  expect(parseFilename('attachment; filename="../../etc/passwd"')).toBe("passwd");
  expect(parseFilename("attachment; filename=C:\\dir\\a.txt")).toBe("a.txt");
  expect(parseFilename(`inline; filename="x"; filename*=UTF-8''${encodeURIComponent("ü/ß.txt")}`)).toBe("ß.txt");
  expect(parseFilename(`inline; filename="x"; filename*=UTF-8''%ff`)).toBe("x");
  expect([nameOf("a\u001b[2Jb"), nameOf(".."), nameOf(""), nameOf(undefined), nameOf("a".repeat(999))!.length]).toEqual(
    ["a[2Jb", undefined, undefined, undefined, 255],
  );
});

test("nothing that somebody sends is worse than a fault", () => {
  const random = seeded(42);
  const alphabet = "abc=:,; \"\\'*%?1~\u0000é/+-sha256 sha-512=:";
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from(
      { length: Math.floor(random() * 40) },
      () => alphabet[Math.floor(random() * alphabet.length)],
    ).join("");
    for (const parse of [
      parseMetadata,
      parseChecksum,
      parseFilename,
      (each: string) => parseDigest("Content-Digest", each),
    ]) {
      try {
        parse(text);
      } catch (thrown) {
        if (!(thrown instanceof Fault) || thrown.code !== "invalid_argument")
          throw new Error(`${JSON.stringify(text)}: ${thrown}`);
      }
    }
  }
});

test("a form arrives the same in pieces of any size", async () => {
  const random = seeded(7);
  // Full of what looks like the boundary.
  const boundary = "--edge";
  const file = new Uint8Array(
    Buffer.concat([bytesOf(3000), Buffer.from("\r\n----edg\r\n--edge\r\n--\r\n----e".repeat(40)), bytesOf(2000, 3)]),
  );
  const body = Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="width"\r\n\r\n12\r\n`),
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n`),
    file,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const head = `POST /files/hash HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${body.length}\r\n\r\n`;
  for (let round = 0; round < 12; round++) {
    const most = [1, 2, 7, 64, 1500, 4000][round % 6]!;
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(lab.port, "127.0.0.1");
      socket.setNoDelay(true);
      let text = "";
      socket.on("data", (data) => {
        text += data;
      });
      socket.on("close", () => resolve(text));
      socket.write(head);
      let at = 0;
      const next = (): void => {
        // A few small pieces here and there: each of them would take a while.
        const size = 1 + Math.floor(random() * (random() < 0.3 ? most : 4000));
        if (at >= body.length) return;
        socket.write(body.subarray(at, at + size), () => setImmediate(next));
        at += size;
      };
      next();
    });
    expect(answer).toStartWith("HTTP/1.1 200");
    expect(answer).toContain(sha256(file));
  }
});
