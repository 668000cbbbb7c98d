/**
 * Header blocks of HTTP/2 (HPACK, RFC 7541): each field with how it was sent and how many bytes that took.
 * Reads what others sent; nothing here throws.
 */
import { latin1 } from "./cursor.ts";
import { readHuffman } from "./huffman.ts";

/** How a field came: as a number that stands for it, or in words, with or without being remembered (§6). */
export type Representation = "indexed" | "literal, remembered" | "literal" | "never remembered";

export interface HeaderField {
  readonly name: string;
  readonly value: string;
  readonly how: Representation;
  /** Of this field in the block. */
  readonly bytes: number;
  /** Whether it is known from earlier on this connection, not from the static table. */
  readonly isDynamic: boolean;
}

/** The state of one direction of a connection: its blocks must be read in their order, all of them. */
export class HpackReader {
  /** The newest first. */
  readonly #table: { readonly name: string; readonly value: string }[] = [];
  #size = 0;
  /** Bytes, each entry with 32 more (§4.1); what SETTINGS_HEADER_TABLE_SIZE of the receiver says, at first 4,096. */
  #most = 4_096;

  /** Entries that are remembered now. */
  get remembered(): number {
    return this.#table.length;
  }

  /** Undefined when the block is broken: then nothing later on this connection can be read either. */
  read(block: Uint8Array): HeaderField[] | undefined {
    const at = { value: 0 };
    const fields: HeaderField[] = [];
    while (at.value < block.length) {
      const begin = at.value;
      const first = block[begin]!;
      if (first >> 5 === 1) {
        // §6.3: a new size of the table.
        const size = readInteger(block, at, 5);
        if (size === undefined) return undefined;
        this.#most = size;
        this.#evict();
        continue;
      }
      const how = howOf(first);
      const index = readInteger(block, at, PREFIX[how]);
      if (index === undefined) return undefined;
      const entry = index === 0 ? undefined : this.#entry(index);
      if (index !== 0 && !entry) return undefined;
      const name = entry?.name ?? (how === "indexed" ? undefined : readText(block, at));
      const value = how === "indexed" ? entry?.value : readText(block, at);
      if (name === undefined || value === undefined) return undefined;
      if (how === "literal, remembered") this.#remember(name, value);
      fields.push({ name, value, how, bytes: at.value - begin, isDynamic: index > STATIC.length });
    }
    return fields;
  }

  #entry(index: number): { readonly name: string; readonly value: string } | undefined {
    if (index > STATIC.length) return this.#table[index - STATIC.length - 1];
    const [name, value = ""] = STATIC[index - 1]!;
    return { name, value };
  }

  #remember(name: string, value: string): void {
    this.#table.unshift({ name, value });
    this.#size += name.length + value.length + 32;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#most) {
      const gone = this.#table.pop();
      if (!gone) break;
      this.#size -= gone.name.length + gone.value.length + 32;
    }
  }
}

const PREFIX: Readonly<Record<Representation, number>> = {
  indexed: 7,
  "literal, remembered": 6,
  literal: 4,
  "never remembered": 4,
};

/** §6.1, §6.2 */
function howOf(first: number): Representation {
  if (first & 0x80) return "indexed";
  if (first & 0x40) return "literal, remembered";
  return first & 0x10 ? "never remembered" : "literal";
}

/** §5.1: a number that begins in the last `prefix` bits. Undefined when it is cut, or larger than any is. */
export function readInteger(bytes: Uint8Array, at: { value: number }, prefix: number): number | undefined {
  const first = bytes[at.value++];
  if (first === undefined) return undefined;
  const most = 2 ** prefix - 1;
  let value = first & most;
  if (value < most) return value;
  for (let shift = 0; shift <= 28; shift += 7) {
    const byte = bytes[at.value++];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return value;
  }
  return undefined;
}

/** §5.2: text whose length begins in the last `prefix` bits, the bit before says whether it is in Huffman's code. */
export function readText(bytes: Uint8Array, at: { value: number }, prefix = 7): string | undefined {
  const first = bytes[at.value];
  const length = readInteger(bytes, at, prefix);
  if (first === undefined || length === undefined || at.value + length > bytes.length) return undefined;
  const raw = bytes.subarray(at.value, at.value + length);
  at.value += length;
  // Of a code that the table has not: the field is known to be there, its text is not.
  return first & (1 << prefix) ? (readHuffman(raw) ?? "\ufffd".repeat(length)) : latin1(raw);
}

/** Appendix A */
const STATIC: readonly (readonly [name: string, value?: string])[] = [
  [":authority"],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset"],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language"],
  ["accept-ranges"],
  ["accept"],
  ["access-control-allow-origin"],
  ["age"],
  ["allow"],
  ["authorization"],
  ["cache-control"],
  ["content-disposition"],
  ["content-encoding"],
  ["content-language"],
  ["content-length"],
  ["content-location"],
  ["content-range"],
  ["content-type"],
  ["cookie"],
  ["date"],
  ["etag"],
  ["expect"],
  ["expires"],
  ["from"],
  ["host"],
  ["if-match"],
  ["if-modified-since"],
  ["if-none-match"],
  ["if-range"],
  ["if-unmodified-since"],
  ["last-modified"],
  ["link"],
  ["location"],
  ["max-forwards"],
  ["proxy-authenticate"],
  ["proxy-authorization"],
  ["range"],
  ["referer"],
  ["refresh"],
  ["retry-after"],
  ["server"],
  ["set-cookie"],
  ["strict-transport-security"],
  ["transfer-encoding"],
  ["user-agent"],
  ["vary"],
  ["via"],
  ["www-authenticate"],
];
