/** `backtalk serve` in a process that can be killed, with uploads in a directory that stays. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MAIN, takeLines } from "../../cli/testing.ts";

export class UploadServer {
  readonly folder = mkdtempSync(join(tmpdir(), "backtalk-uploads-"));
  readonly uploads: string;
  readonly #more: readonly string[];
  #child: ReturnType<typeof spawn> | undefined;
  port = 0;

  constructor(more: readonly string[] = [], uploads?: string) {
    this.uploads = uploads ?? join(this.folder, "uploads");
    this.#more = more;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#child!.pid;
  }

  async start(): Promise<this> {
    const service = fileURLToPath(new URL("service.ts", import.meta.url));
    const own = ["--no-tls", "--port", String(this.port), "--json", "--drain", "0", "--log", "none"];
    const others = ["--no-grpc", "--no-tcp", "--no-udp"];
    const store = `sqlite:${join(this.folder, "db.sqlite")}`;
    this.#child = spawn([
      "serve",
      service,
      ...own,
      ...others,
      "--store",
      store,
      "--uploads",
      this.uploads,
      ...this.#more,
    ]);
    const [line] = await takeLines((this.#child.stdout as ReadableStream<Uint8Array>).getReader(), 1);
    if (line === undefined) throw new Error(await new Response(this.#child.stderr as ReadableStream).text());
    this.port = (JSON.parse(line) as { listeners: { port: number }[] }).listeners[0]!.port;
    return this;
  }

  /** As a power switch would for the process: no time to say anything. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Files of uploads. */
  files(): string[] {
    return existsSync(this.uploads) ? readdirSync(this.uploads).filter((name) => !name.startsWith("lock")) : [];
  }

  /** Resident memory, in bytes. */
  rss(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
  }
}

function spawn(args: readonly string[]) {
  return Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_COLOR: "1" },
  });
}
