/** Ids of calls and of uploads, which a key makes the same in both. Not for browsers: they need Node's hashes. */
import { createHash, randomBytes } from "node:crypto";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** 26 characters of Crockford's base 32: 128 bits of `bytes` and two of padding. */
function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (let i = 0; i < 16; i++) {
    value = (value << 8) | bytes[i]!;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(value >>> bits) & 31];
    }
    value &= (1 << bits) - 1;
  }
  return text + ALPHABET[(value << (5 - bits)) & 31];
}

/** An id that nobody can guess. */
export function randomId(): string {
  return base32(randomBytes(16));
}

/** The id of the call that has this name for this caller: the same in every process that shares the store. */
export function keyedId(principal: string, method: string, key: string): string {
  // As JSON, so that no two triples make the same text.
  return base32(
    createHash("sha256")
      .update(JSON.stringify([principal, method, key]))
      .digest(),
  );
}
