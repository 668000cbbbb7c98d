/** The rows of the logs within one transaction: each is read once and written once, however many appends it gets. */
import type { Connection } from "./connection.ts";
import { rootOf } from "./schema.ts";

export interface LogRow {
  readonly id: number;
  readonly name: string;
  readonly epoch: string;
  readonly labels: string;
  /** The number of the newest event that was trimmed, and of the newest one. */
  first: number;
  head: number;
  /** Bytes of JSON of all events that the log ever had, and of those trimmed. */
  total: number;
  freed: number;
  /** 0 open, 1 end, 2 fail. */
  state: number;
  /** The number of the newest event of the kind `progress`; 0: none. */
  progress: number;
  changed: number;
  isDirty?: boolean;
}

export class Logs {
  readonly #rows = new Map<string, LogRow | null>();
  readonly #find;
  readonly #create;
  readonly #update;
  readonly #remove;
  readonly #addLabel;
  readonly #removeLabel;
  readonly #offset;
  readonly #doom;
  readonly #doomed;
  readonly #sweepEvents;
  readonly #sweepKeys;
  readonly #swept;

  constructor(db: Connection) {
    this.#find = db.prepare<LogRow, [string]>(
      "select id, name, epoch, labels, first, head, total, freed, state, progress, changed from logs where name = ?",
    );
    this.#create = db.prepare(
      `insert into logs(name, root, epoch, labels, created, changed, first, head, total, freed, state, progress)
       values(?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0)`,
    );
    this.#update = db.prepare(
      "update logs set changed = ?, first = ?, head = ?, total = ?, freed = ?, state = ?, progress = ? where id = ?",
    );
    this.#remove = db.prepare("delete from logs where id = ?");
    this.#addLabel = db.prepare("insert into labels(label, value, log) values(?, ?, ?)");
    this.#removeLabel = db.prepare("delete from labels where label = ? and value = ? and log = ?");
    this.#offset = db.prepare<{ off: number }, [number, number]>("select off from events where log = ? and seq = ?");
    this.#doom = db.prepare(
      "insert into doomed(log, until) values(?, ?) on conflict(log) do update set until = excluded.until",
    );
    this.#doomed = db.prepare<{ log: number; until: number }, []>("select log, until from doomed limit 1");
    // The numbers of a log have no holes, so the first one says where a step ends.
    this.#sweepEvents = db.prepare(
      `delete from events where log = ?1
         and seq <= min(?2, (select seq from events where log = ?1 order by seq limit 1) + ?3 - 1)`,
    );
    this.#sweepKeys = db.prepare(
      `delete from keys where log = ?1 and key in
         (select key from keys where log = ?1 and until <= ?2 order by until limit ?3)`,
    );
    this.#swept = db.prepare("delete from doomed where log = ?");
  }

  /** At the begin of each transaction: the one before may have been rolled back. */
  forget(): void {
    this.#rows.clear();
  }

  find(name: string): LogRow | null {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const row = this.#find.get(name);
    this.#rows.set(name, row);
    return row;
  }

  create(name: string, epoch: string, labels: string, at: number): LogRow {
    const id = Number(this.#create.run(name, rootOf(name), epoch, labels, at, at).lastInsertRowid);
    for (const [label, value] of Object.entries<string>(JSON.parse(labels))) this.#addLabel.run(label, value, id);
    const row = { id, name, epoch, labels, first: 0, head: 0, total: 0, freed: 0, state: 0, progress: 0, changed: at };
    this.#rows.set(name, row);
    return row;
  }

  /** Takes the events up to and with `seq` from the readers. @returns how many bytes of JSON they had. */
  trim(log: LogRow, seq: number): number {
    const freed = this.#offset.get(log.id, seq)?.off ?? log.freed;
    const bytes = freed - log.freed;
    log.freed = freed;
    log.first = seq;
    log.isDirty = true;
    this.#doom.run(log.id, seq);
    return bytes;
  }

  remove(log: LogRow): void {
    this.#remove.run(log.id);
    for (const [label, value] of Object.entries<string>(JSON.parse(log.labels))) {
      this.#removeLabel.run(label, value, log.id);
    }
    this.#doom.run(log.id, Number.MAX_SAFE_INTEGER);
    this.#rows.set(log.name, null);
  }

  /** Deletes at most `limit` events and keys of a log that has doomed ones. */
  sweep(limit: number): void {
    const doomed = this.#doomed.get();
    if (!doomed) return;
    const events = this.#sweepEvents.run(doomed.log, doomed.until, limit).changes;
    if (events > 0) return;
    const keys = this.#sweepKeys.run(doomed.log, doomed.until, limit).changes;
    if (keys < limit) this.#swept.run(doomed.log);
  }

  /** Writes what changed; before the commit. */
  flush(): void {
    for (const row of this.#rows.values()) {
      if (!row?.isDirty) continue;
      this.#update.run(row.changed, row.first, row.head, row.total, row.freed, row.state, row.progress, row.id);
    }
  }
}
