/**
 * Keys that open captured packets: of Initials of QUIC, which everybody can make (RFC 9001 §5.2, RFC 9369
 * §3.3.1), and those of a key log as NSS writes it, for QUIC and TLS 1.3. For the AES and ChaCha20 suites.
 */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { hex } from "../../src/wire/packet/cursor.ts";
import { QUIC_VERSION, type QuicPacket } from "../../src/wire/packet/quic.ts";
import { chachaBlock, openChacha } from "./chacha.ts";

export interface Keys {
  readonly suite: number;
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  /** Of QUIC, for header protection. */
  readonly header: Uint8Array;
}

/** The number of a packet and what it carries. */
export interface Opened {
  readonly number: number;
  readonly payload: Uint8Array;
}

interface Suite {
  readonly hash: "sha256" | "sha384";
  readonly keyBytes: number;
  readonly cipher: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
}

const SUITES: Readonly<Record<number, Suite>> = {
  4865: { hash: "sha256", keyBytes: 16, cipher: "aes-128-gcm" },
  4866: { hash: "sha384", keyBytes: 32, cipher: "aes-256-gcm" },
  4867: { hash: "sha256", keyBytes: 32, cipher: "chacha20-poly1305" },
};
const AES_128 = 0x1301;
const TAG_BYTES = 16;

const SALT: Readonly<Record<number, string>> = {
  [QUIC_VERSION[1]]: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
  [QUIC_VERSION[2]]: "0dede3def700a6db819381be6e269dcbf9bd2ed9",
};

/** By the destination id of the client's first Initial. Undefined for a version that is not known. */
export function initialKeys(version: number, destinationId: Uint8Array, side: "client" | "server"): Keys | undefined {
  const salt = SALT[version];
  if (salt === undefined) return undefined;
  const secret = createHmac("sha256", Buffer.from(salt, "hex")).update(destinationId).digest();
  return quicKeys(AES_128, version, expand("sha256", secret, `${side} in`, 32));
}

/** Undefined for a suite that is not known. */
export function quicKeys(suite: number, version: number, secret: Uint8Array): Keys | undefined {
  const known = SUITES[suite];
  if (!known) return undefined;
  // RFC 9369 §3.3.2
  const prefix = version === QUIC_VERSION[2] ? "quicv2" : "quic";
  return {
    suite,
    key: expand(known.hash, secret, `${prefix} key`, known.keyBytes),
    iv: expand(known.hash, secret, `${prefix} iv`, 12),
    header: expand(known.hash, secret, `${prefix} hp`, known.keyBytes),
  };
}

/** RFC 8446 §7.3 */
export function tlsKeys(suite: number, secret: Uint8Array): Omit<Keys, "header"> | undefined {
  const known = SUITES[suite];
  if (!known) return undefined;
  return { suite, key: expand(known.hash, secret, "key", known.keyBytes), iv: expand(known.hash, secret, "iv", 12) };
}

/**
 * RFC 9001 §5.3, §5.4. `largest` is the largest number of a packet that came in its space before (-1: none).
 * Undefined when the keys do not fit or the packet was changed on its way.
 */
export function openPacket(datagram: Uint8Array, packet: QuicPacket, keys: Keys, largest = -1): Opened | undefined {
  const sample = datagram.subarray(packet.at + packet.numberAt + 4, packet.at + packet.numberAt + 20);
  if (sample.length < 16) return undefined;
  const mask = headerMask(keys, sample);
  for (const bits of packet.type === "1-RTT" ? SHORT_BITS : LONG_BITS) {
    // A copy in any case: the slice of a Buffer would be the capture itself.
    const bytes = new Uint8Array(datagram.subarray(packet.at, packet.at + packet.size));
    bytes[0]! ^= mask[0]! & bits;
    const length = (bytes[0]! & 3) + 1;
    const head = packet.numberAt + length;
    let cut = 0;
    for (let n = 0; n < length; n++) {
      const byte = bytes[packet.numberAt + n]! ^ mask[n + 1]!;
      bytes[packet.numberAt + n] = byte;
      cut = cut * 256 + byte;
    }
    const number = wholeNumber(cut, length, largest);
    const payload = decrypt(keys, number, bytes.subarray(0, head), bytes.subarray(head));
    if (payload) return { number, payload };
  }
  return undefined;
}

const LONG_BITS = [0x0f] as const;
/** The second: with the extension of loss bits (draft-ferrieuxhamchaoui-quic-lossbits) two bits stay in the clear. */
const SHORT_BITS = [0x1f, 0x07] as const;

/** The plain text of a record of TLS 1.3 and the type that it really has (RFC 8446 §5.2), its padding taken off. */
export function openRecord(
  record: Uint8Array,
  number: number,
  keys: Omit<Keys, "header">,
): { readonly type: number; readonly content: Uint8Array } | undefined {
  const plain = decrypt(keys, number, record.subarray(0, 5), record.subarray(5));
  if (!plain) return undefined;
  const end = plain.findLastIndex((byte) => byte !== 0);
  return end < 0 ? undefined : { type: plain[end]!, content: plain.subarray(0, end) };
}

/** The first of the offered suites that the secret can be of: early data comes before the server has chosen one. */
export function suiteOf(secret: Uint8Array, offered: readonly number[]): number | undefined {
  const hash = secret.length === 48 ? "sha384" : "sha256";
  return offered.find((suite) => SUITES[suite]?.hash === hash);
}

/** The label of the secret that early data is sealed under (0-RTT). */
export const EARLY_SECRET = "CLIENT_EARLY_TRAFFIC_SECRET";

/** Secrets by label and the client's random. Lines that are something else are passed over. */
export class KeyLog {
  readonly #secrets = new Map<string, Uint8Array>();

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const match = /^([A-Z_0-9]+) ([0-9a-f]{64}) ([0-9a-f]+)\s*$/i.exec(line);
      if (match) this.#secrets.set(`${match[1]} ${match[2]!.toLowerCase()}`, Buffer.from(match[3]!, "hex"));
    }
  }

  get size(): number {
    return this.#secrets.size;
  }

  /** Such as `SERVER_TRAFFIC_SECRET_0`. */
  secret(label: string, clientRandom: Uint8Array): Uint8Array | undefined {
    return this.#secrets.get(`${label} ${hex(clientRandom)}`);
  }
}

/** RFC 8446 §7.1: HKDF-Expand-Label without context. */
function expand(hash: "sha256" | "sha384", secret: Uint8Array, label: string, length: number): Uint8Array {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([length >> 8, length & 255, name.length]), name, Buffer.from([0])]);
  // At most one block of the hash is ever needed: keys have 32 bytes and fewer.
  return createHmac(hash, secret)
    .update(info)
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, length);
}

function headerMask({ suite, header }: Keys, sample: Uint8Array): Uint8Array {
  const { cipher } = SUITES[suite]!;
  if (cipher === "chacha20-poly1305") {
    // RFC 9001 §5.4.4: the sample is the counter and the nonce.
    const counter = new DataView(sample.buffer, sample.byteOffset).getUint32(0, true);
    return chachaBlock(header, counter, sample.subarray(4));
  }
  const block = createCipheriv(cipher === "aes-128-gcm" ? "aes-128-ecb" : "aes-256-ecb", header, null);
  return block.setAutoPadding(false).update(sample);
}

function decrypt(
  { suite, key, iv }: Omit<Keys, "header">,
  number: number,
  head: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  const nonce = Uint8Array.from(iv);
  for (let rest = number, at = nonce.length - 1; rest > 0; rest = Math.floor(rest / 256), at--)
    nonce[at]! ^= rest & 255;
  const { cipher: name } = SUITES[suite]!;
  if (name === "chacha20-poly1305") return openChacha(key, nonce, head, sealed);
  try {
    const cipher = createDecipheriv(name, key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(head);
    cipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const plain = cipher.update(sealed.subarray(0, -TAG_BYTES));
    return Buffer.concat([plain, cipher.final()]);
  } catch {
    // The tag does not fit: other keys, or changed bytes.
    return undefined;
  }
}

/** RFC 9000 Appendix A.3 */
function wholeNumber(cut: number, length: number, largest: number): number {
  const window = 2 ** (length * 8);
  const expected = largest + 1;
  const candidate = Math.floor(expected / window) * window + cut;
  if (candidate <= expected - window / 2) return candidate + window;
  return candidate > expected + window / 2 && candidate >= window ? candidate - window : candidate;
}
