/** Reads pages of logs on a connection of its own, which sees each commit as soon as it is as safe as promised. */
import { Database } from "bun:sqlite";
import {
  decodeCursor,
  encodeCursor,
  type LogEvent,
  PAGE_BYTES,
  PAGE_EVENTS,
  type Page,
  type ReadAt,
} from "../../log/index.ts";
import { jsonBytes, judge, unknownLog } from "../judge.ts";
import { Connection } from "./connection.ts";
import { KINDS } from "./schema.ts";

interface Head {
  readonly id: number;
  readonly epoch: string;
  readonly first: number;
  readonly head: number;
  readonly state: number;
}

interface Row {
  readonly seq: number;
  readonly kind: number;
  readonly at: number;
  readonly json: string;
}

export class Reader {
  readonly connection: Connection;
  readonly #begin;
  readonly #end;
  readonly #head;
  readonly #events;

  /** After the writer has made the file. */
  constructor(path: string) {
    const db = new Connection(new Database(path, { readonly: true }));
    db.db.run("pragma busy_timeout = 5000");
    this.connection = db;
    this.#begin = db.prepare("begin");
    this.#end = db.prepare("commit");
    this.#head = db.prepare<Head, [string]>("select id, epoch, first, head, state from logs where name = ?");
    this.#events = db.prepare<Row, [number, number, number]>(
      "select seq, kind, at, json from events where log = ? and seq > ? order by seq limit ?",
    );
  }

  /** @throws Fault `not_found` for an unknown log, `invalid_argument` for a bad cursor; errors of SQLite. */
  page(name: string, at: ReadAt): Page {
    // One transaction: a trim between the two questions would make a hole.
    this.#begin.run();
    try {
      const log = this.#head.get(name);
      if (!log) throw unknownLog(name);
      const verdict = judge(at.from, log.epoch, log.first, log.head);
      const begin = decodeCursor(verdict.to).seq;
      const events = begin < log.head ? this.#read(log, begin, at) : [];
      const seq = begin + events.length;
      return {
        verdict,
        events,
        cursor: encodeCursor(log.epoch, seq),
        more: seq < log.head,
        ended: log.state > 0 && seq === log.head,
      };
    } finally {
      this.#end.run();
    }
  }

  close(): void {
    this.connection.close();
  }

  #read(log: Head, begin: number, at: ReadAt): LogEvent[] {
    const maxBytes = at.pageBytes ?? PAGE_BYTES;
    const events: LogEvent[] = [];
    let bytes = 0;
    for (const row of this.#events.iterate(log.id, begin, at.pageEvents ?? PAGE_EVENTS)) {
      bytes += jsonBytes(row.json);
      if (bytes > maxBytes && events.length > 0) break;
      events.push(eventOf(log.epoch, row));
    }
    return events;
  }
}

export function eventOf(epoch: string, row: Row): LogEvent {
  return { cursor: encodeCursor(epoch, row.seq), kind: KINDS[row.kind]!, json: row.json, at: row.at };
}
