/** Questions and answers with a child process, a line of JSON each. */
import type { Subprocess } from "bun";

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: string;
}

export class Lines {
  readonly #child: Subprocess<"pipe", "pipe", "inherit" | "pipe">;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #first = Promise.withResolvers<unknown>();
  readonly #onEvent: ((value: unknown) => void) | undefined;
  #next = 1;

  /** `onEvent` gets what the child says without being asked, after its first line. */
  constructor(child: Subprocess<"pipe", "pipe", "inherit" | "pipe">, onEvent?: (value: unknown) => void) {
    this.#child = child;
    this.#onEvent = onEvent;
    this.#first.promise.catch(() => {});
    void this.#read();
  }

  /** The first line, which nobody asked for. */
  first(): Promise<unknown> {
    return this.#first.promise;
  }

  send(value: unknown): void {
    this.#child.stdin.write(`${JSON.stringify(value)}\n`);
    this.#child.stdin.flush();
  }

  ask(question: object): Promise<unknown> {
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    if (this.#child.exitCode !== null) this.#lost();
    else this.send({ ...question, id });
    return promise;
  }

  async #read(): Promise<void> {
    let isFirst = true;
    let text = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.#child.stdout) {
      const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
      text = lines.pop()!;
      for (const line of lines) {
        const value = JSON.parse(line) as Answer;
        if (isFirst) {
          isFirst = false;
          if (value.error === undefined) this.#first.resolve(value);
          else this.#first.reject(new Error(value.error));
        } else if (value.id === undefined) this.#onEvent?.(value);
        else this.#answered(value);
      }
    }
    this.#lost();
  }

  #answered({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id!);
    this.#waiting.delete(id!);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }

  #lost(): void {
    const error = new Error("the process has ended");
    this.#first.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
