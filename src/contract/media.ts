/** Media types, by what is said of bytes and by what they begin with (WHATWG MIME Sniffing §6, shortened to what cannot be mistaken). */

/** So many of the first bytes are enough for `typeOf`. */
export const HEAD_BYTES = 16;

export const UNKNOWN_TYPE = "application/octet-stream";

const ascii = (text: string): readonly number[] => [...text].map((each) => each.charCodeAt(0));

interface Signature {
  readonly type: string;
  readonly bytes: readonly number[];
  readonly at?: number;
  /** A second place that must have these bytes. */
  readonly and?: { readonly at: number; readonly bytes: readonly number[] };
}

const SIGNATURES: readonly Signature[] = [
  { type: "image/jpeg", bytes: [0xff, 0xd8, 0xff] },
  { type: "image/png", bytes: [0x89, ...ascii("PNG\r\n"), 0x1a, 0x0a] },
  { type: "image/gif", bytes: ascii("GIF8") },
  { type: "image/webp", bytes: ascii("RIFF"), and: { at: 8, bytes: ascii("WEBP") } },
  { type: "audio/wav", bytes: ascii("RIFF"), and: { at: 8, bytes: ascii("WAVE") } },
  { type: "image/bmp", bytes: ascii("BM") },
  { type: "image/tiff", bytes: [...ascii("II*"), 0] },
  { type: "image/tiff", bytes: [...ascii("MM"), 0, ...ascii("*")] },
  { type: "image/avif", bytes: ascii("ftypavif"), at: 4 },
  { type: "image/heic", bytes: ascii("ftyphei"), at: 4 },
  { type: "image/heic", bytes: ascii("ftypmif1"), at: 4 },
  { type: "video/mp4", bytes: ascii("ftyp"), at: 4 },
  { type: "video/webm", bytes: [0x1a, 0x45, 0xdf, 0xa3] },
  { type: "application/pdf", bytes: ascii("%PDF-") },
  { type: "application/zip", bytes: [...ascii("PK"), 3, 4] },
  { type: "application/gzip", bytes: [0x1f, 0x8b, 8] },
  { type: "audio/ogg", bytes: ascii("OggS") },
  { type: "audio/flac", bytes: ascii("fLaC") },
  { type: "audio/mpeg", bytes: ascii("ID3") },
];

/** Types whose bytes do not always begin alike, though there is a signature for them. */
const LOOSE = new Set(["audio/mpeg", "image/bmp"]);

/**
 * What a declared type and the first bytes come to. A declared type with a known signature must have it; any
 * other is believed. Undefined when the bytes are none of the declared type.
 */
export function typeOf(declared: string | undefined, head: Uint8Array): string | undefined {
  const found = SIGNATURES.filter((signature) => fits(signature, head)).map(({ type }) => type);
  if (declared === undefined || declared === UNKNOWN_TYPE) return found[0] ?? UNKNOWN_TYPE;
  const isKnown = SIGNATURES.some(({ type }) => type === declared) && !LOOSE.has(declared);
  return !isKnown || found.includes(declared) ? declared : undefined;
}

/** The type without its parameters, in lower case; undefined for what is none. */
export function mediaType(header: string | null | undefined): string | undefined {
  const type = (header ?? "").replace(/;.*$/s, "").trim().toLowerCase();
  return TYPE.test(type) ? type : undefined;
}

/** RFC 9110 §8.3.1: two tokens. */
const TYPE = /^[!#$%&'*+.^_`|~\w-]{1,127}\/[!#$%&'*+.^_`|~\w-]{1,127}$/;

/** Whether one of `types`, of which `image/*` is all of a kind, is this type. */
export function isTypeOf(types: readonly string[] | undefined, type: string): boolean {
  if (types === undefined) return true;
  return types.some(
    (each) => each === type || each === "*/*" || (each.endsWith("/*") && type.startsWith(each.slice(0, -1))),
  );
}

function fits({ bytes, at = 0, and }: Signature, head: Uint8Array): boolean {
  return has(head, at, bytes) && (and === undefined || has(head, and.at, and.bytes));
}

function has(head: Uint8Array, at: number, bytes: readonly number[]): boolean {
  return head.length >= at + bytes.length && bytes.every((byte, i) => head[at + i] === byte);
}
