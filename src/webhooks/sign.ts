/** Secrets and signatures of Standard Webhooks: `v1` is HMAC-SHA256, `v1a` Ed25519. */
import { createHmac, createPrivateKey, type KeyObject, sign } from "node:crypto";
import { Fault } from "../log/index.ts";

export type Signer = (content: string) => string;

/** `whsec_` and 24 to 64 bytes in base64, or `whsk_` and the seed of an Ed25519 key, alone or with its public half. @throws Fault */
export function signerOf(secret: string): Signer {
  const text = secret.trim();
  if (text.startsWith("whsec_")) {
    const key = decode(text.slice(6));
    if (key.length < 24 || key.length > 64) throw badSecret("a whsec_ secret has 24 to 64 bytes");
    return (content) => `v1,${createHmac("sha256", key).update(content).digest("base64")}`;
  }
  if (text.startsWith("whsk_")) {
    const key = privateKey(decode(text.slice(5)));
    return (content) => `v1a,${sign(null, Buffer.from(content), key).toString("base64")}`;
  }
  throw badSecret("a secret begins with whsec_ or whsk_");
}

/** The fields of one attempt: signed by all secrets at once, so that one can be replaced without a pause. */
export function signedFields(
  signers: readonly Signer[],
  id: string,
  nowMs: number,
  body: string,
): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const content = `${id}.${timestamp}.${body}`;
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signers.map((signer) => signer(content)).join(" "),
  };
}

function decode(base64: string): Buffer {
  const bytes = Buffer.from(base64, "base64");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw badSecret("a secret is in base64");
  return bytes;
}

/** RFC 8410 §7: the seed in its envelope of DER. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

function privateKey(bytes: Buffer): KeyObject {
  if (bytes.length !== 32 && bytes.length !== 64) throw badSecret("a whsk_ secret has 32 or 64 bytes");
  return createPrivateKey({ key: Buffer.concat([PKCS8, bytes.subarray(0, 32)]), format: "der", type: "pkcs8" });
}

/** Never with the secret in it. */
function badSecret(message: string): Fault {
  return new Fault("invalid_argument", message, {
    hint: "make one by: echo whsec_$(openssl rand -base64 32)",
  });
}
