/** ChaCha20 and Poly1305 (RFC 8439), to open what was captured: the platform's ciphers do not have them. */

/** RFC 8439 §2.3: the block of this counter as 64 bytes. `key` has 32 bytes, `nonce` 12. */
export function chachaBlock(key: Uint8Array, counter: number, nonce: Uint8Array): Uint8Array {
  const input = new DataView(new ArrayBuffer(64));
  const bytes = new Uint8Array(input.buffer);
  bytes.set(new TextEncoder().encode("expand 32-byte k"));
  bytes.set(key, 16);
  input.setUint32(48, counter, true);
  bytes.set(nonce, 52);
  const start = Uint32Array.from({ length: 16 }, (_, n) => input.getUint32(n * 4, true));
  const state = Uint32Array.from(start);
  const mix = (a: number, b: number, d: number, turn: number) => {
    state[a] = state[a]! + state[b]!;
    const mixed = state[d]! ^ state[a]!;
    state[d] = (mixed << turn) | (mixed >>> (32 - turn));
  };
  const quarter = (a: number, b: number, c: number, d: number) => {
    mix(a, b, d, 16);
    mix(c, d, b, 12);
    mix(a, b, d, 8);
    mix(c, d, b, 7);
  };
  for (let round = 0; round < 10; round++) {
    for (let n = 0; n < 4; n++) quarter(n, n + 4, n + 8, n + 12);
    for (let n = 0; n < 4; n++) quarter(n, 4 + ((n + 1) % 4), 8 + ((n + 2) % 4), 12 + ((n + 3) % 4));
  }
  for (let n = 0; n < 16; n++) input.setUint32(n * 4, state[n]! + start[n]!, true);
  return bytes;
}

/** RFC 8439 §2.8. Undefined when the tag (the last 16 bytes) does not fit. */
export function openChacha(
  key: Uint8Array,
  nonce: Uint8Array,
  head: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const text = sealed.subarray(0, -16);
  const tag = poly1305(chachaBlock(key, 0, nonce).subarray(0, 32), macData(head, text));
  if (tag !== littleEndian(sealed.subarray(-16))) return undefined;
  const plain = new Uint8Array(text);
  for (let at = 0; at < plain.length; at += 64) {
    const block = chachaBlock(key, 1 + at / 64, nonce);
    for (let n = at; n < Math.min(at + 64, plain.length); n++) plain[n]! ^= block[n - at]!;
  }
  return plain;
}

/** RFC 8439 §2.8: both padded to 16 bytes, then their lengths. */
function macData(head: Uint8Array, text: Uint8Array): Uint8Array {
  const padded = (length: number) => Math.ceil(length / 16) * 16;
  const data = new Uint8Array(padded(head.length) + padded(text.length) + 16);
  data.set(head);
  data.set(text, padded(head.length));
  const view = new DataView(data.buffer);
  view.setUint32(data.length - 16, head.length, true);
  view.setUint32(data.length - 8, text.length, true);
  return data;
}

const PRIME = 2n ** 130n - 5n;

/** RFC 8439 §2.5, the tag as a number. The data is whole blocks of 16 bytes. */
function poly1305(key: Uint8Array, data: Uint8Array): bigint {
  const r = littleEndian(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let sum = 0n;
  for (let at = 0; at < data.length; at += 16) {
    sum = ((sum + littleEndian(data.subarray(at, at + 16)) + 2n ** 128n) * r) % PRIME;
  }
  return BigInt.asUintN(128, sum + littleEndian(key.subarray(16, 32)));
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let at = bytes.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at]!);
  return value;
}
