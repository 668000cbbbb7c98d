/**
 * An emulated network on one machine, without root: hosts in network namespaces, and a wire in user space
 * between them that delays, loses, reorders, translates and captures what passes.
 *
 * ```ts
 * await using net = await wire({
 *   hosts: { client: { up: { delayMs: 50 }, down: { delayMs: 50, loss: 0.01 } }, server: {} },
 *   seed: 7,
 * });
 * const server = await net.hosts["server"]!.start(new URL("./server.ts", import.meta.url));
 * ```
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { entrance } from "./availability.ts";
import type { Command, WireStats } from "./daemon.ts";
import { Lines } from "./lines.ts";
import { Program } from "./program.ts";
import { decodeSeen, type Seen } from "./record.ts";
import { scratch } from "./scratch.ts";
import { attach, type HostSpec, type WireOptions } from "./spec.ts";

export { type Availability, availability } from "./availability.ts";
export type { WireStats } from "./daemon.ts";
export { type DropRule, parseDrop } from "./drops.ts";
export type { DropReason, GilbertElliott, Impairments } from "./link.ts";
export { NAT_TYPES, type NatType } from "./nat.ts";
export type { Program } from "./program.ts";
export type { Seen } from "./record.ts";
export type { HostSpec, WireOptions } from "./spec.ts";

export interface Host {
  readonly name: string;
  readonly address: string;
  /** Where the others reach it: the outside of its NAT box, or its address. */
  readonly reachedAt: string;
  /** The process that holds its namespaces open. */
  readonly holder: number;
  /** The command with what puts it into the namespace of the host; it ends with this process. */
  command(command: readonly string[]): string[];
  /** Starts a module of this project there, which calls `serveProgram`. */
  start(module: URL, options?: { readonly env?: Readonly<Record<string, string>> }): Promise<Program>;
  /** From now on its links are these. */
  setLinks(links: Pick<HostSpec, "up" | "down">): Promise<void>;
  /** Nothing from and to it passes, or everything again. */
  cut(isCut: boolean): Promise<void>;
  /** Its NAT box forgets its mappings. */
  rebind(): Promise<void>;
  /** Sends a frame that was captured once more, as if the host had sent it now. */
  inject(bytes: Uint8Array): Promise<void>;
}

export interface Wire extends AsyncDisposable {
  /** The process that is the wire. */
  readonly pid: number;
  readonly hosts: Readonly<Record<string, Host>>;
  /** What was seen since the last time, in the order in which it left or was dropped. */
  capture(options?: { readonly keep?: boolean }): Promise<Seen[]>;
  setDrops(drops: NonNullable<WireOptions["drops"]>): Promise<void>;
  /** Links and drops begin anew, with the luck of the seed from its first packet. */
  reset(): Promise<void>;
  stats(): Promise<WireStats>;
  /** Ends every program on it and the network. Nothing is left. */
  stop(): Promise<void>;
}

/** @throws Error that says what the machine lacks, and the remedy */
export async function wire(options: WireOptions): Promise<Wire> {
  const attached = attach(options.hosts);
  const { enter, join: joinHost } = await entrance();
  const folder = scratch("wire");
  const daemon = Bun.spawn([...enter, process.execPath, fileURLToPath(new URL("./daemon.ts", import.meta.url))], {
    env: { ...process.env, TMPDIR: folder.path },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const lines = new Lines(daemon);
  lines.send(options);
  const first = await lines.first().catch((thrown) => {
    folder[Symbol.dispose]();
    throw thrown;
  });
  const { pid, holders } = first as { pid: number; holders: number[] };
  const programs = new Set<Program>();
  let files = 0;
  const ask = (command: Command) => lines.ask(command);
  const hosts = attached.map(({ name, address, spec }, index): Host => {
    const into = joinHost(holders[index]!);
    return {
      name,
      address,
      reachedAt: spec.nat?.outside ?? address,
      holder: holders[index]!,
      command: (command) => [...into, ...command],
      async start(module, { env = {} } = {}) {
        const program = await Program.start([...into, process.execPath, fileURLToPath(module)], env);
        programs.add(program);
        program.ended.then(() => programs.delete(program));
        return program;
      },
      setLinks: async (links) => void (await ask({ do: "links", host: index, links })),
      cut: async (isCut) => void (await ask({ do: "cut", host: index, isCut })),
      rebind: async () => void (await ask({ do: "rebind", host: index })),
      inject: async (bytes) =>
        void (await ask({ do: "inject", host: index, base64: Buffer.from(bytes).toString("base64") })),
    };
  });
  const stop = async () => {
    await Promise.all([...programs].map((program) => program.stop()));
    daemon.stdin.end();
    await daemon.exited;
    folder[Symbol.dispose]();
  };
  return {
    pid,
    hosts: Object.fromEntries(hosts.map((host) => [host.name, host])),
    async capture({ keep = false } = {}) {
      const file = join(folder.path, String(files++));
      await ask({ do: "capture", file, keep });
      const seen = decodeSeen(readFileSync(file));
      rmSync(file);
      return seen;
    },
    setDrops: async (drops) => void (await ask({ do: "drops", drops })),
    reset: async () => void (await ask({ do: "reset" })),
    stats: async () => (await ask({ do: "stats" })) as WireStats,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
