/**
 * One process serves a file: the lock is an open transaction on a second file, so that the system itself
 * lets it go when the process ends, also after `kill -9`. Not safe on network file systems.
 */
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Fault } from "../../log/index.ts";
import { number } from "./connection.ts";
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
    const pid = servedBy(path);
    const which = pid === undefined ? "" : ` (pid ${pid})`;
    const who = pid === process.pid ? "this process serves this store already" : "another process serves this store";
    throw new Fault("failed_precondition", `${who}: ${path}${which}`, {
      hint: "stop it first, or talk to it; for a second server give another file (--store sqlite:PATH)",
      ...(pid !== undefined && { detail: { pid } }),
    });
  }
  return () => {
    db.run("rollback");
    db.close();
  };
}

/** The process that has opened the store last, when it still runs: it says so in the file (open.ts). */
function servedBy(path: string): number | undefined {
  let db: Database | undefined;
  try {
    db = new Database(path, { readonly: true });
    const pid = number(db, "select value from meta where name = 'pid'");
    // Signal 0 only asks.
    return pid > 0 && process.kill(pid, 0) ? pid : undefined;
  } catch {
    // It has not come so far, or may not be asked: nobody knows then.
    return undefined;
  } finally {
    db?.close();
  }
}
