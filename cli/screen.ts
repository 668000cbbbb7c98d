/** Where the command prints: results to stdout, everything about them to stderr. Knows terminals from pipes. */
import { clip, type Style, wrap } from "./table.ts";

/** What is used of `process.stdout` and `process.stderr`; tests give their own. */
export interface Sink {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done?: (error?: Error | null) => void): boolean;
}

export interface Surroundings {
  readonly out: Sink;
  readonly err: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export class Screen {
  readonly #out: Sink;
  readonly #err: Sink;
  readonly #isColoured: boolean;
  readonly #pipeWidth: number;
  #isForPrograms = false;
  /** The status line at the bottom, when there is one; only on a terminal. */
  #status: ((width: number) => string) | undefined;

  constructor({ out, err, env }: Surroundings) {
    this.#out = out;
    this.#err = err;
    // https://no-color.org: set and not empty. FORCE_COLOR is for those who look at a pipe.
    const isForced = (env["FORCE_COLOR"] ?? "") !== "" && env["FORCE_COLOR"] !== "0";
    this.#pipeWidth = /^\d{1,4}$/.test(env["COLUMNS"] ?? "") ? Math.max(20, Number(env["COLUMNS"])) : 80;
    this.#isColoured = (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb" && (isForced || out.isTTY === true);
  }

  /** Whether somebody looks at the results; else a program reads them. */
  get isTerminal(): boolean {
    return this.#out.isTTY === true && !this.#isForPrograms;
  }

  /** From here on results are printed as into a pipe (`--json`). */
  printForPrograms(): void {
    this.#isForPrograms = true;
  }

  /** Whether a line can be drawn again and again. */
  get canDraw(): boolean {
    return this.#err.isTTY === true;
  }

  get style(): Style {
    const code = (on: number, off: number) => (text: string) =>
      this.#isColoured && text !== "" ? `\u001b[${on}m${text}\u001b[${off}m` : text;
    return { width: this.width, bold: code(1, 22), dim: code(2, 22) };
  }

  /** Of the results: that of the terminal, of a pipe what COLUMNS says. */
  get width(): number {
    return this.isTerminal ? columnsOf(this.#out) : this.#pipeWidth;
  }

  /** A line of the result. Resolves when the reader has room for more. */
  print(line: string): Promise<void> {
    return this.printAll([harmless(line)]);
  }

  /** Lines with a style. What somebody else has said in them was made harmless before. */
  printAll(lines: readonly string[]): Promise<void> {
    this.#erase();
    const written = new Promise<void>((resolve) => this.#out.write(`${lines.join("\n")}\n`, () => resolve()));
    this.#draw();
    return written;
  }

  /** A line about what happens. */
  note(line: string): void {
    this.#erase();
    this.#err.write(`${harmless(line)}\n`);
    this.#draw();
  }

  /** Lines about what went wrong, broken at words on a terminal. */
  explain(lines: readonly string[]): void {
    const width = columnsOf(this.#err);
    for (const line of lines.flatMap((each) => harmless(each).split("\n"))) {
      for (const part of this.canDraw ? wrap(line, width) : [line]) this.note(part);
    }
  }

  /** Shows a line below everything that is printed, until the next one or `undefined`. Nothing in a pipe. */
  status(line: ((width: number) => string) | undefined): void {
    if (!this.canDraw) return;
    this.#erase();
    this.#status = line;
    this.#draw();
  }

  #erase(): void {
    if (this.#status) this.#err.write("\r\u001b[2K");
  }

  #draw(): void {
    if (!this.#status) return;
    // The last column stays free: a terminal that wraps there would leave lines behind.
    const width = columnsOf(this.#err) - 1;
    this.#err.write(`\r${clip(this.#status(width), width)}`);
  }
}

function columnsOf(sink: Sink): number {
  return Math.max(20, sink.columns || 80);
}

/**
 * Text of somebody else, without what a terminal would take for a command or a line of its own, and without what
 * shows text in another order than it has (UAX #9, §2).
 */
export function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** On one line, for the middle of a sentence. */
export function oneLine(text: unknown): string {
  return harmless(String(text)).replace(/\s+/g, " ");
}

/** A word of a command that is printed to be used again: whatever is in it, a shell takes it for nothing else. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${oneLine(text).replaceAll("'", "'\\''")}'`;
}
