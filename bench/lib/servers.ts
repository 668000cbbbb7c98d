/** Starts the servers that are measured, each in a process of its own, on 127.0.0.1. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Certificate, makeCertificate } from "../../src/net/certificate.ts";
import { Missing } from "./bench.ts";
import { Child, output } from "./proc.ts";

const BENCH = join(import.meta.dir, "..");

/** A process that has said that it is ready. */
export interface Running {
  readonly name: string;
  readonly pid: number;
  end(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

export interface Server extends Running {
  readonly port: number;
  readonly url: string;
  /** HTTP/1.1, 2 and 3 on one port, when it was asked for. */
  readonly tlsUrl: string;
}

export interface BacktalkOptions {
  readonly tls?: boolean;
  /** `memory:` or a path of SQLite (default: a new file, `synchronous=FULL`). */
  readonly store?: string;
  readonly sync?: "full" | "normal";
  readonly port?: number;
}

export type Peer = "hono" | "fastify" | "trpc" | "connect" | "socketio";

export class Servers {
  readonly #dir: string;
  readonly #say: (what: string) => void;
  #certificate: Certificate | undefined;
  #installed: Promise<void> | undefined;
  readonly #running = new Set<Running>();
  #files = 0;

  constructor(dir: string, say: (what: string) => void) {
    this.#dir = dir;
    this.#say = say;
  }

  async bare(options: { readonly tls?: boolean } = {}): Promise<Server> {
    const tls = options.tls ? this.#tls() : undefined;
    return this.#start("bare Bun.serve", [process.execPath, join(BENCH, "servers/bare.ts")], { tls });
  }

  async backtalk({ tls, store, sync, port }: BacktalkOptions = {}): Promise<Server> {
    return this.#start("Backtalk", [process.execPath, join(BENCH, "servers/backtalk.ts")], {
      tls: tls ? this.#tls() : undefined,
      store: store ?? join(this.#dir, `store-${this.#files++}.sqlite`),
      sync: sync ?? "full",
      port: port ?? 0,
    });
  }

  /** @throws Missing when Node or the packages of the peers are not there. */
  async peer(name: Peer): Promise<Server> {
    await this.install();
    const runtime = name === "hono" ? process.execPath : Bun.which("node");
    if (!runtime) throw new Missing("node is not installed: https://nodejs.org (22 or newer)");
    return this.#start(name, [runtime, join(BENCH, `peers/${name}.mjs`)], {});
  }

  /** `backtalk serve` itself, without TLS, with a store of its own. */
  async served(file: string, options: readonly string[] = []): Promise<Server> {
    const store = `sqlite:${join(this.#dir, `store-${this.#files++}.sqlite`)}`;
    const ports = ["--no-tls", "--port", "0", "--grpc-port", "0", "--tcp-port", "0", "--udp-port", "0"];
    const args = ["serve", join(BENCH, file), ...ports, "--store", store, "--log", "none", ...options];
    const { running, up } = await this.#cli<{ listeners: { url: string }[] }>("Backtalk", args);
    const { port, origin } = new URL(up.listeners[0]!.url);
    return { ...running, port: Number(port), url: origin, tlsUrl: "" };
  }

  async worker(file: string, options: readonly string[]): Promise<Running> {
    const { running } = await this.#cli("Backtalk's worker", ["worker", join(BENCH, file), ...options]);
    return running;
  }

  /** What answers from queues of a broker without Backtalk. */
  async answers(options: Readonly<Record<"url" | "safe" | "fast" | "unread", string>>): Promise<Running> {
    const command = [process.execPath, join(BENCH, "peers/amqp.mjs"), JSON.stringify(options)];
    return (await this.#run("rabbitmq-client", command)).running;
  }

  /** The body of each request to a file, on Bun.serve. */
  async sink(directory: string): Promise<Server> {
    return this.#start("bare Bun.serve", [process.execPath, join(BENCH, "servers/sink.ts")], { directory });
  }

  /** `@tus/server` with its file store. @throws Missing as `peer` */
  async tus(runtime: "node" | "bun", directory: string): Promise<Server> {
    await this.install();
    const program = runtime === "bun" ? process.execPath : Bun.which("node");
    if (!program) throw new Missing("node is not installed: https://nodejs.org (22 or newer)");
    return this.#start(`@tus/server, ${runtime}`, [program, join(BENCH, "peers/tus.mjs")], { directory });
  }

  /** What a section has left running. */
  async endAll(): Promise<void> {
    await Promise.all([...this.#running].map((server) => server.end()));
  }

  /** The packages of the peers, as the lock file says, on first use. */
  install(): Promise<void> {
    this.#installed ??= this.#install();
    return this.#installed;
  }

  async #install(): Promise<void> {
    const stamp = join(BENCH, "node_modules/.lock-hash");
    const hash = Bun.hash(await Bun.file(join(BENCH, "package-lock.json")).bytes()).toString(36);
    if (existsSync(stamp) && (await Bun.file(stamp).text()) === hash) return;
    if (!Bun.which("npm")) throw new Missing("npm is not installed: it comes with Node, https://nodejs.org");
    this.#say("installing the peers (npm ci in bench/)");
    try {
      await output(["npm", "ci", "--prefix", BENCH, "--no-audit", "--no-fund", "--ignore-scripts"], 300_000);
    } catch (thrown) {
      throw new Missing(`the peers cannot be installed (npm ci in bench/): ${(thrown as Error).message}`);
    }
    await Bun.write(stamp, hash);
  }

  #cli<T>(name: string, args: readonly string[]): Promise<{ running: Running; up: T }> {
    return this.#run(name, [process.execPath, join(BENCH, "../cli/main.ts"), ...args, "--json"]);
  }

  /** A program, and the first line of JSON that it prints. */
  async #run<T>(name: string, command: readonly string[]): Promise<{ running: Running; up: T }> {
    const child = new Child(command);
    const running: Running = {
      name,
      pid: child.pid,
      end: (signal) => {
        this.#running.delete(running);
        return child.end(signal);
      },
    };
    this.#running.add(running);
    return { running, up: await child.answer<T>(30_000) };
  }

  async #start(name: string, command: string[], options: object): Promise<Server> {
    const { running, up } = await this.#run<{ port: number; tlsPort?: number }>(name, [
      ...command,
      JSON.stringify(options),
    ]);
    const { port, tlsPort } = up;
    const tlsUrl = tlsPort === undefined ? "" : `https://127.0.0.1:${tlsPort}`;
    return { ...running, port, url: `http://127.0.0.1:${port}`, tlsUrl };
  }

  /** Self-signed, one for all servers of a run. */
  #tls(): Certificate {
    this.#certificate ??= makeCertificate(["localhost", "127.0.0.1"], Date.now());
    return this.#certificate;
  }
}
