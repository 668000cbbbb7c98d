/** Child processes that never outlive the benchmark, and what Linux tells about them. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";

const live = new Set<Bun.Subprocess>();

/** Kills what was started, by its id. */
export function killAll(): void {
  for (const child of live) child.kill("SIGKILL");
  live.clear();
}

/** Ends everything on Ctrl-C, SIGTERM and a crash alike. */
export function cleanUpOnExit(cleanUp: () => void): void {
  process.on("exit", () => {
    killAll();
    cleanUp();
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
}

export class Child {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncGenerator<string>;
  #errors = "";

  constructor(command: readonly string[], options: { readonly cwd?: string } = {}) {
    // Thousands of sockets need as many file descriptors; what the system refuses is seen by `fileLimit`.
    const raised = `ulimit -n ${FILES} 2>/dev/null || ulimit -n $(ulimit -Hn); exec "$@"`;
    this.#process = Bun.spawn(["sh", "-c", raised, "sh", ...command], {
      ...options,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, NODE_ENV: "production" },
      onExit: (child) => void live.delete(child),
    });
    live.add(this.#process);
    this.#lines = linesOf(this.#process.stdout);
    void this.#readErrors();
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The next line that it prints as JSON; other lines are passed over. @throws when it exits before. */
  async answer<T>(timeoutMs: number): Promise<T> {
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), timeoutMs);
    try {
      for (;;) {
        const { value, done } = await this.#lines.next();
        if (done) {
          await this.#process.exited;
          throw new Error(`process ended (${this.#process.exitCode ?? this.#process.signalCode}): ${this.#errors}`);
        }
        if (value.startsWith("{")) return JSON.parse(value) as T;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Writes a line of JSON to it, and takes the one that it answers. */
  async ask<T>(question: unknown, timeoutMs: number): Promise<T> {
    this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    await this.#process.stdin.flush();
    return this.answer<T>(timeoutMs);
  }

  async end(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await this.#process.exited;
    clearTimeout(timer);
  }

  async #readErrors(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of this.#process.stderr) this.#errors = (this.#errors + decoder.decode(bytes)).slice(-2000);
  }
}

export const FILES = 65_536;

/** Runs to its end and gives what it printed. @throws when it fails. */
export async function output(command: readonly string[], timeoutMs = 60_000): Promise<string> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: timeoutMs,
    onExit: (exited) => void live.delete(exited),
  });
  live.add(child);
  const [text, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command[0]} failed: ${(errors || text).slice(-500)}`);
  return text;
}

/** CPU time of all its threads, user and system, in µs (steps of 10 ms). Undefined where there is no /proc. */
export function cpuUs(pid: number): number | undefined {
  const stat = proc(pid, "stat");
  // The name is in parentheses and may have spaces; utime and stime are the 14th and 15th field (proc(5)).
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields && (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Memory in use now, and the most there ever was, in bytes. */
export function memory(pid: number): { readonly now: number; readonly peak: number } | undefined {
  const status = proc(pid, "status");
  if (status === undefined) return undefined;
  const bytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  return { now: bytes("VmRSS"), peak: bytes("VmHWM") };
}

/** How many files the children may open. */
export async function fileLimit(): Promise<number> {
  const command = `ulimit -n ${FILES} 2>/dev/null || ulimit -n $(ulimit -Hn); ulimit -n`;
  const text = (await output(["sh", "-c", command])).trim();
  return text === "unlimited" ? FILES : Number(text);
}

function proc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
