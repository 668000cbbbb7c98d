/** Finds logs. Each shape of a question has one statement, which uses the index that fits it. */
import type { Statement } from "bun:sqlite";
import { encodeCursor, type LogInfo, type LogPage, type LogQuery } from "../../log/index.ts";
import { parseListPlace } from "../judge.ts";
import type { Connection } from "./connection.ts";
import { eventOf } from "./reader.ts";
import { rootOf, STATES } from "./schema.ts";

type Value = string | number;

interface Found {
  readonly id: number;
  readonly name: string;
  readonly labels: string;
  readonly epoch: string;
  readonly first: number;
  readonly head: number;
  readonly created: number;
  readonly changed: number;
  readonly bytes: number;
  readonly lastKind: number | null;
  readonly lastAt: number;
  readonly lastJson: string;
  readonly progress: number | null;
  readonly progressAt: number;
  readonly progressJson: string;
}

export class Lister {
  readonly #db: Connection;
  readonly #statements = new Map<string, Statement<Found, Value[]>>();

  constructor(db: Connection) {
    this.#db = db;
  }

  /** @throws Fault `invalid_argument` for a bad `after`; errors of SQLite. */
  list(query: LogQuery): LogPage {
    const { sql, values } = statementFor(query);
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare<Found, Value[]>(sql);
      this.#statements.set(sql, statement);
    }
    const found = statement.all(...values);
    // The outer question has no order of its own: sorting there would copy all the JSON.
    found.sort((a, b) => (query.newestFirst ? b.id - a.id : a.id - b.id));
    const hasMore = found.length > query.limit;
    if (hasMore) found.pop();
    const last = found.at(-1);
    return { logs: found.map(infoOf), ...(hasMore && last && { next: String(last.id) }) };
  }
}

const COLUMNS = `l.id, l.name, l.labels, l.epoch, l.first, l.head, l.created, l.changed, l.total - l.freed as bytes,
  e.kind as lastKind, e.at as lastAt, e.json as lastJson,
  p.seq as progress, p.at as progressAt, p.json as progressJson`;
const NEWEST = `left join events e on e.log = l.id and e.seq = l.head and l.head > l.first
  left join events p on p.log = l.id and p.seq = l.progress and l.progress > l.first`;

/**
 * The order is that of the ids. A condition with a "+" before its column is only a filter: the index is
 * chosen here and not by SQLite, which has no statistics to choose well.
 */
export function statementFor(query: LogQuery): { sql: string; values: Value[] } {
  const values: Value[] = [];
  const where: string[] = [];
  const labels = Object.entries(query.labels ?? {});
  const isRoot = !query.exact && query.prefix !== "" && rootOf(query.prefix) === query.prefix;
  const [by, from] = sourceOf(query, labels.length > 0, isRoot);
  const use = (index: typeof by, column: string): string => (by === index ? column : `+${column}`);
  for (const [i, [label, value]] of labels.entries()) {
    where.push(
      i === 0 && by === "labels"
        ? "b.label = ? and b.value = ?"
        : "exists(select 1 from labels o where o.label = ? and o.value = ? and o.log = l.id)",
    );
    values.push(label, value);
  }
  if (query.exact) {
    where.push(`${use("name", "l.name")} = ?`);
    values.push(query.prefix);
  } else if (isRoot) {
    where.push(`${use("root", "l.root")} = ?`);
    values.push(query.prefix);
  } else if (query.prefix !== "") {
    where.push(`${use("name", "l.name")} >= ?`);
    values.push(query.prefix);
    const end = afterPrefix(query.prefix);
    if (end !== undefined) {
      where.push(`${use("name", "l.name")} < ?`);
      values.push(end);
    }
  }
  const state = by === "root" || by === "changed" ? "l.state" : "+l.state";
  if (query.state !== undefined) {
    where.push(`${state} = ?`);
    values.push(STATES.indexOf(query.state));
  } else if (by === "changed") where.push("l.state in (0, 1, 2)");
  if (query.changedBefore !== undefined) {
    where.push(`${use("changed", "l.changed")} <= ?`);
    values.push(query.changedBefore);
  }
  const id = by === "labels" ? "b.log" : by === "id" || by === "root" ? "l.id" : "+l.id";
  if (query.after !== undefined) {
    where.push(`${id} ${query.newestFirst ? "<" : ">"} ?`);
    values.push(parseListPlace(query.after));
  }
  values.push(query.limit + 1);
  const condition = where.length > 0 ? `where ${where.join(" and ")}` : "";
  const order = `order by ${id}${query.newestFirst ? " desc" : ""} limit ?`;
  // The page is cut before its events are fetched.
  const sql = `select ${COLUMNS} from (select l.* from ${from} ${condition} ${order}) l ${NEWEST}`;
  return { sql, values };
}

function sourceOf(
  query: LogQuery,
  hasLabels: boolean,
  isRoot: boolean,
): ["labels" | "changed" | "root" | "name" | "id", string] {
  // "cross join" keeps the order of the tables.
  if (query.exact) return ["name", "logs l"];
  if (hasLabels) return ["labels", "labels b cross join logs l on l.id = b.log"];
  if (query.changedBefore !== undefined) return ["changed", "logs l"];
  if (isRoot) return ["root", "logs l"];
  return [query.prefix === "" ? "id" : "name", "logs l"];
}

/** The first text after all that begin with the prefix, in the order of code points. */
function afterPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // Surrogates are no characters of their own.
  points.push(last === 0xd7ff ? 0xe000 : last + 1);
  return String.fromCodePoint(...points);
}

function infoOf(log: Found): LogInfo {
  const { epoch } = log;
  const last =
    log.lastKind === null ? undefined : { seq: log.head, kind: log.lastKind, at: log.lastAt, json: log.lastJson };
  const progress =
    log.progress === null ? undefined : { seq: log.progress, kind: 2, at: log.progressAt, json: log.progressJson };
  return {
    log: log.name,
    labels: JSON.parse(log.labels),
    first: encodeCursor(epoch, log.first),
    head: encodeCursor(epoch, log.head),
    createdAt: log.created,
    changedAt: log.changed,
    events: log.head - log.first,
    bytes: log.bytes,
    ...(last && { last: eventOf(epoch, last) }),
    ...(progress && { progress: eventOf(epoch, progress) }),
  };
}
