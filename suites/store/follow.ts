/** Following: history and live tail without holes or doubles, and every way a reading ends. */
import { expect } from "bun:test";
import type { Cursor, LogEvent, Page, Place, Store } from "../../src/log/index.ts";
import {
  bySeed,
  type Case,
  END,
  faultOf,
  fill,
  follow,
  item,
  nextPage,
  range,
  readAll,
  type Tools,
  turn,
  values,
} from "./case.ts";

export const followCases: readonly Case[] = [
  {
    name: "follow: the first page comes at once with the verdict, then events as they come",
    async run(store) {
      const cursors = await fill(store, "a", 2);
      const reading = follow(store, "a", "now");
      expect(await nextPage(reading)).toMatchObject({ verdict: { verdict: "recovered", to: cursors[2]! }, events: [] });
      for (const n of range(3, 6)) {
        const next = nextPage(reading);
        const { cursor } = await store.append("a", [item(n)]);
        const page = await next;
        expect(values(page.events)).toEqual([n]);
        expect(page.cursor).toBe(cursor);
        expect(page.verdict).toBeUndefined();
      }
      await reading.return?.();
    },
  },
  {
    name: "follow: an event appended between the history and the live tail comes once (upstash/realtime #23)",
    async run(store) {
      await fill(store, "a", 3);
      const reading = follow(store, "a", "start");
      const first = nextPage(reading);
      const appended = store.append("a", [item(4)]);
      const got = values((await first).events);
      await appended;
      while (got.length < 4) got.push(...values((await nextPage(reading)).events));
      expect(got).toEqual([1, 2, 3, 4]);
      await store.append("a", [item(5)]);
      expect(values((await nextPage(reading)).events)).toEqual([5]);
      await reading.return?.();
    },
  },
  {
    name: "follow: N appenders race M readers that stop and resume anywhere; each transcript is the log",
    async run(store) {
      await bySeed(12, async (tools, seed) => {
        const log = `race/${seed}`;
        await store.append(log, [], { create: {} });
        const readers = range(1, 8).map(() => transcript(store, log, tools));
        await Promise.all(range(1, 5).map((n) => appender(store, log, n, tools)));
        await store.append(log, [END]);
        const expected = (await readAll(store, log)).events.map(textOf);
        for (const read of await Promise.all(readers)) expect(read.map(textOf)).toEqual(expected);
      });
    },
  },
  {
    name: "follow: the end closes every reader, and later ones too (cloudflare/agents #1607)",
    async run(store) {
      await fill(store, "a", 1);
      const readings = range(1, 5).map(() => follow(store, "a", "now"));
      for (const reading of readings) await nextPage(reading);
      const pages = readings.map(nextPage);
      await store.append("a", [item(2), END]);
      for (const page of await Promise.all(pages)) {
        expect(page.events.map((event) => event.kind)).toEqual(["item", "end"]);
        expect(page.ended).toBe(true);
      }
      for (const reading of readings) expect((await reading.next()).done).toBe(true);
      const late = follow(store, "a", "start");
      expect(await nextPage(late)).toMatchObject({ ended: true });
      expect((await late.next()).done).toBe(true);
    },
  },
  {
    name: "follow: an abort ends a waiting reading without an error, and one that begins after it",
    async run(store) {
      await fill(store, "a", 1);
      const abort = new AbortController();
      const reading = follow(store, "a", "start", { signal: abort.signal });
      await nextPage(reading);
      const waiting = reading.next();
      abort.abort();
      expect((await waiting).done).toBe(true);
      expect((await reading.next()).done).toBe(true);
      expect((await follow(store, "a", "start", { signal: abort.signal }).next()).done).toBe(true);
    },
  },
  {
    name: "follow: return() ends a page that is awaited",
    async run(store) {
      await fill(store, "a", 1);
      const reading = follow(store, "a", "start");
      await nextPage(reading);
      const waiting = reading.next();
      await reading.return?.();
      expect((await waiting).done).toBe(true);
      await store.append("a", [item(2)]);
      expect((await reading.next()).done).toBe(true);
    },
  },
  {
    name: "follow: 1,000 begun and left by return or abort leave no listener (trpc #6045)",
    async run(store) {
      await fill(store, "a", 1);
      const shared = new AbortController();
      const count = countListeners(shared.signal);
      for (const n of range(1, 1000)) {
        const own = new AbortController();
        const reading = follow(store, "a", "start", { signal: n % 2 ? shared.signal : own.signal });
        await nextPage(reading);
        const waiting = n % 3 ? reading.next() : undefined;
        if (n % 2) await reading.return?.();
        else own.abort();
        if (waiting) expect((await waiting).done).toBe(true);
      }
      expect(count()).toBe(0);
      await store.append("a", [item(2)]);
    },
  },
  {
    name: "follow: a slow reader is given pages of its size, nothing is kept for it",
    async run(store) {
      await fill(store, "a", 1);
      const reading = follow(store, "a", "start", { pageEvents: 10 });
      await nextPage(reading);
      for (const n of range(1, 100))
        await store.append(
          "a",
          range(1, 20).map((m) => item(n * 100 + m)),
        );
      const got: unknown[] = [];
      while (got.length < 2000) {
        const page = await nextPage(reading);
        expect(page.events.length).toBeLessThanOrEqual(10);
        got.push(...values(page.events));
      }
      expect(got).toEqual(range(1, 100).flatMap((n) => range(1, 20).map((m) => n * 100 + m)));
      await reading.return?.();
    },
  },
  {
    name: "follow: an append larger than a page reaches a waiting reader by pages",
    async run(store) {
      await fill(store, "a", 0);
      const reading = follow(store, "a", "start", { pageEvents: 3 });
      await nextPage(reading);
      const next = nextPage(reading);
      await store.append("a", [...range(1, 7).map(item), END]);
      const pages = [await next, await nextPage(reading), await nextPage(reading)];
      expect(pages.map((page) => page.events.length)).toEqual([3, 3, 2]);
      expect(pages.map((page) => page.ended)).toEqual([false, false, true]);
    },
  },
  {
    name: "follow: a log that is removed ends its readers with not_found",
    async run(store) {
      await fill(store, "a", 1);
      const waiting = follow(store, "a", "start");
      const busy = follow(store, "a", "start");
      await nextPage(waiting);
      await nextPage(busy);
      const next = waiting.next();
      await store.trim("a", "all");
      await faultOf(next, "not_found");
      await faultOf(busy.next(), "not_found");
      expect((await waiting.next()).done).toBe(true);
    },
  },
  {
    name: "follow: a log that was removed and made anew under a reader is a reset",
    async run(store) {
      const cursors = await fill(store, "a", 2);
      const busy = follow(store, "a", "start");
      await nextPage(busy);
      await store.trim("a", "all");
      await fill(store, "a", 1);
      const page = await nextPage(busy);
      expect(page.verdict).toMatchObject({ verdict: "reset", from: cursors[2]! });
      expect(values(page.events)).toEqual([1]);
      await busy.return?.();
    },
  },
  {
    name: "follow: a second next before the first has settled is refused, the first goes on",
    async run(store) {
      await fill(store, "a", 1);
      const reading = follow(store, "a", "now");
      await nextPage(reading);
      const first = nextPage(reading);
      await faultOf(reading.next(), "failed_precondition");
      await store.append("a", [item(2)]);
      expect(values((await first).events)).toEqual([2]);
      await reading.return?.();
    },
  },
  {
    name: "close: ends every reading with unavailable, waiting or busy, and refuses the rest; twice is no error",
    async run(store) {
      await fill(store, "a", 1);
      const waiting = follow(store, "a", "start");
      const busy = follow(store, "a", "start");
      await nextPage(waiting);
      await nextPage(busy);
      const next = waiting.next();
      const fault = faultOf(next, "unavailable");
      await store.close();
      await fault;
      await faultOf(busy.next(), "unavailable");
      await faultOf(store.append("a", [item(2)]), "unavailable");
      await faultOf(follow(store, "a", "start").next(), "unavailable");
      await faultOf(store.trim("a", "all"), "unavailable");
      await faultOf(store.list({ prefix: "", limit: 1 }), "unavailable");
      await store.close();
    },
  },
];

async function appender(store: Store, log: string, n: number, { pick }: Tools): Promise<void> {
  for (let i = 0; i < 25; i++) {
    await store.append(
      log,
      range(1, 1 + pick(4)).map((part) => item({ n, i, part })),
    );
    if (pick(3) === 0) await turn();
  }
}

/** Reads until the end, and on the way stops, resumes, and goes back to any place that it has seen. */
async function transcript(store: Store, log: string, { pick }: Tools): Promise<LogEvent[]> {
  const seen: LogEvent[] = [];
  for (;;) {
    if (pick(3) === 0) seen.length = pick(seen.length + 1);
    const from: Place = seen.at(-1)?.cursor ?? "start";
    const abort = new AbortController();
    const reading = follow(store, log, from, { signal: abort.signal, pageEvents: 1 + pick(10) });
    let isFirst = true;
    for (let pages = pick(12); pages >= 0; pages--) {
      const page = await nextPage(reading);
      checkVerdict(page, isFirst);
      isFirst = false;
      seen.push(...page.events);
      if (page.ended) return seen;
      if (pick(4) === 0) await turn();
    }
    // Left while it waits: the page that comes meanwhile may be lost, and is read again.
    const waiting = pick(2) === 0 ? reading.next() : undefined;
    if (pick(2) === 0) abort.abort();
    else await reading.return?.();
    await waiting;
  }
}

function checkVerdict(page: Page, isFirst: boolean): void {
  if (page.verdict?.verdict !== (isFirst ? "recovered" : undefined))
    throw new Error(`got ${JSON.stringify(page.verdict)}`);
}

function textOf(event: LogEvent): [Cursor, string, string, number] {
  return [event.cursor, event.kind, event.json, event.at];
}

/** How many listeners are added to the signal and not removed. */
function countListeners(signal: AbortSignal): () => number {
  const listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>): void => {
    listeners.add(args[1]);
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>): void => {
    listeners.delete(args[1]);
    removeEventListener.apply(signal, args);
  };
  return () => listeners.size;
}
