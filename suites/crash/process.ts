/** Starts and kills the server process. */
import { fileURLToPath } from "node:url";
import type { ServerArgs } from "./server.ts";

export interface ServerProcess {
  readonly pid: number;
  readonly port: number;
  readonly tlsPort: number;
  readonly tcpPort: number;
  readonly grpcPort: number;
  /** SIGKILL: nothing can be tidied up. */
  kill(): Promise<void>;
  /** Resolves when it has ended, by itself or not. */
  readonly exited: Promise<number>;
}

export async function startServer(args: ServerArgs): Promise<ServerProcess> {
  const file = fileURLToPath(new URL("server.ts", import.meta.url));
  const child = spawn(file, JSON.stringify(args));
  const ports = await firstLine(child.stdout);
  if (ports === undefined) throw new Error(`the server ended before it answered, with ${await child.exited}`);
  return {
    pid: child.pid,
    ...(JSON.parse(ports) as Pick<ServerProcess, "port" | "tlsPort" | "tcpPort" | "grpcPort">),
    exited: child.exited,
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Opens connections that say nothing, or half of something, in a process of their own; as many as it may. */
export async function startIdle(port: number, count: number): Promise<{ open: number; end(): Promise<unknown> }> {
  const child = spawn(fileURLToPath(new URL("../hostile/idle.ts", import.meta.url)), String(port), String(count));
  const open = Number(await firstLine(child.stdout));
  return {
    open,
    end() {
      child.kill("SIGKILL");
      return child.exited;
    },
  };
}

/** With as many open files as the system allows: a connection is one. `exec` keeps the process id. */
function spawn(file: string, ...args: readonly string[]) {
  const raise = 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"';
  return Bun.spawn(["sh", "-c", raise, "sh", process.execPath, file, ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  for (let text = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return undefined;
    text += decoder.decode(value, { stream: true });
    const end = text.indexOf("\n");
    if (end < 0) continue;
    // Read on, so that the process never waits for room in the pipe.
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return text.slice(0, end);
  }
}
