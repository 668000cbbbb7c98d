/** The outside programs of this suite: where they are, and what is wanted of them. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export const CONFORMANCE = "connectrpc.com/conformance@v1.0.7";
export const INTEROP = "google.golang.org/grpc@v1.85.0";

/** `GOBIN` of `go install`: here, or where it is by itself. */
const FOLDERS = [
  join(import.meta.dirname, "../../node_modules/.cache/conformance"),
  process.env["GOBIN"] ?? join(process.env["GOPATH"] ?? join(homedir(), "go"), "bin"),
];

export interface Tools {
  readonly connectconformance: string;
  /** Its .proto files come with its source, in Go's own cache of modules. */
  readonly protos: string;
  readonly interop: string;
}

/** @throws when something is missing: then it says what, and how to install it */
export async function findTools(): Promise<Tools> {
  const connectconformance = program("connectconformance", `${CONFORMANCE.replace("@", "/cmd/connectconformance@")}`);
  const interop = program("client", `${INTEROP.replace("@", "/interop/client@")}`);
  const found = await run(["go", "mod", "download", "-json", CONFORMANCE], 60_000);
  if (found.code !== 0) throw new Error(`go mod download ${CONFORMANCE} failed: ${found.more.slice(-500)}`);
  const { Dir } = JSON.parse(found.text) as { Dir: string };
  return { connectconformance, interop, protos: join(Dir, "proto") };
}

function program(name: string, installed: string): string {
  const path = FOLDERS.map((folder) => join(folder, name)).find(existsSync);
  if (path === undefined) throw new Error(`${name} is missing: GOBIN=${FOLDERS[0]} go install ${installed}`);
  return path;
}

export interface Ran {
  readonly code: number | null;
  /** Of its standard output. */
  readonly text: string;
  /** Of its standard error. */
  readonly more: string;
}

/** Runs a program to its end, or kills it. */
export async function run(command: readonly string[], withinMs: number): Promise<Ran> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const timer = setTimeout(() => child.kill(), withinMs);
  const [code, text, more] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  clearTimeout(timer);
  return { code, text, more };
}
