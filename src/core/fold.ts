/** The state that the beginning of a log stands for, for readers that have not read it. */
import type { Fold } from "../contract/index.ts";
import {
  type Cursor,
  decodeCursor,
  encodeCursor,
  type Page,
  type ReadAt,
  type Store,
  type Verdict,
} from "../log/index.ts";
import { findLog, foldLog } from "./context.ts";

export interface Folded {
  readonly cursor: Cursor;
  readonly state: unknown;
}

type AnyFold = Fold<unknown, unknown>;

/** The state after all events up to `upTo` (the newest by default). Begins at the snapshot that trimming left, if there is one. */
export async function foldUpTo(store: Store, log: string, fold: AnyFold, upTo?: Cursor): Promise<Folded> {
  const snapshot = await lastSnapshot(store, log);
  let state = snapshot?.state ?? fold.initial;
  let from: Cursor | "start" = snapshot?.cursor ?? "start";
  for (;;) {
    let more = false;
    for await (const page of store.read(log, { from, follow: false })) {
      if (from === "start" && page.verdict) from = page.verdict.to;
      for (const { kind, json, cursor } of page.events) {
        if (upTo !== undefined && cursor > upTo) return { cursor: upTo, state };
        if (kind === "item") state = fold.step(state, JSON.parse(json));
      }
      from = page.cursor;
      more = page.more;
    }
    if (!more) return { cursor: from as Cursor, state };
  }
}

async function lastSnapshot(store: Store, log: string): Promise<Folded | undefined> {
  const info = await findLog(store, foldLog(log));
  return info?.last ? (JSON.parse(info.last.json) as Folded) : undefined;
}

/** Before events up to `before` are trimmed: keeps the state that they stand for. */
export async function keepSnapshot(store: Store, log: string, fold: AnyFold, before: Cursor): Promise<void> {
  const folded = await foldUpTo(store, log, fold, before);
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
export async function* readFolded(store: Store, log: string, fold: AnyFold, at: ReadAt): AsyncGenerator<Page> {
  for await (const page of store.read(log, at)) {
    if (!page.verdict || page.verdict.verdict === "recovered") yield page;
    else {
      const { state } = await foldUpTo(store, log, fold, page.verdict.to);
      const verdict: Verdict = { ...page.verdict, state: JSON.stringify(state) };
      yield { ...page, verdict };
    }
  }
}
