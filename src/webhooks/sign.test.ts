/** Signatures, checked by the reference libraries of JavaScript and Python. */
import { describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { signedFields, signerOf } from "./sign.ts";

const secret = (byte: number) => `whsec_${Buffer.alloc(32, byte).toString("base64")}`;
const BODY = '{"type":"call.done","timestamp":"2026-01-01T00:00:00.000Z","data":{"text":"ä€😀"}}';

describe("signatures", () => {
  test("of HMAC are those of the reference library", () => {
    const fields = signedFields([signerOf(secret(1))], "msg_1", Date.now(), BODY);
    expect(new Webhook(secret(1)).verify(BODY, fields)).toEqual(JSON.parse(BODY));
    expect(() => new Webhook(secret(2)).verify(BODY, fields)).toThrow();
    expect(() => new Webhook(secret(1)).verify(`${BODY} `, fields)).toThrow();
    expect(() => new Webhook(secret(1)).verify(BODY, { ...fields, "webhook-id": "msg_2" })).toThrow();
  });

  test("of several secrets fit each of them: one can be replaced", () => {
    const fields = signedFields([signerOf(secret(2)), signerOf(secret(1))], "msg_1", Date.now(), BODY);
    for (const byte of [1, 2]) expect(new Webhook(secret(byte)).verify(BODY, fields)).toBeTruthy();
    expect(() => new Webhook(secret(3)).verify(BODY, fields)).toThrow();
  });

  test("of Ed25519 fit the public key, for a seed and for a key with its public half", () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const jwk = privateKey.export({ format: "jwk" });
    const seed = Buffer.from(jwk.d!, "base64url");
    const half = Buffer.from(jwk.x!, "base64url");
    for (const key of [seed, Buffer.concat([seed, half])]) {
      const fields = signedFields([signerOf(`whsk_${key.toString("base64")}`)], "msg_1", 1_800_000_000_000, BODY);
      const [version, signature] = fields["webhook-signature"]!.split(",");
      expect(version).toBe("v1a");
      const content = Buffer.from(`msg_1.1800000000.${BODY}`);
      expect(
        verify(
          null,
          content,
          createPublicKey(publicKey.export({ format: "pem", type: "spki" })),
          Buffer.from(signature!, "base64"),
        ),
      ).toBe(true);
    }
  });

  test("need a good secret, which no fault tells", () => {
    for (const bad of [
      "",
      "abc",
      "whsec_",
      "whsec_!!!!",
      `whsec_${Buffer.alloc(23).toString("base64")}`,
      "whsk_AAAA",
    ]) {
      expect(() => signerOf(bad)).toThrow(/secret/);
      if (bad.length > 6) expect(() => signerOf(bad)).not.toThrow(bad.slice(6));
    }
  });

  const python = join(import.meta.dir, "../../node_modules/.cache/standardwebhooks/bin/python");
  const isThere = existsSync(python);
  if (!isThere)
    console.error("src/webhooks: skipped without Python's standardwebhooks in node_modules/.cache/standardwebhooks");
  (isThere || process.env["CI"] ? test : test.skip)("of HMAC are those of Python's library", async () => {
    const fields = signedFields([signerOf(secret(9)), signerOf(secret(1))], "msg_1", Date.now(), BODY);
    const program = `
import json, sys
from standardwebhooks.webhooks import Webhook
given = json.load(sys.stdin)
print(json.dumps(Webhook(given["secret"]).verify(given["body"], given["headers"])))`;
    const child = Bun.spawn([python, "-c", program], {
      stdin: new Blob([JSON.stringify({ secret: secret(1), body: BODY, headers: fields })]),
      stderr: "pipe",
    });
    const out = await new Response(child.stdout).text();
    expect([await child.exited, JSON.parse(out || "null")]).toEqual([0, JSON.parse(BODY)]);
  });
});
