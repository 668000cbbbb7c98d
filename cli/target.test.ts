import { describe, expect, test } from "bun:test";
import { UsageError } from "./exit.ts";
import { readInput, readItems } from "./input.ts";
import { limitsOf } from "./limits.ts";
import { callUrl, methodName, serverUrl } from "./target.ts";

describe("addresses", () => {
  test.each([
    ["localhost:4400", "http://localhost:4400"],
    [":4400", "http://localhost:4400"],
    ["https://localhost:4443/", "https://localhost:4443"],
    ["http://[::1]:4400", "http://[::1]:4400"],
    ["https://example.com/api/", "https://example.com/api"],
    ["ws://localhost:4400", "http://localhost:4400"],
    ["wss://example.com", "https://example.com"],
    ["example.com", "http://example.com"],
  ])("%s", (text, url) => expect(serverUrl(text)).toBe(url));

  test.each(["", "ftp://x", "http://", "http://user:secret@host", "a b", "file:///etc/passwd"])("not %j", (text) => {
    expect(() => serverUrl(text)).toThrow(UsageError);
  });

  test("methods", () => {
    expect([methodName("studio.isPrime"), methodName("studio/isPrime")]).toEqual(["studio/isPrime", "studio/isPrime"]);
    for (const wrong of ["studio", "a.b.c", ".b", "a.", "../x", "a b.c"])
      expect(() => methodName(wrong)).toThrow(UsageError);
  });

  test("calls", () => {
    expect(callUrl("localhost:4400/calls/c1")).toEqual({ url: "http://localhost:4400", id: "c1" });
    expect(callUrl("https://example.com/api/calls/c1")).toEqual({ url: "https://example.com/api", id: "c1" });
    for (const wrong of ["c1", "/calls/c1", "http://host/calls/", "http://host/topics/x"]) {
      expect(() => callUrl(wrong)).toThrow(UsageError);
    }
  });
});

describe("input", () => {
  const stdin = new Blob(['{"a":1}\n\n{"a":2}\r\n{"a":3}']);
  test("as JSON, of a file, of stdin", async () => {
    const path = `${process.env["TMPDIR"] ?? "/tmp"}/backtalk-input-${crypto.randomUUID()}.json`;
    await Bun.write(path, "[1]");
    expect(await readInput('{"n":97}', stdin)).toEqual({ n: 97 });
    expect(await readInput(`@${path}`, stdin)).toEqual([1]);
    expect(await readInput("-", new Blob(["true"]))).toBe(true);
    expect(await readInput(undefined, stdin)).toBeUndefined();
    await Bun.file(path).delete();
  });
  test("items: a line each, or an array", async () => {
    expect(await Array.fromAsync(readItems("-", stdin))).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
    expect(await Array.fromAsync(readItems("[1,2]", stdin))).toEqual([1, 2]);
  });
  test("what is wrong is said, with its line", async () => {
    const failure = async (promise: Promise<unknown>) => (await promise.catch((thrown) => thrown)) as UsageError;
    expect((await failure(readInput("{n:97", stdin))).message).toStartWith("the input is not JSON");
    expect((await failure(readInput("@/does/not/exist", stdin))).message).toBe("there is no file /does/not/exist");
    expect((await failure(readInput("@/", stdin))).message).toContain("/");
    const lines = Array.fromAsync(readItems("-", new Blob(["1\nx\n"])));
    expect((await failure(lines)).message).toStartWith("line 2 of stdin is not JSON");
    expect(await failure(Array.fromAsync(readItems("{}", stdin)))).toBeInstanceOf(UsageError);
  });
});

test("limits", () => {
  expect(limitsOf(["bodyBytes=8M", "heldPolls=5"])).toEqual({ bodyBytes: 8 * 1024 * 1024, heldPolls: 5 });
  expect(() => limitsOf(["bodybytes=1"])).toThrow("there is no limit");
  for (const wrong of ["bodyBytes", "bodyBytes=", "bodyBytes=1.5", "bodyBytes=-1", "bodyBytes=lots"]) {
    expect(() => limitsOf([wrong])).toThrow("a limit is a whole number");
  }
});
