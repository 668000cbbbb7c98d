import { expect, test } from "bun:test";
import { Tokens } from "./tokens.ts";

test("a function is asked once, and again after renew", async () => {
  let asked = 0;
  const tokens = new Tokens(async () => `token${++asked}`);
  expect(await Promise.all([tokens.get(), tokens.get()])).toEqual(["token1", "token1"]);
  tokens.renew();
  expect(await tokens.get()).toBe("token2");
  expect(tokens.canRenew).toBe(true);
});

test("a failure is not kept", async () => {
  let asked = 0;
  const tokens = new Tokens(async () => {
    if (++asked === 1) throw new Error("no network");
    return "token";
  });
  expect(tokens.get() as Promise<string>).rejects.toThrow("no network");
  await Promise.resolve(tokens.get()).catch(() => {});
  expect(await tokens.get()).toBe("token");
});

test("text stays what it is", () => {
  const tokens = new Tokens("fixed");
  tokens.renew();
  expect(tokens.get()).toBe("fixed");
  expect(tokens.canRenew).toBe(false);
});
