/**
 * Address tokens (PROTOCOL.md §6.3), after those of QUIC (RFC 9000 §8.1.3, §8.1.4): who shows one has received what
 * was sent to its address. A token also names its client, so that a client whose address changes on the way stays
 * the same one. Nothing is kept for a token but the secrets that make it.
 *
 * `secret(1) client(8) issued(4) ours(8) here(11)`: `ours` proves the first three, `here` all and the address.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { TOKEN_BYTES } from "../../wire/datagram.ts";

/** How long a token lets questions in, and how long a secret makes tokens, in milliseconds. */
export const TOKEN_MS = 30 * 60_000;
/**
 * The secrets that are known: one that makes tokens, and two before it. A token is recognized at least
 * for TOKEN_MS after it lets nothing in any more: longer than an answer is kept.
 */
const SECRETS = 3;

const CLIENT = 1;
const ISSUED = 9;
const OURS = 13;
const HERE = 21;

export interface Shown {
  /** Names the client that the token was made for: 16 hexadecimal digits. */
  readonly client: string;
  /** `good`; `old`: it lets no new question in; `moved`: it is for another address. */
  readonly is: "good" | "old" | "moved";
}

export class Tokens {
  readonly #now: () => number;
  readonly #startedAt: number;
  /** For the names of clients: as long as the server lives, an address has one. */
  readonly #names = randomBytes(32);
  readonly #secrets = new Map<number, Buffer>();

  /** `now` gives milliseconds and never goes back. */
  constructor(now: () => number) {
    this.#now = now;
    this.#startedAt = now();
  }

  /** For this address: of the client `client`, or else of the one that this address always stands for. */
  issue(address: string, port: number, client?: string): Uint8Array {
    const number = this.#number();
    let secret = this.#secrets.get(number);
    if (!secret) {
      secret = randomBytes(32);
      this.#secrets.set(number, secret);
      for (const each of this.#secrets.keys()) if (each <= number - SECRETS) this.#secrets.delete(each);
    }
    const token = Buffer.alloc(TOKEN_BYTES);
    token[0] = number & 0xff;
    if (client === undefined) token.set(mac(this.#names, place(address, port)).subarray(0, 8), CLIENT);
    else token.write(client, CLIENT, "hex");
    token.writeUInt32BE(Math.floor((this.#now() - this.#startedAt) / 1000), ISSUED);
    token.set(ours(secret, token), OURS);
    token.set(here(secret, token, address, port), HERE);
    return token;
  }

  /** Undefined for what this server did not make, or so long ago that nothing is known of it any more. */
  check(token: Uint8Array, address: string, port: number): Shown | undefined {
    if (token.length !== TOKEN_BYTES) return undefined;
    const number = this.#numbered(token[0]!);
    const secret = number === undefined ? undefined : this.#secrets.get(number);
    if (!secret) return undefined;
    const bytes = Buffer.from(token.buffer, token.byteOffset, token.length);
    const isHere = timingSafeEqual(here(secret, bytes, address, port), bytes.subarray(HERE));
    if (!isHere && !timingSafeEqual(ours(secret, bytes), bytes.subarray(OURS, HERE))) return undefined;
    const client = bytes.toString("hex", CLIENT, ISSUED);
    if (!isHere) return { client, is: "moved" };
    const ageMs = this.#now() - this.#startedAt - bytes.readUInt32BE(ISSUED) * 1000;
    return { client, is: ageMs <= TOKEN_MS ? "good" : "old" };
  }

  #number(): number {
    return Math.floor((this.#now() - this.#startedAt) / TOKEN_MS);
  }

  /** The newest number that ends in this byte. */
  #numbered(byte: number): number | undefined {
    const newest = this.#number();
    for (let number = newest; number >= 0 && number > newest - SECRETS; number--) {
      if ((number & 0xff) === byte) return number;
    }
    return undefined;
  }
}

function ours(secret: Buffer, token: Buffer): Buffer {
  return mac(secret, token.subarray(0, OURS)).subarray(0, HERE - OURS);
}

function here(secret: Buffer, token: Buffer, address: string, port: number): Buffer {
  return mac(secret, Buffer.concat([token.subarray(0, HERE), place(address, port)])).subarray(0, TOKEN_BYTES - HERE);
}

function place(address: string, port: number): Buffer {
  return Buffer.from(`${address} ${port}`);
}

function mac(key: Buffer, bytes: Buffer): Buffer {
  return createHmac("sha256", key).update(bytes).digest();
}
