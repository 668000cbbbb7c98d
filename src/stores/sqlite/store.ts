/**
 * The store in one SQLite file: for a server on one machine. Appends are written by a thread of their own,
 * many in one transaction; pages are read on the thread of the callers.
 */
import { resolve } from "node:path";
import {
  type Appended,
  type AppendOptions,
  type Cursor,
  type Draft,
  decodeCursor,
  encodeCursor,
  Fault,
  faultFromJson,
  isEnd,
  type LogEvent,
  type LogPage,
  type LogQuery,
  newEpoch,
  type Page,
  type ReadAt,
  type Store,
} from "../../log/index.ts";
import { Followers } from "../follow.ts";
import { measure, storeClosed } from "../judge.ts";
import { sqliteFault } from "./fault.ts";
import { Line } from "./line.ts";
import { Lister } from "./list.ts";
import { takeLock } from "./lock.ts";
import { type Cell, CLOSE, FAULT, OPEN, OUTCOMES, TRIM } from "./messages.ts";
import { Reader } from "./reader.ts";
import { KINDS } from "./schema.ts";

export interface SqliteStoreOptions {
  /** Of the file; its directories are made. Beside it lie `PATH-wal`, `PATH-shm` and `PATH-lock`. */
  readonly path: string;
  /**
   * `full` (default): an append is acknowledged when the disk has it. `normal`: when the system has it, which
   * is faster where the disk is slow, and loses the newest events in a power cut; readers are told `reset` then.
   */
  readonly sync?: "full" | "normal";
  /** Most bytes of JSON of all logs together (default: none); beyond it appends fail with `resource_exhausted`. */
  readonly maxBytes?: number;
  /** Most bytes of the file, rounded down to pages of 4096 (default: the disk); fails like a full disk. */
  readonly maxFileBytes?: number;
  /** Most bytes of JSON that wait for the disk (default 64 MiB); beyond it appends fail with `resource_exhausted`. */
  readonly queueBytes?: number;
  readonly now?: () => number;
  readonly random?: () => number;
}

/**
 * Opens the store, or makes it.
 * @throws Fault `failed_precondition` when another process serves the file, when it cannot be written, or when
 * a newer version wrote it; `data_loss` when it is damaged; `resource_exhausted` on a full disk.
 */
export async function sqliteStore(options: SqliteStoreOptions): Promise<Store> {
  if (options.path === "" || options.path.startsWith(":memory:")) {
    throw new Fault("invalid_argument", "a SQLite store needs the path of a file", { hint: "or use the memory store" });
  }
  const path = resolve(options.path);
  const unlock = takeLock(path);
  const store = new SqliteStore(path, options, unlock);
  try {
    await store.open();
    return store;
  } catch (thrown) {
    await store.close().catch(() => {});
    throw sqliteFault(thrown, path);
  }
}

/** What one batch appended to one log; given to the followers as one page. */
interface Fresh {
  readonly before: Cursor;
  readonly events: LogEvent[];
  ended: boolean;
}

class SqliteStore implements Store {
  readonly name: string;
  readonly durability: string;
  readonly #options: SqliteStoreOptions;
  readonly #path: string;
  readonly #unlock: () => void;
  readonly #line: Line;
  readonly #followers = new Followers((log, at) => this.#readPage(log, at));
  readonly #now: () => number;
  readonly #random: () => number;
  #reader: Reader | undefined;
  #lister: Lister | undefined;
  #fresh = new Map<string, Fresh>();
  #closing: Promise<void> | undefined;

  constructor(path: string, options: SqliteStoreOptions, unlock: () => void) {
    this.name = `sqlite:${path}`;
    this.durability =
      options.sync === "normal"
        ? "with the system before it is acknowledged: survives kill -9; a power cut can take the newest events"
        : "on the disk (fsync) before it is acknowledged: survives kill -9 and a power cut";
    this.#options = options;
    this.#path = path;
    this.#unlock = unlock;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#line = new Line(options.queueBytes ?? 64 * 1024 * 1024, () => this.#tellFollowers());
  }

  async open(): Promise<void> {
    const { sync = "full", maxBytes = 0, maxFileBytes = 0 } = this.#options;
    const pages = Math.floor(maxFileBytes / 4096);
    const answer = await this.#line.ask([OPEN, this.#path, sync, newEpoch(this.#random), maxBytes, pages]);
    this.#reader = new Reader(this.#path);
    this.#lister = new Lister(this.#reader.connection);
    if (answer[1] === 1) this.#line.sweep();
  }

  async append(log: string, drafts: readonly Draft[], options: AppendOptions = {}): Promise<Appended> {
    if (this.#closing) throw storeClosed();
    const bytes = measure(drafts);
    checkText("log", log);
    if (options.key !== undefined) checkText("key", options.key);
    const at = this.#now();
    const { after = null, key = null, create } = options;
    const labels = create ? JSON.stringify(create) : null;
    const cells: Cell[] = [log, at, after, key, labels, create ? newEpoch(this.#random) : null, drafts.length];
    for (const draft of drafts) cells.push(KINDS.indexOf(draft.kind), draft.json);
    return new Promise((resolve, reject) => {
      this.#line.append({
        cells,
        bytes,
        failed: reject,
        answered: (answer, i) => {
          const outcome = answer[i] as number;
          const epoch = answer[i + 1] as string;
          if (outcome === FAULT) return reject(faultFromJson(JSON.parse(epoch)));
          if (outcome === 0 && drafts.length > 0) this.#gather(log, epoch, answer[i + 2] as number, drafts, at);
          resolve({ outcome: OUTCOMES[outcome]!, cursor: encodeCursor(epoch, answer[i + 3] as number) });
        },
      });
    });
  }

  read(log: string, at: ReadAt): AsyncIterable<Page> {
    return this.#followers.read(log, at);
  }

  /** Readers miss the events at once; the space comes back by small steps soon after. */
  async trim(log: string, before: Cursor | "all"): Promise<void> {
    if (this.#closing) throw storeClosed();
    if (before !== "all") decodeCursor(before);
    const answer = await this.#line.ask([TRIM, log, before]);
    this.#followers.changed(log);
    if (answer[1] === 1) this.#followers.removed(log);
    this.#line.sweep();
  }

  async list(query: LogQuery): Promise<LogPage> {
    if (this.#closing || !this.#lister) throw storeClosed();
    try {
      return this.#lister.list(query);
    } catch (thrown) {
      throw sqliteFault(thrown, this.#path);
    }
  }

  /** Waits for the appends under way. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      this.#followers.close();
      this.#reader?.close();
      await this.#line.close([CLOSE]);
    } finally {
      this.#unlock();
    }
  }

  #readPage(log: string, at: ReadAt): Page {
    if (this.#closing || !this.#reader) throw storeClosed();
    try {
      return this.#reader.page(log, at);
    } catch (thrown) {
      throw sqliteFault(thrown, this.#path);
    }
  }

  #gather(log: string, epoch: string, before: number, drafts: readonly Draft[], at: number): void {
    if (!this.#followers.has(log)) {
      this.#followers.changed(log);
      return;
    }
    let fresh = this.#fresh.get(log);
    if (!fresh) {
      fresh = { before: encodeCursor(epoch, before), events: [], ended: false };
      this.#fresh.set(log, fresh);
    }
    let seq = before;
    for (const { kind, json } of drafts) {
      fresh.events.push({ cursor: encodeCursor(epoch, ++seq), kind, json, at });
      if (isEnd(kind)) fresh.ended = true;
    }
  }

  #tellFollowers(): void {
    for (const [log, { before, events, ended }] of this.#fresh) {
      this.#followers.committed(log, before, { events, cursor: events.at(-1)!.cursor, more: false, ended });
    }
    this.#fresh.clear();
  }
}

/** SQLite keeps Unicode only: a name with a lone surrogate would be changed. */
function checkText(what: string, text: string): void {
  if (!text.isWellFormed()) throw new Fault("invalid_argument", `the ${what} is no Unicode text`);
}
