/**
 * Server-sent events (WHATWG HTML §9.2): encoding and incremental decoding, without I/O.
 */

export interface SseFields {
  readonly id?: string;
  readonly event?: string;
  /** Lines of any ending; each becomes a `data:` line. */
  readonly data: string;
}

/** One event as text, with the empty line that dispatches it. */
export function encodeSse({ id, event, data }: SseFields): string {
  let text = "";
  if (id !== undefined) text += `id: ${id}\n`;
  if (event !== undefined) text += `event: ${event}\n`;
  if (!LINE_END.test(data)) return `${text}data: ${data}\n\n`;
  for (const line of data.split(LINE_ENDS)) text += `data: ${line}\n`;
  return `${text}\n`;
}

/** A comment keeps a connection alive; readers ignore it. */
export const SSE_COMMENT = ":\n\n";

const LINE_END = /[\r\n]/;
const LINE_ENDS = /\r\n|\r|\n/;

export type SseOutput =
  /** `id` is the last event id of the stream, which an event without an `id` field inherits. */
  | { readonly type: "event"; readonly id: string; readonly event: string; readonly data: string }
  | { readonly type: "retry"; readonly ms: number }
  /** Proof of life. */
  | { readonly type: "comment"; readonly text: string };

export class SseTooLong extends Error {
  override readonly name = "SseTooLong";
}

export class SseDecoder {
  readonly #maxChars: number;
  readonly #utf8 = new TextDecoder();
  #rest = "";
  /** The chunk before ended with CR: an LF that follows belongs to it. */
  #afterCr = false;
  #id: string;
  #event = "";
  #data: string | undefined;

  /** `maxChars` is the most that one event, or one line, may have (default 16 Mi). */
  constructor(options: { readonly maxChars?: number; readonly lastEventId?: string } = {}) {
    this.#maxChars = options.maxChars ?? 16 * 1024 * 1024;
    this.#id = options.lastEventId ?? "";
  }

  /**
   * Takes the next bytes, cut anywhere. An event without its empty line is not dispatched: at the end of
   * the stream what is unfinished is thrown away, as the standard says.
   * @throws SseTooLong
   */
  feed(chunk: Uint8Array | string): SseOutput[] {
    let text = typeof chunk === "string" ? chunk : this.#utf8.decode(chunk, { stream: true });
    if (this.#afterCr && text !== "") {
      if (text[0] === "\n") text = text.slice(1);
      this.#afterCr = false;
    }
    const output: SseOutput[] = [];
    const buffer = this.#rest === "" ? text : this.#rest + text;
    let from = 0;
    // Both ends are looked for once and again only when passed: no scan is repeated within a chunk.
    let lf = buffer.indexOf("\n");
    let cr = buffer.indexOf("\r");
    while (lf !== -1 || cr !== -1) {
      const isCr = cr !== -1 && (lf === -1 || cr < lf);
      const end = isCr ? cr : lf;
      this.#line(buffer.slice(from, end), output);
      from = end + 1;
      if (isCr && from === buffer.length) this.#afterCr = true;
      else if (isCr && lf === from) from++;
      if (lf !== -1 && lf < from) lf = buffer.indexOf("\n", from);
      if (cr !== -1 && cr < from) cr = buffer.indexOf("\r", from);
    }
    this.#rest = from === 0 ? buffer : buffer.slice(from);
    this.#check(this.#rest.length + (this.#data?.length ?? 0));
    return output;
  }

  #line(line: string, output: SseOutput[]): void {
    if (line === "") {
      this.#dispatch(output);
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) {
      output.push({ type: "comment", text: line.slice(1).trimStart() });
      return;
    }
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") {
      this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
      this.#check(this.#data.length);
    } else if (field === "event") this.#event = value;
    else if (field === "id") {
      if (!value.includes("\0")) this.#id = value;
    } else if (field === "retry" && /^[0-9]+$/.test(value)) output.push({ type: "retry", ms: Number(value) });
  }

  #dispatch(output: SseOutput[]): void {
    if (this.#data !== undefined) {
      output.push({ type: "event", id: this.#id, event: this.#event || "message", data: this.#data });
    }
    this.#data = undefined;
    this.#event = "";
  }

  #check(chars: number): void {
    if (chars > this.#maxChars)
      throw new SseTooLong(`an event of the stream has more than ${this.#maxChars} characters`);
  }
}
