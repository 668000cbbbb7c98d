/** The Huffman code of HPACK and QPACK (RFC 7541 Appendix B). */

/**
 * The code is canonical: codes of one length follow each other in the order of their symbols, and those of the
 * next length go on where they ended. So the symbols of each length are all that there is to know.
 */
const SYMBOLS: readonly (readonly [length: number, symbols: readonly number[]])[] = [
  [5, of("012aceiost")],
  [6, of(" %-./3456789=A_bdfghlmnpru")],
  [7, of(":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz")],
  [8, of("&*,;XZ")],
  [10, of('!"()?')],
  [11, of("'+|")],
  [12, of("#>")],
  [13, of("\0$@[]~")],
  [14, of("^}")],
  [15, of("<`{")],
  [19, [92, 195, 208]],
  [20, [128, 130, 131, 162, 184, 194, 224, 226]],
  [21, [153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230]],
];
const SHORTEST = 5;
/** Of a code that was met so far; beyond it are bytes that header fields hardly have. */
const LONGEST = 21;

/** Undefined when the padding is wrong, and for text with symbols of the longest codes, which are not in the table. */
export function readHuffman(bytes: Uint8Array): string | undefined {
  let text = "";
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      length++;
      if (length < SHORTEST) continue;
      const symbol = CODES.get((length << 24) | code);
      if (symbol !== undefined) {
        text += String.fromCharCode(symbol);
        code = 0;
        length = 0;
      } else if (length > LONGEST) return undefined;
    }
  }
  // RFC 7541 §5.2: padded with the first bits of EOS, which are ones, fewer than eight.
  return length < 8 && code === 2 ** length - 1 ? text : undefined;
}

const CODES = codes();

function codes(): ReadonlyMap<number, number> {
  const table = new Map<number, number>();
  let code = 0;
  let before = SHORTEST;
  for (const [length, symbols] of SYMBOLS) {
    code <<= length - before;
    before = length;
    for (const symbol of symbols) table.set((length << 24) | code++, symbol);
  }
  return table;
}

function of(text: string): number[] {
  return Array.from(text, (char) => char.charCodeAt(0));
}
