/**
 * Reads numbers and vectors out of bytes in network order. Past the end it gives zeros and no bytes, and says
 * so afterwards: a reader of a format checks once instead of at every field, and never throws.
 */
const NONE = new Uint8Array(0);

export class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  /** Something was read that is not there. */
  isShort = false;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = Math.min(end, bytes.length);
  }

  get left(): number {
    return this.isShort ? 0 : this.end - this.at;
  }

  u8(): number {
    return this.#number(1);
  }

  u16(): number {
    return this.#number(2);
  }

  u24(): number {
    return this.#number(3);
  }

  u32(): number {
    return this.#number(4);
  }

  take(count: number): Uint8Array {
    if (this.isShort || count > this.end - this.at) {
      this.isShort = true;
      return NONE;
    }
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  /** Bytes whose length comes first, in a number of `size` bytes (RFC 8446 §3.4). */
  vector(size: 1 | 2 | 3): Uint8Array {
    return this.take(this.#number(size));
  }

  /** Such a vector of numbers of two bytes; what is left over at its end does not count. */
  u16s(size: 1 | 2): number[] {
    const within = new Cursor(this.vector(size));
    const numbers: number[] = [];
    while (within.left >= 2) numbers.push(within.u16());
    return numbers;
  }

  /** RFC 9000 §16. Above 2^53 it is only near. */
  varint(): number {
    const first = this.u8();
    let value = first & 0x3f;
    for (let more = (1 << (first >> 6)) - 1; more > 0; more--) value = value * 256 + this.u8();
    return this.isShort ? 0 : value;
  }

  #number(size: number): number {
    const bytes = this.take(size);
    let value = 0;
    for (const byte of bytes) value = value * 256 + byte;
    return value;
  }
}

/** Of bytes that are text by their format, one character each. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
