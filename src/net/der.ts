/** The few forms of DER (ITU-T X.690) that a certificate is made of. */

export type Der = Uint8Array;

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content.length)]), content]);
}

/** §8.1.3: short, or the number of bytes that follow. */
function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

export const sequence = (...parts: readonly Der[]): Der => tlv(0x30, ...parts);
export const set = (...parts: readonly Der[]): Der => tlv(0x31, ...parts);
export const octets = (bytes: Uint8Array): Der => tlv(0x04, bytes);
export const utf8 = (text: string): Der => tlv(0x0c, Buffer.from(text));
export const truth = (): Der => tlv(0x01, Buffer.from([0xff]));
/** A string of whole bytes. */
export const bits = (bytes: Uint8Array, unused = 0): Der => tlv(0x03, Buffer.from([unused]), bytes);
/** A context-specific tag around other forms. */
export const explicit = (tag: number, ...parts: readonly Der[]): Der => tlv(0xa0 | tag, ...parts);
/** A context-specific tag instead of the one that the bytes would have. */
export const implicit = (tag: number, bytes: Uint8Array): Der => tlv(0x80 | tag, bytes);

/** Not negative: a leading zero keeps the sign away (§8.3.3); others are left out (§8.3.2). */
export function integer(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  return digits.length > 0 && digits[0]! < 0x80 ? tlv(0x02, digits) : tlv(0x02, Buffer.from([0]), digits);
}

/** `1.2.840.10045.2.1` */
export function oid(text: string): Der {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [40 * first + second];
  for (const arc of rest) {
    const group = [arc & 0x7f];
    for (let more = arc >>> 7; more > 0; more >>>= 7) group.unshift(0x80 | (more & 0x7f));
    bytes.push(...group);
  }
  return tlv(0x06, Buffer.from(bytes));
}

/** RFC 5280 §4.1.2.5: two digits of the year until 2049, four from then on. */
export function time(ms: number): Der {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return Number(text.slice(0, 4)) < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}
