/** A program on a host of the wire: its functions are called from here, by lines of JSON. */
import { Lines } from "./lines.ts";

export class Program {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: Lines;
  /** What it says without being asked (`tell`). */
  onTold: ((value: unknown) => void) | undefined;

  private constructor(child: Bun.Subprocess<"pipe", "pipe", "inherit">) {
    this.#child = child;
    this.#lines = new Lines(child, (value) => this.onTold?.(value));
  }

  static async start(command: readonly string[], env: Readonly<Record<string, string>>): Promise<Program> {
    const child = Bun.spawn([...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      // That node:quic is experimental is in the notes of those who use it.
      env: { ...process.env, NODE_NO_WARNINGS: "1", ...env },
    });
    const program = new Program(child);
    await program.#lines.first();
    return program;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get ended(): Promise<number> {
    return this.#child.exited;
  }

  /** Calls a function that the program serves. @throws Error with its message */
  call<T = unknown>(name: string, ...args: readonly unknown[]): Promise<T> {
    return this.#lines.ask({ call: name, args }) as Promise<T>;
  }

  /** As the machine would end it. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async stop(): Promise<void> {
    this.#child.stdin.end();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 2_000);
    await this.#child.exited;
    clearTimeout(late);
  }
}

type Functions = Readonly<Record<string, (...args: never[]) => unknown>>;

/**
 * In the program: serves these functions to whoever started it, and ends with its standard input.
 * `tell` says something without being asked. Standard output belongs to this: print to standard error.
 */
export function serveProgram(functions: Functions): { tell(value: object): void } {
  const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  const answer = async (id: number, name: string, args: never[]) => {
    try {
      const called = functions[name];
      if (!called) throw new Error(`the program has no function ${name}`);
      say({ id, result: (await called(...args)) ?? null });
    } catch (thrown) {
      say({ id, error: thrown instanceof Error ? thrown.message : String(thrown) });
    }
  };
  void (async () => {
    for await (const line of console) {
      if (line === "") continue;
      const { id, call, args } = JSON.parse(line) as { id: number; call: string; args: never[] };
      void answer(id, call, args);
    }
    process.exit(0);
  })();
  say({ ready: true });
  return { tell: say };
}
