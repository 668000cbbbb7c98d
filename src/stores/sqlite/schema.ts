/** The tables of a store's file, and the check that a file is one. */
import type { Database } from "bun:sqlite";
import { type EventKind, Fault } from "../../log/index.ts";
import { number } from "./connection.ts";

export const VERSION = 1;

/** The number of a kind in `events.kind`: never change the order. */
export const KINDS: readonly EventKind[] = ["open", "item", "progress", "end", "fail"];
/** The numbers of `logs.state`: never change the order. */
export const STATES = ["open", "end", "fail"] as const;

/**
 * - `logs.root` is the name up to its first "/": most questions are for all of "calls/".
 * - `events.off` is how many bytes of JSON the log had with this event: what a trim frees is a subtraction.
 * - `keys.until` is the event that the key is forgotten with.
 * - `doomed` lists events that nobody can read any more and that are deleted in small steps.
 * - An id is never used again (autoincrement), so that what is doomed never meets a new log.
 */
const TABLES = `
create table meta(name text primary key, value) without rowid;
create table logs(
  id integer primary key autoincrement,
  name text not null unique,
  root text not null,
  epoch text not null,
  labels text not null,
  created integer not null,
  changed integer not null,
  first integer not null,
  head integer not null,
  total integer not null,
  freed integer not null,
  state integer not null,
  progress integer not null
);
create index logs_root on logs(root);
create index logs_state on logs(root, state);
create index logs_changed on logs(state, changed);
create table labels(
  label text not null, value text not null, log integer not null, primary key(label, value, log)
) without rowid;
create table events(
  log integer not null,
  seq integer not null,
  kind integer not null,
  at integer not null,
  off integer not null,
  json text not null,
  primary key(log, seq)
) without rowid;
create table keys(
  log integer not null, key text not null, seq integer not null, until integer not null, primary key(log, key)
) without rowid;
create index keys_until on keys(log, until);
create table doomed(log integer primary key, until integer not null);
`;

/** @throws Fault `failed_precondition` for the file of a newer version or of another program. */
export function prepareSchema(db: Database, path: string): void {
  const version = number(db, "pragma user_version");
  if (version === VERSION) return;
  if (version > VERSION) {
    throw new Fault("failed_precondition", `${path} has the format ${version}; this version knows ${VERSION}`, {
      hint: "a newer Backtalk wrote it: run that one, or give another path",
    });
  }
  if (number(db, "select count(*) from sqlite_master") > 0) {
    throw new Fault("failed_precondition", `${path} is a database of another program`, { hint: "give another path" });
  }
  db.transaction(() => {
    db.run(TABLES);
    db.run(`pragma user_version = ${VERSION}`);
  })();
}

export function rootOf(name: string): string {
  return name.slice(0, name.indexOf("/") + 1);
}
