/** The store in memory: for tests, for logs that need not survive the process, and for trying things out. */
import {
  type Appended,
  type AppendOptions,
  type Cursor,
  type Draft,
  decodeCursor,
  encodeCursor,
  isEnd,
  type Labels,
  type LogEvent,
  type LogInfo,
  type LogPage,
  type LogQuery,
  newEpoch,
  PAGE_BYTES,
  PAGE_EVENTS,
  type Page,
  type ReadAt,
  type Store,
} from "../../log/index.ts";
import { Followers } from "../follow.ts";
import { jsonBytes, judge, measure, parseListPlace, storeClosed, storeFull, unknownLog } from "../judge.ts";

export interface MemoryStoreOptions {
  /** Most bytes of JSON of all logs together (default 1 GiB); beyond it appends fail with `resource_exhausted`. */
  readonly maxBytes?: number;
  readonly now?: () => number;
  readonly random?: () => number;
}

interface Log {
  readonly name: string;
  readonly order: number;
  readonly epoch: string;
  readonly labels: Labels;
  readonly createdAt: number;
  changedAt: number;
  /** Events with the sequence numbers first + 1 ... first + events.length. */
  events: LogEvent[];
  first: number;
  bytes: number;
  ended: "end" | "fail" | undefined;
  keys: Map<string, number> | undefined;
}

export function memoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options);
}

class MemoryStore implements Store {
  readonly name = "memory:";
  readonly durability = "kept in memory: lost when the process ends";
  readonly #logs = new Map<string, Log>();
  readonly #followers = new Followers((log, at) => this.#readPage(log, at));
  readonly #maxBytes: number;
  readonly #now: () => number;
  readonly #random: () => number;
  #bytes = 0;
  #order = 0;
  #closed = false;

  constructor(options: MemoryStoreOptions) {
    this.#maxBytes = options.maxBytes ?? 1024 ** 3;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
  }

  async append(name: string, drafts: readonly Draft[], options: AppendOptions = {}): Promise<Appended> {
    this.#mustBeOpen();
    const bytes = measure(drafts);
    let log = this.#logs.get(name);
    if (!log && !options.create) throw unknownLog(name);
    if (log && options.key !== undefined) {
      const seq = log.keys?.get(options.key);
      if (seq !== undefined) return { outcome: "duplicate", cursor: encodeCursor(log.epoch, seq) };
    }
    if (log && options.after === "absent") return { outcome: "conflict", cursor: headOf(log) };
    if (log?.ended) return { outcome: "ended", cursor: headOf(log) };
    if (options.after !== undefined && options.after !== "absent" && (!log || headOf(log) !== options.after)) {
      if (!log) throw unknownLog(name);
      return { outcome: "conflict", cursor: headOf(log) };
    }
    if (this.#bytes + bytes > this.#maxBytes) throw storeFull(this.#maxBytes, FULL_HINT);
    const at = this.#now();
    log ??= this.#create(name, options.create ?? {}, at);
    const before = headOf(log);
    let seq = log.first + log.events.length;
    const events: LogEvent[] = drafts.map((draft) => ({
      cursor: encodeCursor(log.epoch, ++seq),
      kind: draft.kind,
      json: draft.json,
      at,
    }));
    for (const event of events) log.events.push(event);
    log.bytes += bytes;
    this.#bytes += bytes;
    log.changedAt = at;
    if (options.key !== undefined) {
      log.keys ??= new Map();
      log.keys.set(options.key, seq);
    }
    const last = events.at(-1);
    const ended = last !== undefined && isEnd(last.kind);
    if (ended) log.ended = last.kind === "end" ? "end" : "fail";
    const cursor = headOf(log);
    if (events.length > 0) this.#followers.committed(name, before, { events, cursor, more: false, ended });
    return { outcome: "appended", cursor };
  }

  read(log: string, at: ReadAt): AsyncIterable<Page> {
    return this.#followers.read(log, at);
  }

  async trim(name: string, before: Cursor | "all"): Promise<void> {
    this.#mustBeOpen();
    const log = this.#logs.get(name);
    if (!log) return;
    if (before === "all") {
      this.#logs.delete(name);
      this.#bytes -= log.bytes;
      this.#followers.removed(name);
      return;
    }
    const { epoch, seq } = decodeCursor(before);
    const count = epoch === log.epoch ? Math.min(seq - log.first, log.events.length) : 0;
    if (count <= 0) return;
    let freed = 0;
    for (let i = 0; i < count; i++) freed += jsonBytes(log.events[i]!.json);
    log.bytes -= freed;
    this.#bytes -= freed;
    log.events = log.events.slice(count);
    log.first += count;
    this.#followers.changed(name);
    if (log.keys) for (const [key, at] of log.keys) if (at <= log.first) log.keys.delete(key);
  }

  async list(query: LogQuery): Promise<LogPage> {
    this.#mustBeOpen();
    const found: Log[] = [];
    const exact = query.exact ? this.#logs.get(query.prefix) : undefined;
    const candidates = query.exact ? (exact ? [exact] : []) : this.#logs.values();
    for (const log of candidates) if (matches(log, query)) found.push(log);
    found.sort((a, b) => (query.newestFirst ? b.order - a.order : a.order - b.order));
    const after = query.after === undefined ? undefined : parseListPlace(query.after);
    const rest =
      after === undefined ? found : found.filter((log) => (query.newestFirst ? log.order < after : log.order > after));
    const logs = rest.slice(0, query.limit);
    const last = logs.at(-1);
    return { logs: logs.map(infoOf), ...(last && rest.length > logs.length && { next: String(last.order) }) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#followers.close();
    this.#logs.clear();
    this.#bytes = 0;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw storeClosed();
  }

  #create(name: string, labels: Labels, at: number): Log {
    const log: Log = {
      name,
      order: ++this.#order,
      epoch: newEpoch(this.#random),
      labels,
      createdAt: at,
      changedAt: at,
      events: [],
      first: 0,
      bytes: 0,
      ended: undefined,
      keys: undefined,
    };
    this.#logs.set(name, log);
    return log;
  }

  #readPage(name: string, at: ReadAt): Page {
    this.#mustBeOpen();
    const log = this.#logs.get(name);
    if (!log) throw unknownLog(name);
    const verdict = judge(at.from, log.epoch, log.first, log.first + log.events.length);
    const begin = decodeCursor(verdict.to).seq - log.first;
    const maxEvents = at.pageEvents ?? PAGE_EVENTS;
    const maxBytes = at.pageBytes ?? PAGE_BYTES;
    let bytes = 0;
    let end = begin;
    while (end < log.events.length && end - begin < maxEvents) {
      bytes += jsonBytes(log.events[end]!.json);
      if (bytes > maxBytes && end > begin) break;
      end++;
    }
    const more = end < log.events.length;
    return {
      verdict,
      events: log.events.slice(begin, end),
      cursor: encodeCursor(log.epoch, log.first + end),
      more,
      ended: !more && log.ended !== undefined,
    };
  }
}

const FULL_HINT = "raise maxBytes of the memory store, shorten the retention, or use a store on disk";

function headOf(log: Log): Cursor {
  return encodeCursor(log.epoch, log.first + log.events.length);
}

function matches(log: Log, query: LogQuery): boolean {
  if (!log.name.startsWith(query.prefix)) return false;
  if (query.state !== undefined && (log.ended ?? "open") !== query.state) return false;
  if (query.changedBefore !== undefined && log.changedAt > query.changedBefore) return false;
  for (const [label, value] of Object.entries(query.labels ?? {})) if (log.labels[label] !== value) return false;
  return true;
}

function infoOf(log: Log): LogInfo {
  const last = log.events.at(-1);
  const progress = log.events.findLast((event) => event.kind === "progress");
  return {
    log: log.name,
    labels: log.labels,
    first: encodeCursor(log.epoch, log.first),
    head: headOf(log),
    createdAt: log.createdAt,
    changedAt: log.changedAt,
    events: log.events.length,
    bytes: log.bytes,
    ...(last && { last }),
    ...(progress && { progress }),
  };
}
