/** What the lines of a key log open: keys of TLS 1.3 (RFC 8446 §7.3) and of QUIC (RFC 9001 §5). */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

/** Labels of an NSS key log. */
export const SECRET = {
  early: "CLIENT_EARLY_TRAFFIC_SECRET",
  clientHandshake: "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
  serverHandshake: "SERVER_HANDSHAKE_TRAFFIC_SECRET",
  client: "CLIENT_TRAFFIC_SECRET_0",
  server: "SERVER_TRAFFIC_SECRET_0",
} as const;

/** The secrets of one connection by their labels, from its lines. */
export function secretsOf(keyLog: readonly string[]): ReadonlyMap<string, Uint8Array> {
  return new Map(
    keyLog.map((line) => {
      const [label = "", , secret = ""] = line.split(" ");
      return [label, Buffer.from(secret, "hex")];
    }),
  );
}

const hmac = (hash: string, key: Uint8Array, ...parts: readonly Uint8Array[]) => {
  const made = createHmac(hash, key);
  for (const part of parts) made.update(part);
  return made.digest();
};

/** RFC 8446 §7.1; at most one block of the hash, which is all that keys need. */
function expandLabel(hash: string, secret: Uint8Array, label: string, bytes: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([bytes >> 8, bytes & 255, name.length]), name, Buffer.from([0, 1])]);
  return hmac(hash, secret, info).subarray(0, bytes);
}

const CHACHA20_POLY1305_SHA256 = 0x1303;
const TAG_BYTES = 16;

/** Opens what was sealed under one traffic secret. */
export class Opener {
  readonly #cipher: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  readonly #key: Buffer;
  readonly #iv: Buffer;
  readonly #mask: Buffer;

  /** `suite`: the one of the ServerHello; without it, AES by the length of the secret. */
  constructor(secret: Uint8Array, suite: number | undefined, prefix: "" | "quic " | "quicv2 ") {
    const hash = secret.length === 48 ? "sha384" : "sha256";
    this.#cipher =
      suite === CHACHA20_POLY1305_SHA256 ? "chacha20-poly1305" : secret.length === 48 ? "aes-256-gcm" : "aes-128-gcm";
    const bytes = this.#cipher === "aes-128-gcm" ? 16 : 32;
    this.#key = expandLabel(hash, secret, `${prefix}key`, bytes);
    this.#iv = expandLabel(hash, secret, `${prefix}iv`, 12);
    this.#mask = expandLabel(hash, secret, `${prefix}hp`, bytes);
  }

  /** `undefined`: not sealed with this key. */
  open(number: number, additional: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    // RFC 8446 §5.3: the number is exclusive-ored to the end of the vector.
    const nonce = Buffer.from(this.#iv);
    for (let rest = number, at = 11; rest > 0; rest = Math.floor(rest / 256), at--) nonce[at]! ^= rest & 255;
    try {
      const decipher = createDecipheriv(this.#cipher as "aes-128-gcm", this.#key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(additional);
      decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
      const opened = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
      decipher.final();
      return opened;
    } catch {
      return undefined;
    }
  }

  /** RFC 9001 §5.4: five bytes that hide a part of a header. */
  mask(sample: Uint8Array): Uint8Array {
    if (this.#cipher === "chacha20-poly1305") {
      return createCipheriv("chacha20", this.#mask, sample).update(Buffer.alloc(5));
    }
    const cipher = createCipheriv(this.#cipher === "aes-128-gcm" ? "aes-128-ecb" : "aes-256-ecb", this.#mask, null);
    return cipher.update(sample).subarray(0, 5);
  }
}

/** RFC 9001 §5.2, RFC 9369 §3.3.1 */
const SALTS = {
  1: Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex"),
  2: Buffer.from("0dede3def700a6db819381be6e269dcbf9bd2ed9", "hex"),
} as const;

/** Anybody who sees the connection id has them. */
export function initialSecrets(
  connectionId: Uint8Array,
  version: 1 | 2,
): { readonly client: Uint8Array; readonly server: Uint8Array } {
  const initial = hmac("sha256", SALTS[version], connectionId);
  return {
    client: expandLabel("sha256", initial, "client in", 32),
    server: expandLabel("sha256", initial, "server in", 32),
  };
}
