/** Newline-delimited JSON: bytes that are cut anywhere, to lines. Without I/O. */

export class LineTooLong extends Error {
  override readonly name = "LineTooLong";
}

export class NotUtf8 extends Error {
  override readonly name = "NotUtf8";
}

export class LineSplitter {
  readonly #maxBytes: number;
  // JSON is UTF-8 (RFC 8259 §8.1); what is not is refused instead of being replaced.
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true });
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** Most bytes of one line. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that these bytes complete, without those that are empty. @throws LineTooLong, NotUtf8 */
  feed(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      this.#take(chunk.subarray(from, end));
      const line = this.#line();
      if (line !== "") lines.push(line);
      from = end + 1;
    }
    // A copy: the source may use its buffer again.
    if (from < chunk.length) this.#take(chunk.slice(from));
    return lines;
  }

  /** The last line, if it came without a newline. @throws NotUtf8 */
  end(): string | undefined {
    return this.#line() || undefined;
  }

  #take(part: Uint8Array): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) throw new LineTooLong(`a line has more than ${this.#maxBytes} bytes`);
    if (part.length > 0) this.#parts.push(part);
  }

  #line(): string {
    const bytes = this.#parts.length === 1 ? this.#parts[0]! : join(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    try {
      return this.#utf8.decode(bytes).trim();
    } catch {
      throw new NotUtf8("a line is not UTF-8");
    }
  }
}

const NEWLINE = 10;

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
