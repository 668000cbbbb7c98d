/** Opens the file for the writer thread, and finds out whether the last session ended well. */
import { Database } from "bun:sqlite";
import { readFileSync } from "node:fs";
import { Connection, number } from "./connection.ts";
import { prepareSchema } from "./schema.ts";

/** When an append is acknowledged: `full`, after the disk has it; `normal`, after the system has it. */
export type Sync = "full" | "normal";

/**
 * @param freshEpoch for the logs that may have lost events
 * @param maxPages limit of the file in pages of 4096 bytes; 0: none
 * @throws Fault or an error of SQLite.
 */
export function openForWriting(path: string, sync: Sync, freshEpoch: string, maxPages = 0): Connection {
  const db = new Database(path, { create: true, readwrite: true });
  try {
    db.run("pragma busy_timeout = 5000");
    // Of the first page only: to change nothing in a file that is not ours.
    number(db, "pragma schema_version");
    db.run("pragma synchronous = full");
    // macOS: an fsync alone leaves the data in the cache of the disk.
    if (sync === "full") db.run("pragma fullfsync = 1");
    db.run("pragma checkpoint_fullfsync = 1");
    prepareSchema(db, path);
    db.run("pragma journal_mode = wal");
    db.run("pragma journal_size_limit = 67108864");
    db.run("pragma cache_size = -16000");
    if (maxPages > 0) db.run(`pragma max_page_count = ${maxPages}`);
    beginSession(db, sync, freshEpoch);
    db.run(`pragma synchronous = ${sync}`);
    return new Connection(db);
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

/**
 * Marks the session as ended well, and puts everything into the one file. On a full disk neither may succeed;
 * nothing is lost by it: the next session finds the events in the log beside the file.
 */
export function closeForWriting(connection: Connection): void {
  const { db } = connection;
  try {
    db.run("pragma synchronous = full");
    setMeta(db, "clean", 1);
    db.run("pragma wal_checkpoint(truncate)");
  } catch {
    // As said above.
  } finally {
    connection.close();
  }
}

/**
 * Also says who serves it, for the next one who tries (lock.ts).
 *
 * With `normal` a power cut takes the newest events that were acknowledged, and their cursors would be given
 * again to others. So after a session that did not end well, under another boot of the system, each log
 * without an end gets a new epoch: its readers are told `reset`.
 */
function beginSession(db: Database, sync: Sync, freshEpoch: string): void {
  const boot = bootId();
  db.transaction(() => {
    const endedWell = getMeta(db, "clean") !== 0;
    const mayHaveLost = !endedWell && getMeta(db, "sync") === "normal" && (boot === "" || getMeta(db, "boot") !== boot);
    if (mayHaveLost) db.run("update logs set epoch = ? where state = 0", [freshEpoch]);
    setMeta(db, "boot", boot);
    setMeta(db, "sync", sync);
    setMeta(db, "pid", process.pid);
    setMeta(db, "clean", 0);
  })();
}

/** What names this run of the system's kernel; empty where nobody says. */
function bootId(): string {
  try {
    if (process.platform === "linux") return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return Bun.spawnSync(["sysctl", "-n", "kern.boottime"]).stdout.toString().trim();
  } catch {
    return "";
  }
}

function getMeta(db: Database, name: string): unknown {
  const statement = db.prepare("select value from meta where name = ?");
  try {
    return statement.values(name)[0]?.[0];
  } finally {
    statement.finalize();
  }
}

function setMeta(db: Database, name: string, value: string | number): void {
  db.run("insert or replace into meta(name, value) values(?, ?)", [name, value]);
}
