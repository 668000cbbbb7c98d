/** A store that can be looked at, and swapped for another one under a running server. */
import type { Page, ReadAt, Store } from "../../src/log/index.ts";

export interface WatchedStore extends Store {
  /** Readings that go on. */
  readonly reading: number;
  /** Pages and bytes of events given to readers. */
  readonly pages: number;
  readonly bytes: number;
  /** The store behind it. */
  inner: Store;
  /** Puts another store in its place, and closes the one before: what it kept is lost. */
  lose(next: Store): void;
}

export function watched(first: Store): WatchedStore {
  let inner = first;
  const seen = { reading: 0, pages: 0, bytes: 0 };
  return {
    get name() {
      return inner.name;
    },
    get durability() {
      return inner.durability;
    },
    get reading() {
      return seen.reading;
    },
    get pages() {
      return seen.pages;
    },
    get bytes() {
      return seen.bytes;
    },
    get inner() {
      return inner;
    },
    set inner(next) {
      inner = next;
    },
    lose(next) {
      const before = inner;
      inner = next;
      void before.close();
    },
    append: (...args) => inner.append(...args),
    trim: (...args) => inner.trim(...args),
    list: (...args) => inner.list(...args),
    close: () => inner.close(),
    read: (log, at) => ({ [Symbol.asyncIterator]: () => watch(inner.read(log, at)[Symbol.asyncIterator](), at, seen) }),
  };
}

function watch(
  pages: AsyncIterator<Page>,
  { follow, signal }: ReadAt,
  seen: { reading: number; pages: number; bytes: number },
): AsyncIterator<Page> {
  let isOver = !follow;
  if (follow) seen.reading++;
  const over = (): void => {
    if (!isOver) seen.reading--;
    isOver = true;
    signal?.removeEventListener("abort", over);
  };
  if (follow) signal?.addEventListener("abort", over);
  return {
    async next() {
      try {
        const result = await pages.next();
        if (result.done) over();
        else {
          seen.pages++;
          for (const { json } of result.value.events) seen.bytes += json.length;
          if (result.value.ended) over();
        }
        return result;
      } catch (thrown) {
        over();
        throw thrown;
      }
    },
    async return() {
      over();
      return (await pages.return?.()) ?? { done: true, value: undefined };
    },
  };
}
