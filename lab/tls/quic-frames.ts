/** Frames of QUIC version 1 (RFC 9000 §19), as far as the lab looks at them. Never throws. */

export type Frame =
  | { readonly kind: "crypto"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "stream"; readonly stream: number; readonly bytes: number }
  | { readonly kind: "path"; readonly frame: "PATH_CHALLENGE" | "PATH_RESPONSE" };

/** RFC 9000 §16; values beyond 2^53 lose their last bits. */
export function readVarint(
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly end: number } | undefined {
  if (at >= bytes.length) return undefined;
  const length = 1 << (bytes[at]! >> 6);
  if (at + length > bytes.length) return undefined;
  let value = bytes[at]! & 0x3f;
  for (let n = 1; n < length; n++) value = value * 256 + bytes[at + n]!;
  return { value, end: at + length };
}

/** How many numbers follow the type, of frames that are nothing but numbers. */
const NUMBERS: Readonly<Record<number, number>> = {
  4: 3,
  5: 2,
  16: 1,
  17: 2,
  18: 1,
  19: 1,
  20: 1,
  21: 2,
  22: 1,
  23: 1,
  25: 1,
  30: 0,
  1: 0,
  0: 0,
};

/** As far as they are understood. */
export function readFrames(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  let at = 0;
  const number = (): number => {
    const read = readVarint(bytes, at);
    at = read ? read.end : Number.POSITIVE_INFINITY;
    return read?.value ?? 0;
  };
  const skip = (count: number) => {
    for (let n = 0; n < count; n++) number();
  };
  while (at < bytes.length) {
    const type = number();
    const numbers = NUMBERS[type];
    if (numbers !== undefined) skip(numbers);
    else if (type === 2 || type === 3) {
      skip(2);
      const ranges = number();
      skip(1 + 2 * Math.min(ranges, bytes.length) + (type === 3 ? 3 : 0));
    } else if (type === 6) {
      const offset = number();
      const length = number();
      frames.push({ kind: "crypto", offset, bytes: bytes.subarray(at, at + length) });
      at += length;
    } else if (type === 7) {
      const length = number();
      at += length;
    } else if (type >= 8 && type <= 15) {
      const stream = number();
      if (type & 4) number();
      const length = type & 2 ? number() : bytes.length - at;
      frames.push({ kind: "stream", stream, bytes: length });
      at += length;
    } else if (type === 0x18) {
      skip(2);
      at += 1 + (bytes[at] ?? 0) + 16;
    } else if (type === 0x1a || type === 0x1b) {
      frames.push({ kind: "path", frame: type === 0x1a ? "PATH_CHALLENGE" : "PATH_RESPONSE" });
      at += 8;
    } else if (type === 0x31) {
      const length = number();
      at += length;
    } else break;
  }
  return frames;
}
