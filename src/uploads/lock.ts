/** One process serves a directory: the lock is an open transaction, which the system lets go when the process ends. */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { Fault } from "../log/index.ts";

/** @returns what gives it back. @throws Fault `failed_precondition` when another process has it */
export function takeDirectory(directory: string): () => void {
  let db: Database | undefined;
  try {
    db = new Database(join(directory, "lock"), { create: true, readwrite: true });
    db.run("begin exclusive");
  } catch (cause) {
    db?.close();
    throw new Fault("failed_precondition", `uploads cannot be kept in ${directory}`, {
      hint: "another process serves them, or nothing may be written there: choose another directory with --uploads",
      cause,
    });
  }
  return () => {
    db.run("rollback");
    db.close();
  };
}
