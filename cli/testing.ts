/** For the tests of the command line: the real program, as a process. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Listener } from "../src/net/serve.ts";
import type { Address } from "../src/part.ts";

export const ROOT = resolve(import.meta.dir, "..");
export const MAIN = join(ROOT, "cli/main.ts");
export const STUDIO = join(ROOT, "examples/studio/service.ts");

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The lines of `out` as JSON. */
  readonly json: unknown[];
}

/** A directory of its own; `.backtalk` is made there. */
export class Place {
  readonly directory = mkdtempSync(join(tmpdir(), "backtalk-cli-"));

  start(args: readonly string[], stdin: Blob | "pipe" = new Blob([]), env: Record<string, string> = {}) {
    return Bun.spawn([process.execPath, MAIN, ...args], {
      cwd: this.directory,
      stdin,
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, BACKTALK_COMMAND: "backtalk", NO_COLOR: "1", ...env },
    });
  }

  async run(args: readonly string[], stdin?: string, env?: Record<string, string>): Promise<Ended> {
    const child = this.start(args, new Blob([stdin ?? ""]), env);
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err, json: jsonLines(out) };
  }

  async file(name: string, text: string): Promise<string> {
    await Bun.write(join(this.directory, name), text);
    return join(this.directory, name);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Server {
  readonly child: ReturnType<Place["start"]>;
  readonly http: string;
  readonly https: string;
  /** Where its parts are reached. */
  readonly addresses: readonly Address[];
}

/** `backtalk serve` on free ports; resolves when it is up. */
export async function serveIn(place: Place, file = STUDIO, more: readonly string[] = []): Promise<Server> {
  const ports = ["--port", "0", "--tls-port", "0"];
  const child = place.start(["serve", file, ...ports, "--json", "--drain", "1", ...more]);
  const line = await lineOf(child.stdout);
  if (line === undefined) throw new Error(`the server did not start: ${await new Response(child.stderr).text()}`);
  const { listeners, addresses } = JSON.parse(line) as { listeners: Listener[]; addresses: Address[] };
  const of = (scheme: string) => listeners.find(({ url }) => url.startsWith(`${scheme}:`))?.url ?? "";
  return { child, http: of("http"), https: of("https"), addresses };
}

/** The first line, and no more. */
async function lineOf(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  return (await takeLines(stream.getReader(), 1))[0];
}

/** So many lines as they come, or all. */
export async function takeLines(
  reader: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> },
  most: number,
) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const lines = text.split("\n");
    if (lines.length > most) return lines.slice(0, most);
    const { done, value } = await reader.read();
    if (done) return lines.filter((line) => line !== "");
    text += decoder.decode(value, { stream: true });
  }
}

function jsonLines(text: string): unknown[] {
  try {
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as unknown);
  } catch {
    return [];
  }
}
