import { beforeAll, describe, expect, test } from "bun:test";
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT, UnsecuredJWT } from "jose";
import { faultOf } from "../../suites/core/kit.ts";
import type { Credentials } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import { ANYBODY, anyOf, apiKeys, jwt } from "./auth.ts";

const HOUR = 3600;
let keys: CryptoKeyPair;
let jwks: JSONWebKeySet;

beforeAll(async () => {
  keys = (await generateKeyPair("ES256")) as CryptoKeyPair;
  jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "one", alg: "ES256" }] };
});

interface Made {
  readonly claims?: Record<string, unknown>;
  readonly exp?: number | null;
  readonly iss?: string;
  readonly aud?: string;
  readonly sub?: string | null;
  readonly nbf?: number;
  readonly kid?: string;
  readonly key?: CryptoKey;
}

const seconds = () => Math.floor(Date.now() / 1000);

function token(made: Made = {}): Promise<string> {
  const { claims = {}, exp = seconds() + HOUR, iss = "https://id.test", aud = "backtalk", sub = "ann", nbf } = made;
  const signer = new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: made.kid ?? "one" });
  if (exp !== null) signer.setExpirationTime(exp);
  if (sub !== null) signer.setSubject(sub);
  if (nbf !== undefined) signer.setNotBefore(nbf);
  return signer
    .setIssuer(iss)
    .setAudience(aud)
    .sign(made.key ?? keys.privateKey);
}

const shown = (credentials: Partial<Credentials>): Credentials => ({ via: "memory", ...credentials });
const checked = () => jwt({ jwks, issuer: "https://id.test", audience: "backtalk" });

describe("JWT", () => {
  test("a good one: who it is, until when, what it may", async () => {
    const exp = seconds() + HOUR;
    const bearer = await token({ exp, claims: { scope: "read write", team: "red" } });
    const principal = await checked()(shown({ bearer }));
    expect(principal).toMatchObject({ id: "ann", expiresAt: exp * 1000, scopes: ["read", "write"] });
    expect(principal.claims?.["team"]).toBe("red");
  });

  test("another claim can name the principal", async () => {
    const way = jwt({ jwks, claim: "email" });
    expect(await way(shown({ bearer: await token({ claims: { email: "ann@x.test" } }) }))).toMatchObject({
      id: "ann@x.test",
    });
    expect((await faultOf(async () => way(shown({ bearer: await token() })))).code).toBe("unauthenticated");
  });

  test("each bad one is refused, and nothing of it is echoed", async () => {
    const stranger = (await generateKeyPair("ES256")) as CryptoKeyPair;
    const good = await token();
    const bad: Record<string, string> = {
      expired: await token({ exp: seconds() - 60 }),
      "another audience": await token({ aud: "other" }),
      "another issuer": await token({ iss: "https://evil.test" }),
      "another key": await token({ key: stranger.privateKey }),
      "an unknown key": await token({ kid: "two" }),
      "not yet": await token({ nbf: seconds() + HOUR }),
      "without an end": await token({ exp: null }),
      "without a subject": await token({ sub: null }),
      "with an empty subject": await token({ sub: "" }),
      "alg none": new UnsecuredJWT({ sub: "ann" }).setExpirationTime("1h").setIssuer("https://id.test").encode(),
      "HS256 with the public key": await new SignJWT({ sub: "ann" })
        .setProtectedHeader({ alg: "HS256", kid: "one" })
        .setExpirationTime("1h")
        .sign(new TextEncoder().encode(JSON.stringify(jwks.keys[0]))),
      "a changed payload": good.replace(/\.[^.]+\./, `.${btoa('{"sub":"bob","exp":9999999999}').replace(/=+$/, "")}.`),
      "cut off": good.slice(0, -10),
      "no token at all": "secret-text",
      empty: "",
    };
    for (const [what, bearer] of Object.entries(bad)) {
      const fault = await faultOf(() => checked()(shown({ bearer })));
      expect([what, fault.code, fault.retryable]).toEqual([what, "unauthenticated", false]);
      expect([what, fault.detail]).toEqual([what, { credentials: what === "expired" ? "expired" : "invalid" }]);
      if (bearer !== "") expect(JSON.stringify(fault)).not.toContain(bearer);
    }
    expect(await faultOf(() => checked()(shown({})))).toMatchObject({ detail: { credentials: "missing" } });
  });

  test("a clock that differs a little is forgiven", async () => {
    expect(await checked()(shown({ bearer: await token({ exp: seconds() - 10 }) }))).toMatchObject({ id: "ann" });
  });

  test("keys that are fetched: a rotated key is found; when they cannot be had that is no fault of the token", async () => {
    let body: string | undefined = JSON.stringify(jwks);
    const server = Bun.serve({ port: 0, fetch: () => new Response(body ?? "down", { status: body ? 200 : 500 }) });
    const url = new URL(`http://localhost:${server.port}/jwks`);
    const bearer = await token();
    try {
      expect(await jwt({ jwks: url })(shown({ bearer }))).toMatchObject({ id: "ann" });
      for (const broken of [undefined, "not json", "{}"]) {
        body = broken;
        expect([broken, (await faultOf(() => jwt({ jwks: url })(shown({ bearer })))).code]).toEqual([
          broken,
          "unavailable",
        ]);
      }
    } finally {
      await server.stop(true);
    }
    const fault = await faultOf(() => jwt({ jwks: url })(shown({ bearer })));
    expect(fault).toMatchObject({ code: "unavailable", retryable: true });
    // What is no token is refused without the keys.
    expect((await faultOf(() => jwt({ jwks: url })(shown({ bearer: "x" })))).code).toBe("unauthenticated");
  });
});

describe("API keys", () => {
  test("of a record and of a map, in either field", async () => {
    const ann = { id: "ann" };
    for (const keysOf of [{ k1: ann }, new Map([["k1", ann]])]) {
      const way = apiKeys(keysOf);
      expect(await way(shown({ apiKey: "k1" }))).toBe(ann);
      expect(await way(shown({ bearer: "k1" }))).toBe(ann);
      for (const apiKey of ["k2", "", "K1", "k1 ", "__proto__", "constructor"]) {
        const fault = await faultOf(() => way(shown({ apiKey })));
        expect(fault).toMatchObject({ code: "unauthenticated", detail: { credentials: "invalid" } });
      }
      expect((await faultOf(() => way(shown({})))).detail).toEqual({ credentials: "missing" });
    }
  });
});

describe("any of several ways", () => {
  const key = () => apiKeys({ k1: { id: "key" } });

  test("the first that takes what was shown", async () => {
    for (const way of [anyOf(key(), checked()), anyOf(checked(), key())]) {
      expect(await way(shown({ apiKey: "k1" }))).toMatchObject({ id: "key" });
      expect(await way(shown({ bearer: await token() }))).toMatchObject({ id: "ann" });
    }
    expect(await anyOf(checked(), ANYBODY)(shown({}))).toMatchObject({ id: "" });
  });

  test("when none does the answer is of the one that knew it best, in any order", async () => {
    const down = () => {
      throw new Fault("unavailable", "the directory is down");
    };
    const cases: [Partial<Credentials>, string][] = [
      [{}, "missing"],
      [{ apiKey: "wrong" }, "invalid"],
      [{ bearer: "wrong" }, "invalid"],
      [{ bearer: await token({ exp: seconds() - 60 }) }, "expired"],
    ];
    for (const [credentials, reason] of cases) {
      for (const way of [anyOf(key(), checked()), anyOf(checked(), key())]) {
        const fault = await faultOf(() => way(shown(credentials)));
        expect([credentials, fault.detail]).toEqual([credentials, { credentials: reason }]);
      }
      for (const way of [anyOf(down, checked(), key()), anyOf(checked(), key(), down)]) {
        expect((await faultOf(() => way(shown(credentials)))).code).toBe("unavailable");
      }
    }
    expect((await faultOf(() => anyOf()(shown({})))).code).toBe("unauthenticated");
  });
});
