/** What is in the log of a created stream, and how it is read. */
import { type Cursor, type Draft, decodeCursor, Fault, type LogInfo, type Page, type Store } from "../log/index.ts";
import type { Expiry } from "./request.ts";

/** A part of another log that a fork begins with. */
export interface Segment {
  readonly log: string;
  readonly epoch: string;
  readonly number: number;
  /** The number of the last event that is shared. */
  readonly upTo: number;
}

/** The event `open`. */
export interface StreamRecord extends Expiry {
  /** The content type, as it was given. */
  readonly type: string;
  /** Of the log, for offsets. */
  readonly number: number;
  /** The principal; absent for the anonymous one. */
  readonly owner?: string;
  readonly fork?: {
    /** The name of the source. */
    readonly from: string;
    /** As it was asked for, resolved; and the bytes or messages beyond it. */
    readonly offset: string;
    readonly sub: number;
    readonly segments: readonly Segment[];
    /** The time of life was taken from the source. */
    readonly inherits: boolean;
  };
}

/** The event `end`: where the newest item is, and which request has closed the stream. */
export interface EndRecord {
  readonly tail: number;
  readonly p?: readonly [id: string, epoch: number, seq: number];
}

export function itemsOf(page: Page, upTo: number) {
  return page.events.filter(({ kind, cursor }) => kind === "item" && decodeCursor(cursor).seq <= upTo);
}

/** The last event says where the newest item is. */
export function tailOf(info: LogInfo): number {
  const { last } = info;
  if (!last || last.kind === "open") return 0;
  if (last.kind === "item") return decodeCursor(last.cursor).seq;
  return (JSON.parse(last.json) as { readonly tail: number }).tail;
}

export async function onePage(store: Store, log: string, from: Cursor | "start", pageEvents: number): Promise<Page> {
  for await (const page of store.read(log, { from, follow: false, pageEvents })) return page;
  throw new Fault("unavailable", "the store gives no page");
}

export function openDrafts(record: StreamRecord, items: readonly string[], close: boolean): Draft[] {
  const drafts: Draft[] = [{ kind: "open", json: JSON.stringify(record) }];
  for (const json of items) drafts.push({ kind: "item", json });
  const tail = items.length === 0 ? 0 : 1 + items.length;
  if (close) drafts.push({ kind: "end", json: JSON.stringify({ tail } satisfies EndRecord) });
  return drafts;
}
