/** A connection that ends its statements when it is closed: SQLite would keep the file open for them. */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";

export class Connection {
  readonly db: Database;
  readonly #statements: Statement[] = [];

  constructor(db: Database) {
    this.db = db;
  }

  prepare<Row = unknown, Values extends SQLQueryBindings[] = SQLQueryBindings[]>(sql: string): Statement<Row, Values> {
    const statement = this.db.prepare<Row, SQLQueryBindings[]>(sql);
    this.#statements.push(statement);
    return statement as unknown as Statement<Row, Values>;
  }

  close(): void {
    for (const statement of this.#statements) statement.finalize();
    this.db.close();
  }
}

/** The one number that a question answers. */
export function number(db: Database, sql: string): number {
  const statement = db.prepare(sql);
  try {
    return Number(statement.values()[0]?.[0] ?? 0);
  } finally {
    statement.finalize();
  }
}
