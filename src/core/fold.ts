/** The state that the beginning of a log stands for, for readers that have not read it. */
import { type Fold, TOPICS } from "../contract/index.ts";
import { type Cursor, decodeCursor, encodeCursor, type Page, type ReadAt, type Store } from "../log/index.ts";
import { findLog, foldLog } from "./context.ts";
import { mapPages } from "./pages.ts";

export interface Folded {
  readonly cursor: Cursor;
  readonly state: unknown;
}

type AnyFold = Fold<unknown, unknown>;

/** The newest states that somebody asked for: a client that polls must not have the whole log folded each time. */
export class FoldCache {
  readonly #folded = new Map<string, Folded>();

  get(log: string): Folded | undefined {
    return this.#folded.get(log);
  }

  /** Forgets the one that was not set for the longest time when there are too many. */
  set(log: string, folded: Folded): void {
    this.#folded.delete(log);
    this.#folded.set(log, folded);
    if (this.#folded.size <= MAX_CACHED) return;
    for (const oldest of this.#folded.keys()) {
      this.#folded.delete(oldest);
      return;
    }
  }
}

const MAX_CACHED = 64;

/**
 * The state after all events up to `upTo` (a cursor of the log). Begins at the snapshot that trimming left, if
 * there is one. When the events up to there have been trimmed meanwhile the state is a later one: `cursor` says so.
 */
export async function foldUpTo(
  store: Store,
  log: string,
  fold: AnyFold,
  upTo: Cursor,
  cache?: FoldCache,
): Promise<Folded> {
  const { epoch } = decodeCursor(upTo);
  const cached = cache?.get(log);
  if (cached && cached.cursor <= upTo && decodeCursor(cached.cursor).epoch === epoch) {
    const folded = await foldAfter(store, log, fold, cached, upTo);
    if (folded) {
      cache?.set(log, folded);
      return folded;
    }
  }
  for (;;) {
    const snapshot = await lastSnapshot(store, log, epoch);
    if (snapshot && snapshot.cursor >= upTo) return snapshot;
    const folded = await foldAfter(store, log, fold, snapshot, upTo);
    // If not, events were trimmed between the snapshot and the reading: there is a newer snapshot.
    if (!folded) continue;
    cache?.set(log, folded);
    return folded;
  }
}

/** Undefined when events after the snapshot are no longer there. */
async function foldAfter(store: Store, log: string, fold: AnyFold, snapshot: Folded | undefined, upTo: Cursor) {
  let state = snapshot ? snapshot.state : fold.initial;
  let from: Cursor = snapshot?.cursor ?? encodeCursor(decodeCursor(upTo).epoch, 0);
  while (from < upTo) {
    let more = false;
    for await (const page of store.read(log, { from, follow: false })) {
      if (page.verdict && page.verdict.verdict !== "recovered") {
        const isNewer = ((await lastSnapshot(store, log, decodeCursor(upTo).epoch))?.cursor ?? "") > from;
        if (isNewer) return undefined;
        // The log was trimmed without a snapshot: what there is is all that can be said.
      }
      for (const { kind, json, cursor } of page.events) {
        if (cursor > upTo) return { cursor: upTo, state };
        if (kind === "item") state = fold.step(state, JSON.parse(json));
      }
      from = page.cursor;
      more = page.more;
    }
    if (!more) break;
  }
  return { cursor: upTo, state };
}

/** The newest snapshot of the log; none of a log that had this name before. */
async function lastSnapshot(store: Store, log: string, epoch: string): Promise<Folded | undefined> {
  // Only topics are trimmed; the log of a call is removed as a whole.
  const info = log.startsWith(TOPICS) ? await findLog(store, foldLog(log)) : undefined;
  if (!info?.last) return undefined;
  const folded = JSON.parse(info.last.json) as Folded;
  return decodeCursor(folded.cursor).epoch === epoch ? folded : undefined;
}

/** Before events up to `before` are trimmed: keeps the state that they stand for. */
export async function keepSnapshot(store: Store, log: string, fold: AnyFold, before: Cursor): Promise<void> {
  const folded = await foldUpTo(store, log, fold, before);
  if (folded.cursor > before) return;
  const json = JSON.stringify(folded);
  const { cursor } = await store.append(foldLog(log), [{ kind: "item", json }], { create: {} });
  await trimBefore(store, foldLog(log), cursor);
}

/** Keeps only the newest event of a log. */
async function trimBefore(store: Store, log: string, last: Cursor): Promise<void> {
  const { epoch, seq } = decodeCursor(last);
  if (seq > 1) await store.trim(log, encodeCursor(epoch, seq - 1));
}

/** A reading whose verdicts of `gap` and `reset` bring the state that stands for what is not read. */
export function readFolded(store: Store, log: string, fold: AnyFold, at: ReadAt): AsyncIterable<Page> {
  let known = "";
  return mapPages(store.read(log, at), async (page) => {
    if (!page.verdict || page.verdict.verdict === "recovered") return known === "" ? page : pageAfter(page, known);
    const { cursor, state } = await foldUpTo(store, log, fold, page.verdict.to);
    // The state can be newer than the place: then it stands for the first events that are read as well.
    known = cursor;
    return { ...pageAfter(page, cursor), verdict: { ...page.verdict, to: cursor, state: JSON.stringify(state) } };
  });
}

function pageAfter(page: Page, known: string): Page {
  const events = page.events.filter((event) => event.cursor > known);
  return { ...page, events, cursor: page.cursor > known ? page.cursor : (known as Cursor) };
}
