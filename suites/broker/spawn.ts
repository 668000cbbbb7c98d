/** A program of this folder as a process: its first line says that it is up. It ends with the broker that it uses. */
import type { TestBroker } from "./broker.ts";

/** Where it runs. */
export interface Surroundings {
  readonly broker: TestBroker;
  /** The file in which its handlers leave a line for each effect. */
  readonly effects: string;
}

export interface Spawned {
  readonly pid: number;
  /** Its first line. */
  readonly said: unknown;
  readonly exited: Promise<number>;
  /** SIGKILL: nothing can be tidied up. */
  kill(): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<void>;
}

export async function spawn(file: string, args: unknown, { broker, effects }: Surroundings): Promise<Spawned> {
  const child = Bun.spawn([process.execPath, file, JSON.stringify(args)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, ...broker.mark, BACKTALK_EFFECTS: effects },
  });
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`${file} ended before it was up, with ${await child.exited}`);
    text += decoder.decode(value, { stream: true });
  }
  reader.releaseLock();
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await child.exited;
  };
  return {
    pid: child.pid,
    said: JSON.parse(text.slice(0, text.indexOf("\n"))) as unknown,
    exited: child.exited,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}
