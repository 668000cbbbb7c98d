/** What is sent: JSON on the command line, of a file (`@file`) or of stdin (`-`). */
import { UsageError } from "./exit.ts";
import { clip } from "./table.ts";

/** The JSON value; undefined when nothing was given. @throws UsageError */
export async function readInput(text: string | undefined, stdin: Blob): Promise<unknown> {
  if (text === undefined) return undefined;
  const source = sourceOf(text, stdin);
  if (!source) return parse(text, "the input", SHELL);
  return parse(await source.read(), source.name);
}

/** A value from each line, as the lines come. @throws UsageError */
export async function* readItems(text: string, stdin: Blob): AsyncGenerator<unknown> {
  const source = sourceOf(text, stdin);
  if (!source) {
    const value = parse(text, "the items", SHELL);
    if (!Array.isArray(value))
      throw new UsageError(
        `--items needs a JSON array, and ${JSON.stringify(clip(text, 60))} is ${value === null ? "null" : `one ${typeof value}`}`,
        "--items is for methods that take a stream of items: [1, 2], or @FILE or - with an item a line; one that streams back needs no option",
      );
    yield* value;
    return;
  }
  let number = 0;
  for await (const line of linesOf(source)) {
    number++;
    if (line.trim() !== "") yield parse(line, `line ${number} of ${source.name}`);
  }
}

/** Whether it says where to read from, instead of being the value. */
export function isSource(text: string | undefined): boolean {
  return text === "-" || text?.startsWith("@") === true;
}

interface Source {
  readonly name: string;
  readonly blob: Blob;
  read(): Promise<string>;
}

function sourceOf(text: string, stdin: Blob): Source | undefined {
  if (!isSource(text)) return undefined;
  const name = text === "-" ? "stdin" : text.slice(1);
  const blob = text === "-" ? stdin : Bun.file(name);
  return { name, blob, read: () => blob.text().catch((thrown) => Promise.reject(unreadable(name, thrown))) };
}

async function* linesOf({ name, blob }: Source): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  const reader = blob.stream().getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + decoder.decode(value, { stream: !done })).split(/\r?\n/);
      rest = lines.pop()!;
      yield* lines;
      if (done) break;
    }
  } catch (thrown) {
    throw thrown instanceof UsageError ? thrown : unreadable(name, thrown);
  } finally {
    // Not awaited: a terminal that is waited for answers only after the next line.
    reader.cancel().catch(() => {});
  }
  if (rest !== "") yield rest;
}

/** What shells do to JSON. */
const SHELL = `put it in single quotes, as in '{"n":97}'; or read it from a file with @FILE, or from stdin with -`;

function parse(text: string, what: string, hint?: string): unknown {
  if (text.trim() === "") throw new UsageError(`${what} is empty, not JSON`, hint);
  try {
    return JSON.parse(text);
  } catch (thrown) {
    const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
    throw new UsageError(
      `${what} is not JSON: ${(thrown as Error).message.replace(/^JSON Parse error: /, "")}: ${JSON.stringify(shown)}`,
      hint,
    );
  }
}

function unreadable(name: string, thrown: unknown): UsageError {
  const { code } = thrown as { code?: string };
  if (code === "ENOENT") return new UsageError(`there is no file ${name}`);
  if (code === "EISDIR") return new UsageError(`${name} is a directory`);
  return new UsageError(`${name} cannot be read: ${(thrown as Error).message}`);
}
