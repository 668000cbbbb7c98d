/**
 * What the writer thread does in the file. Many appends share one transaction and one wait for the disk
 * (group commit); each of them is written whole or not at all, and fails for itself alone.
 */
import { type Cursor, decodeCursor, encodeCursor } from "../../log/index.ts";
import { storeFull, unknownLog } from "../judge.ts";
import { type Connection, number } from "./connection.ts";
import { sqliteFault } from "./fault.ts";
import { type LogRow, Logs } from "./logs.ts";
import { APPEND_CELLS, type Cell, DONE, FAULT } from "./messages.ts";
import { closeForWriting } from "./open.ts";
import { KINDS } from "./schema.ts";

/** How many rows a step of cleaning up deletes: about a millisecond, which appends may wait for. */
const SWEEP_ROWS = 1000;
const PROGRESS = KINDS.indexOf("progress");
const END = KINDS.indexOf("end");
const FULL_HINT = "raise maxBytes of the store or shorten the retention";
/** As OUTCOMES of messages.ts. */
const APPENDED = 0;
const DUPLICATE = 1;
const CONFLICT = 2;
const ENDED = 3;

export class Committer {
  readonly #db: Connection;
  readonly #path: string;
  /** Most bytes of JSON; 0: no limit. */
  readonly #maxBytes: number;
  readonly #logs: Logs;
  readonly #begin;
  readonly #commit;
  readonly #findKey;
  readonly #addKey;
  readonly #addEvent;
  /** Bytes of JSON of all logs, and how the transaction under way changes them. */
  #bytes: number;
  #added = 0;

  constructor(db: Connection, path: string, maxBytes: number) {
    this.#db = db;
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#logs = new Logs(db);
    this.#begin = db.prepare("begin immediate");
    this.#commit = db.prepare("commit");
    this.#findKey = db.prepare<{ seq: number }, [number, string, number]>(
      "select seq from keys where log = ? and key = ? and until > ?",
    );
    this.#addKey = db.prepare("insert or replace into keys(log, key, seq, until) values(?, ?, ?, ?)");
    this.#addEvent = db.prepare("insert into events(log, seq, kind, at, off, json) values(?, ?, ?, ?, ?, ?)");
    this.#bytes = number(db.db, "select sum(total - freed) from logs");
  }

  /** Answers an APPEND (messages.ts). Never throws. */
  append(cells: readonly Cell[]): Cell[] {
    try {
      return this.#transaction(() => this.#appendFrom(cells, 1, cells.length));
    } catch (thrown) {
      return this.#appendEach(cells, thrown);
    }
  }

  /** @returns whether the log was removed. @throws Fault `invalid_argument` for a bad cursor; errors of SQLite. */
  trim(name: string, before: string): boolean {
    return this.#transaction(() => {
      const log = this.#logs.find(name);
      if (!log) return false;
      if (before === "all") {
        this.#logs.remove(log);
        this.#added -= log.total - log.freed;
        return true;
      }
      const { epoch, seq } = decodeCursor(before);
      if (epoch === log.epoch && seq > log.first) this.#added -= this.#logs.trim(log, Math.min(seq, log.head));
      return false;
    });
  }

  hasDoomed(): boolean {
    return number(this.#db.db, "select exists(select 1 from doomed)") === 1;
  }

  /** Deletes some of what nobody can read any more. @returns whether there is more of it. */
  sweep(): boolean {
    return this.#transaction(() => {
      this.#logs.sweep(SWEEP_ROWS);
      return this.hasDoomed();
    });
  }

  close(): void {
    closeForWriting(this.#db);
  }

  #transaction<T>(work: () => T): T {
    this.#added = 0;
    this.#logs.forget();
    this.#begin.run();
    let result: T;
    try {
      result = work();
      this.#logs.flush();
      this.#commit.run();
    } catch (thrown) {
      // SQLite rolls back by itself after some errors.
      if (this.#db.db.inTransaction) this.#db.db.run("rollback");
      throw thrown;
    }
    this.#bytes += this.#added;
    return result;
  }

  /** After a failure: each append in a transaction of its own, so that those that can be written are. */
  #appendEach(cells: readonly Cell[], failure: unknown): Cell[] {
    const answer: Cell[] = [DONE];
    for (let at = 1; at < cells.length; ) {
      const end = endOf(cells, at);
      const from = at;
      at = end;
      try {
        // Alone already: the same again would only fail again.
        if (from === 1 && end === cells.length) throw failure;
        answer.push(...this.#transaction(() => this.#appendFrom(cells, from, end)).slice(1));
      } catch (thrown) {
        answer.push(FAULT, JSON.stringify(sqliteFault(thrown, this.#path)), 0, 0);
      }
    }
    return answer;
  }

  #appendFrom(cells: readonly Cell[], from: number, to: number): Cell[] {
    const answer: Cell[] = [DONE];
    for (let at = from; at < to; at = endOf(cells, at)) this.#appendOne(cells, at, answer);
    return answer;
  }

  /** Checks everything before it writes anything. */
  #appendOne(cells: readonly Cell[], at: number, answer: Cell[]): void {
    const name = cells[at] as string;
    const after = cells[at + 2] as Cursor | "absent" | null;
    const key = cells[at + 3] as string | null;
    const labels = cells[at + 4] as string | null;
    let log = this.#logs.find(name);
    if (!log && (labels === null || (after !== null && after !== "absent"))) {
      answer.push(FAULT, JSON.stringify(unknownLog(name)), 0, 0);
      return;
    }
    if (log) {
      const used = key === null ? null : this.#findKey.get(log.id, key, log.first);
      const outcome = used ? DUPLICATE : guard(log, after);
      if (outcome !== APPENDED) {
        answer.push(outcome, log.epoch, log.head, used ? used.seq : log.head);
        return;
      }
    }
    const bytes = bytesOf(cells, at);
    if (this.#maxBytes > 0 && this.#bytes + this.#added + bytes > this.#maxBytes) {
      answer.push(FAULT, JSON.stringify(storeFull(this.#maxBytes, FULL_HINT)), 0, 0);
      return;
    }
    this.#added += bytes;
    log ??= this.#logs.create(name, cells[at + 5] as string, labels ?? "{}", cells[at + 1] as number);
    const before = log.head;
    this.#write(log, cells, at);
    if (key !== null) this.#addKey.run(log.id, key, log.head, log.head > before ? log.head : before + 1);
    answer.push(APPENDED, log.epoch, before, log.head);
  }

  #write(log: LogRow, cells: readonly Cell[], at: number): void {
    const time = cells[at + 1] as number;
    const end = endOf(cells, at);
    for (let i = at + APPEND_CELLS; i < end; i += 2) {
      const kind = cells[i] as number;
      const json = cells[i + 1] as string;
      log.head++;
      log.total += Buffer.byteLength(json);
      this.#addEvent.run(log.id, log.head, kind, time, log.total, json);
      if (kind === PROGRESS) log.progress = log.head;
      if (kind >= END) log.state = kind - END + 1;
    }
    log.changed = time;
    log.isDirty = true;
  }
}

/** The outcome of an append to a log that exists, but for its key. */
function guard(log: LogRow, after: Cursor | "absent" | null): number {
  if (after === "absent") return CONFLICT;
  if (log.state > 0) return ENDED;
  return after === null || after === encodeCursor(log.epoch, log.head) ? APPENDED : CONFLICT;
}

function endOf(cells: readonly Cell[], at: number): number {
  return at + APPEND_CELLS + 2 * (cells[at + 6] as number);
}

function bytesOf(cells: readonly Cell[], at: number): number {
  let bytes = 0;
  const end = endOf(cells, at);
  for (let i = at + APPEND_CELLS; i < end; i += 2) bytes += Buffer.byteLength(cells[i + 1] as string);
  return bytes;
}
