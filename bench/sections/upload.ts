/** One large upload over each protocol, beside the bare platform and @tus/server, on the same disk. */
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { type Bench, Missing, type Section } from "../lib/bench.ts";
import { Child, cpuUs, memory, output } from "../lib/proc.ts";
import { interleaved } from "../lib/rounds.ts";
import type { Server } from "../lib/servers.ts";
import { median, medianRatio } from "../lib/stats.ts";
import type { Cell } from "../lib/table.ts";
import { CHUNK, type Uploaded, type UploadOrder, type UploadWay } from "../load/upload.ts";

const MB = 1e6;
const MiB = 2 ** 20;
const METHOD = "files/keep";
const PROGRAM = join(import.meta.dir, "../load/upload.ts");
const MOST_MS = 120_000;

interface Variant {
  readonly name: string;
  readonly way: UploadWay;
  readonly server: Server;
  readonly idle: number | undefined;
  /** Where it leaves the bytes, when it does not make sure itself that they are on the disk. */
  readonly leaves?: string;
}

interface Sample {
  readonly ms: number;
  /** Until the bytes are on the disk. */
  readonly diskMs: number;
  readonly cpuUs: number;
}

export const upload: Section = {
  name: "upload",
  title: "One large upload",
  async run(bench) {
    const bytes = (bench.quick ? 64 : 256) * MiB;
    const { variants, notes } = await start(bench);
    const client = new Child([process.execPath, PROGRAM]);
    try {
      bench.say(`${bytes / MiB} MiB: ${variants.map(({ name }) => name).join("; ")}`);
      const runs = variants.map((variant) => () => sample(client, variant, bytes));
      const samples = await interleaved(bench.rounds, runs);
      const rows = variants.map((variant, i) => rowOf(variant, samples[i]!, samples[0]!, bytes));
      const columns = ["", "MB/s", "on disk", "ratio", "CPU s/GB", "idle MiB", "peak MiB"];
      return { tables: [{ columns, rows }], notes: [...notesOf(bytes, await fileSystem(bench.dir)), ...notes] };
    } finally {
      await client.end();
    }
  },
};

/** Each way has a server of its own: the peak of its memory is of that way alone. */
async function start({ servers, dir }: Bench): Promise<{ variants: Variant[]; notes: string[] }> {
  const notes: string[] = [];
  const variants: Variant[] = [];
  const directoryOf = (name: string) => {
    const directory = join(dir, `uploads-${name}`);
    mkdirSync(directory);
    return directory;
  };
  const add = (name: string, way: UploadWay, server: Server, leaves?: string): void => {
    const idle = memory(server.pid)?.now;
    variants.push({ name, way, server, idle, ...(leaves !== undefined && { leaves }) });
  };
  add("bare Bun.serve, body to a file", "sink", await servers.sink(directoryOf("sink")));
  for (const [way, name] of BACKTALK) {
    const server = await servers.served("upload-service.ts", ["--uploads", directoryOf(way)]);
    add(`Backtalk, ${name}`, way, server);
  }
  for (const [runtime, name] of [
    ["node", "Node"],
    ["bun", "Bun"],
  ] as const) {
    const directory = directoryOf(runtime);
    try {
      const server = await servers.tus(runtime, directory);
      add(`@tus/server on ${name}, chunks of ${CHUNK / MiB} MiB`, "tus", server, directory);
    } catch (thrown) {
      if (!(thrown instanceof Missing)) throw thrown;
      notes.push(`@tus/server on ${name} was not measured: ${thrown.message}`);
    }
  }
  return { variants, notes };
}

const BACKTALK: readonly (readonly [UploadWay, string])[] = [
  ["raw", "body of a POST"],
  ["form", "multipart/form-data"],
  ["tus", `tus, chunks of ${CHUNK / MiB} MiB`],
  ["draft", "IETF draft, one append"],
];

async function sample(client: Child, { way, server, leaves }: Variant, bytes: number): Promise<Sample> {
  // What the one before has left to be written must not slow this one down.
  await output(["sync"]);
  const order: UploadOrder = { way, port: server.port, bytes, ...(leaves === undefined && { method: METHOD }) };
  const before = cpuUs(server.pid);
  const { ms, location, error } = await client.ask<Uploaded & { error?: string }>(order, MOST_MS);
  if (error !== undefined) throw new Error(`${server.name}, ${way}: ${error}`);
  const used = cpuUs(server.pid);
  const cpu = before === undefined || used === undefined ? Number.NaN : used - before;
  if (leaves === undefined || location === undefined) return { ms, diskMs: ms, cpuUs: cpu };
  const syncMs = await written(join(leaves, location.split("/").at(-1)!));
  const removed = await fetch(server.url + location, { method: "DELETE", headers: { "tus-resumable": "1.0.0" } });
  if (removed.status !== 204) throw new Error(`${server.name}: the upload cannot be removed: ${removed.status}`);
  return { ms, diskMs: ms + syncMs, cpuUs: cpu };
}

/** Milliseconds until the file is on the disk. */
async function written(path: string): Promise<number> {
  const file = await open(path, "r+");
  try {
    const began = performance.now();
    await file.datasync();
    return performance.now() - began;
  } finally {
    await file.close();
  }
}

function rowOf({ name, server, idle }: Variant, samples: Sample[], base: Sample[], bytes: number): Cell[] {
  const rate = (msOf: (sample: Sample) => number) => median(samples.map((each) => bytes / MB / (msOf(each) / 1000)));
  const disk = (each: Sample) => each.diskMs;
  const peak = memory(server.pid)?.peak;
  return [
    name,
    rate(({ ms }) => ms),
    rate(disk),
    medianRatio(base.map(disk), samples.map(disk)),
    median(samples.map((each) => each.cpuUs / 1e6 / (bytes / 1e9))),
    idle && Math.round(idle / MiB),
    peak && Math.round(peak / MiB),
  ];
}

function notesOf(bytes: number, system: string): string[] {
  return [
    `one upload of ${bytes / MiB} MiB after the other, over HTTP/1.1 without TLS, from a client on a raw socket in a process of ` +
      `its own; the files are on ${system}; what waits to be written is flushed before each upload`,
    "Backtalk is `backtalk serve` with its defaults: the bytes are the input of a method, whose answer ends the upload; each " +
      "answer says that its bytes are on the disk (fdatasync), and the file's SHA-256 is made, which the client compares; " +
      "its type is found out; tus and the draft record the call, too; then the file is removed",
    "@tus/server 2.x with @tus/file-store writes files and leaves it to the kernel when: on disk adds one fdatasync at the end; " +
      "the bare server writes the body, and syncs once. Neither makes a hash",
    "ratio: of on disk, to the bare server in the same round; CPU is that of the server alone; each row is a server of its " +
      "own, so that the peak of its memory is its own",
  ];
}

/** What kind of file system the files are on; one in memory would say nothing about a disk. */
async function fileSystem(dir: string): Promise<string> {
  if (process.platform !== "linux") return "the file system of the temporary directory";
  const kind = (await output(["df", "--output=fstype", dir])).trim().split("\n").at(-1)!;
  return kind === "tmpfs" ? "tmpfs, which is no disk" : kind;
}
