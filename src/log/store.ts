/**
 * A store keeps logs. Closing and failing are events, following is an option of reading, and an
 * idempotency key is a guard of appending: so three verbs are enough, and a catalog to find logs by.
 *
 * The rules, tested by suites/store:
 * - `append` resolves when the events are as safe as the store promises (`durability`), all or none.
 * - Events of one log are read in the order of their append, by every reader, without holes or doubles.
 * - Nothing can be appended after an `end` or a `fail`.
 * - A reader costs a bounded amount of memory, however far it is behind: it is served by pages.
 */
import type { Cursor, Place } from "./cursor.ts";
import type { Draft, LogEvent, Page } from "./event.ts";

export interface AppendOptions {
  /** Append only when this is the newest cursor; `absent`: only when the log does not exist. */
  readonly after?: Cursor | "absent";
  /**
   * Append only once for this key: a second append with it changes nothing and says where the first went,
   * whatever `after` says, so that an append can be repeated as it was. A key is forgotten when the last
   * event of its append is trimmed.
   */
  readonly key?: string;
  /** Create the log, when it does not exist, with these labels. Without it an unknown log is `not_found`. */
  readonly create?: Labels;
}

/** What the catalog can be asked for: short strings, set once. */
export type Labels = Readonly<Record<string, string>>;

export interface Appended {
  /**
   * `appended`; `duplicate`: the key was used before; `conflict`: the guard `after` did not hold;
   * `ended`: the log has its end already. In the last three nothing was written.
   */
  readonly outcome: "appended" | "duplicate" | "conflict" | "ended";
  /** After the last event appended; of the duplicate: after the first append's last event; else the newest. */
  readonly cursor: Cursor;
}

export interface ReadAt {
  readonly from: Place;
  /** Go on with events as they come, until the log ends. Otherwise one page is read. */
  readonly follow: boolean;
  /** Ends the reading without an error. */
  readonly signal?: AbortSignal;
  /** Most events of a page (default 300). */
  readonly pageEvents?: number;
  /** Most bytes of JSON of a page (default 1 MiB); one event is always given. */
  readonly pageBytes?: number;
}

export const PAGE_EVENTS = 300;
export const PAGE_BYTES = 1024 * 1024;
/**
 * The same of an answer that goes on for long, of which one connection may carry hundreds: each holds a page while its
 * reader takes nothing.
 */
export const STREAM_PAGE_BYTES = 128 * 1024;

export interface LogInfo {
  readonly log: string;
  readonly labels: Labels;
  /** Before the first event that is kept. */
  readonly first: Cursor;
  /** After the newest event. */
  readonly head: Cursor;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly changedAt: number;
  /** How many events are kept, and the bytes of their JSON. */
  readonly events: number;
  readonly bytes: number;
  /** The newest event that is kept, and the newest of the kind `progress`. */
  readonly last?: LogEvent;
  readonly progress?: LogEvent;
}

export interface LogQuery {
  /** Logs whose name begins so. */
  readonly prefix: string;
  /** Only the log of exactly the name `prefix`. */
  readonly exact?: boolean;
  /** Only logs with these labels. */
  readonly labels?: Labels;
  /** `open`: without an end; `end`, `fail`: with that one. */
  readonly state?: "open" | "end" | "fail";
  /** Only logs that did not change after this time, in milliseconds since 1970. */
  readonly changedBefore?: number;
  /** Newest first when set; else in the order of creation. */
  readonly newestFirst?: boolean;
  /** `next` of the page before. */
  readonly after?: string;
  /** Most logs of a page. */
  readonly limit: number;
}

export interface LogPage {
  readonly logs: readonly LogInfo[];
  /** Absent on the last page. */
  readonly next?: string;
}

export interface Store {
  /** Such as `memory:` or `sqlite:PATH`, for messages. */
  readonly name: string;
  /** What an acknowledged append survives, in one line for the operator. */
  readonly durability: string;
  /**
   * @throws Fault `not_found` for an unknown log without `create`, or with a cursor as `after`; `invalid_argument`
   * for an event after an end, and for text with a lone surrogate; `resource_exhausted` for a full disk or a
   * limit of the store; `unavailable`, also after `close`.
   */
  append(log: string, drafts: readonly Draft[], options?: AppendOptions): Promise<Appended>;
  /**
   * Yields at least one page, at once, with the verdict; when following, further pages as they come, until
   * the log ends, is removed (Fault `not_found`), the store closes (Fault `unavailable`) or `signal` aborts.
   * Ask for the next page only when the one before has come.
   * @throws Fault `not_found` for an unknown log.
   */
  read(log: string, at: ReadAt): AsyncIterable<Page>;
  /** Removes the events up to and with `before`; `all` removes the log. An unknown log is no error. */
  trim(log: string, before: Cursor | "all"): Promise<void>;
  list(query: LogQuery): Promise<LogPage>;
  close(): Promise<void>;
}
