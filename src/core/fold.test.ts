import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { FaultyStore, open, started, until } from "../../suites/core/kit.ts";
import { type Fold, serverStream, service, topic } from "../contract/index.ts";
import type { Cursor, Page, Place, Store } from "../log/index.ts";
import { memoryStore } from "../server.ts";
import { FoldCache, foldUpTo, keepSnapshot, readFolded } from "./fold.ts";

/** The state is all that was folded, in order: a hole or a double shows. */
const list: Fold<unknown, unknown> = {
  initial: [],
  step: (state, item) => [...(state as unknown[]), item],
};
const LOG = "topics/log";

async function filled(n: number, store: Store = memoryStore()) {
  const cursors: Cursor[] = [];
  for (let i = 0; i < n; i++) {
    const { cursor } = await store.append(LOG, [{ kind: "item", json: String(i) }], { create: {} });
    cursors.push(cursor);
  }
  return { store, cursors };
}

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

/** What a reader that accumulates has in the end. */
async function accumulated(pages: AsyncIterable<Page>, before: unknown[] = []): Promise<unknown[]> {
  let state = before;
  for await (const page of pages) {
    if (page.verdict?.state !== undefined) state = JSON.parse(page.verdict.state) as unknown[];
    for (const { json } of page.events) state = [...state, JSON.parse(json)];
  }
  return state;
}

/** A small generator of numbers, so that a failure can be repeated. */
function seeded(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

async function pagesFrom(store: Store, from: Place): Promise<Page[]> {
  const pages: Page[] = [];
  let place = from;
  for (;;) {
    const [page] = (await Array.fromAsync(
      readFolded(store, LOG, list, { from: place, follow: false, pageEvents: 7 }),
    )) as [Page];
    pages.push(page);
    place = page.cursor;
    if (!page.more) return pages;
  }
}

async function* of(pages: Page[]) {
  yield* pages;
}

test("for any appends, trims and places: the state that comes plus what follows is the fold of all", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(seed);
    const store = memoryStore();
    const cache = new FoldCache();
    const cursors: Cursor[] = [];
    for (let step = 0; step < 30; step++) {
      if (cursors.length === 0 || random(3) > 0) {
        const count = 1 + random(12);
        const drafts = Array.from({ length: count }, (_, i) => ({
          kind: "item" as const,
          json: String(cursors.length + i),
        }));
        const { cursor } = await store.append(LOG, drafts, { create: {} });
        const last = Number.parseInt(cursor.slice(cursor.indexOf("-") + 2), 36);
        const prefix = cursor.slice(0, cursor.indexOf("-") + 1);
        for (let seq = last - count + 1; seq <= last; seq++) {
          const digits = seq.toString(36);
          cursors.push(`${prefix}${String.fromCharCode(96 + digits.length)}${digits}` as Cursor);
        }
      } else {
        const before = cursors[random(cursors.length)]!;
        await keepSnapshot(store, LOG, list, before);
        await store.trim(LOG, before);
      }
      const at = random(cursors.length + 1);
      const [place, has] = at === 0 ? ["start" as const, []] : [cursors[at - 1]!, upTo(at)];
      const seen = await accumulated(of(await pagesFrom(store, place)), has);
      expect(seen).toEqual(upTo(cursors.length));
      const all = { cursor: cursors.at(-1)!, state: upTo(cursors.length) };
      expect(await foldUpTo(store, LOG, list, cursors.at(-1)!)).toEqual(all);
      if (random(2) > 0) expect(await foldUpTo(store, LOG, list, cursors.at(-1)!, cache)).toEqual(all);
    }
  }
});

describe("trimming in the middle of reading", () => {
  test("of the state: nothing is left out", async () => {
    const store = new FaultyStore();
    const { cursors } = await filled(1000, store);
    await keepSnapshot(store, LOG, list, cursors[99]!);
    await store.trim(LOG, cursors[99]!);
    const { read } = store;
    let reads = 0;
    store.read = (log, at) => {
      const pages = read(log, at);
      return {
        async *[Symbol.asyncIterator]() {
          if (log === LOG && ++reads === 2) {
            await keepSnapshot(await Promise.resolve({ ...bare(store), read }), LOG, list, cursors[799]!);
            await store.trim(LOG, cursors[799]!);
          }
          yield* pages;
        },
      };
    };
    expect((await foldUpTo(store, LOG, list, cursors[899]!)).state).toEqual(upTo(900));
    expect(reads).toBeGreaterThan(2);
  });

  test("between the page and its state: the state is newer, and the events that it stands for are not given again", async () => {
    const { store, cursors } = await filled(1000);
    const trimTo = async (n: number) => {
      await keepSnapshot(store, LOG, list, cursors[n - 1]!);
      await store.trim(LOG, cursors[n - 1]!);
    };
    for (const next of [150, 350, 700]) {
      await trimTo(next - 100);
      const faulty = new FaultyStore(store);
      let isTrimmed = false;
      faulty.list = async (query) => {
        if (!isTrimmed) {
          isTrimmed = true;
          await trimTo(next);
        }
        return store.list(query);
      };
      const cut = new AbortController();
      const pages = readFolded(faulty, LOG, list, { from: cursors[0]!, follow: true, signal: cut.signal });
      let state: unknown[] = [];
      for await (const page of pages) {
        if (page.verdict?.state !== undefined) state = JSON.parse(page.verdict.state) as unknown[];
        state = [...state, ...page.events.map(({ json }) => JSON.parse(json) as unknown)];
        if (!page.more) cut.abort();
      }
      expect(state).toEqual(upTo(1000));
    }
  });

  test("a snapshot that was kept, but not the trim", async () => {
    const { store, cursors } = await filled(20);
    await keepSnapshot(store, LOG, list, cursors[4]!);
    await store.trim(LOG, cursors[4]!);
    await keepSnapshot(store, LOG, list, cursors[14]!);
    const cut = new AbortController();
    const pages = readFolded(store, LOG, list, { from: "start", follow: true, signal: cut.signal, pageEvents: 4 });
    const checked = (async function* () {
      for await (const page of pages) {
        yield page;
        if (!page.more) cut.abort();
      }
    })();
    expect(await accumulated(checked)).toEqual(upTo(20));
  });
});

test("a log that was lost and made anew does not begin with the state of the old one", async () => {
  const { store, cursors } = await filled(10);
  await keepSnapshot(store, LOG, list, cursors[4]!);
  await store.trim(LOG, "all");
  const { cursors: anew } = await filled(3, store);
  expect((await foldUpTo(store, LOG, list, anew[2]!)).state).toEqual([0, 1, 2]);
  const [page] = (await Array.fromAsync(readFolded(store, LOG, list, { from: cursors[9]!, follow: false }))) as [Page];
  expect(page.verdict).toMatchObject({ verdict: "reset", state: "[]" });
});

test("a client that polls has each event folded once", async () => {
  const { store, cursors } = await filled(1000);
  const cache = new FoldCache();
  let steps = 0;
  const counting: Fold<unknown, unknown> = {
    initial: 0,
    step: (state) => {
      steps++;
      return (state as number) + 1;
    },
  };
  for (const cursor of cursors) {
    expect(await foldUpTo(store, LOG, counting, cursor, cache)).toMatchObject({ cursor });
  }
  expect(steps).toBe(1000);
  expect((await foldUpTo(store, LOG, counting, cursors[9]!, cache)).state).toBe(10);
  for (let i = 0; i < 100; i++) cache.set(`other/${i}`, { cursor: cursors[0]!, state: 0 });
  expect(cache.get(LOG)).toBeUndefined();
});

test("one snapshot is kept, the newest", async () => {
  const { store, cursors } = await filled(10);
  for (const at of [3, 6, 5, 9]) await keepSnapshot(store, LOG, list, cursors[at]!);
  const { logs } = await store.list({ prefix: "folds/", limit: 10 });
  expect(logs).toHaveLength(1);
  expect(logs[0]).toMatchObject({ events: 1 });
  expect(JSON.parse(logs[0]!.last!.json)).toMatchObject({ cursor: cursors[9]! });
});

test("through the core: a topic that is trimmed while it is read, and a stream, come with their state", async () => {
  const sum = { initial: 0, step: (state: number, n: number) => state + n };
  const services = service("s", {
    numbers: topic({ event: z.number(), fold: sum, retain: { events: 10 } }),
    count: serverStream({ input: z.number(), item: z.number(), fold: sum }, function* (to) {
      for (let i = 1; i <= to; i++) yield i;
    }),
  });
  const core = await started(services, { retention: { everyMs: 1 } });
  const numbers = await open(core, "topics/numbers");
  for (let i = 0; i < 50; i++) await numbers.append({ items: [1, 1] });
  await until(async () => ((await numbers.state()) as { events: number }).events === 10);
  expect(await numbers.state()).toMatchObject({ events: 10, fold: 100 });
  const [page] = (await Array.fromAsync(numbers.read({ from: "start", follow: false }))) as [Page];
  expect(page.verdict).toMatchObject({ verdict: "gap", state: "90" });
  const count = await open(core, "s/count", { input: 100 });
  await count.result();
  expect(await count.state()).toMatchObject({ state: "done", fold: 5050 });
  await core.close();
});

test("a state that cannot be told ends the reading and leaves no reader behind", async () => {
  const { store, cursors } = await filled(5);
  await store.trim(LOG, cursors[1]!);
  let returned = 0;
  const faulty = new FaultyStore(store);
  faulty.read = (log, at) => {
    const iterator = store.read(log, at)[Symbol.asyncIterator]();
    const counted = {
      next: () => iterator.next(),
      return: async () => {
        if (at.follow) returned++;
        return (await iterator.return?.()) ?? { done: true as const, value: undefined };
      },
    };
    return { [Symbol.asyncIterator]: () => counted };
  };
  // No JSON can say this state.
  const bad: Fold<unknown, unknown> = { initial: 1n, step: (state) => state };
  const reading = readFolded(faulty, LOG, bad, { from: "start", follow: true })[Symbol.asyncIterator]();
  await expect(Promise.resolve(reading.next())).rejects.toThrow();
  expect(returned).toBe(1);
});

function bare(store: FaultyStore): Store {
  const { name, durability, append, trim, list: listOf, close } = store;
  return { name, durability, append: append.bind(store), read: store.read, trim, list: listOf, close };
}
