/**
 * One process serves a file: the lock is an open transaction on a second file, so that the system itself
 * lets it go when the process ends, also after `kill -9`. Not safe on network file systems.
 */
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Fault } from "../../log/index.ts";
import { codeOf, sqliteFault } from "./fault.ts";

/**
 * Makes the directories of `path` and takes its lock.
 * @returns what gives it back.
 * @throws Fault `failed_precondition` when somebody has it, or when nothing can be written there.
 */
export function takeLock(path: string): () => void {
  let db: Database | undefined;
  try {
    // Payloads are in the file: a folder that is made for it is for its owner alone.
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    db = new Database(`${path}-lock`, { create: true, readwrite: true });
    db.run("begin exclusive");
  } catch (thrown) {
    db?.close();
    if (!codeOf(thrown).startsWith("SQLITE_BUSY")) throw sqliteFault(thrown, path);
    throw new Fault("failed_precondition", `another process serves this store: ${path}`, {
      hint: "stop it first, or talk to it; several processes on one store need a store with a server",
    });
  }
  return () => {
    db.run("rollback");
    db.close();
  };
}
