/** What the cases of the store suite share. */
import {
  type Code,
  type Cursor,
  type Draft,
  Fault,
  type LogEvent,
  type Page,
  type Place,
  type ReadAt,
  type Store,
  type Verdict,
} from "../../src/log/index.ts";

export interface Case {
  readonly name: string;
  /** Fails by throwing. The store is new and empty, and is closed afterwards. */
  run(store: Store, tools: Tools): Promise<void>;
}

export interface Tools {
  /** Numbers from 0 to 1, repeatable by the seed. */
  readonly random: () => number;
  /** A whole number from 0 to below `limit`. */
  pick(limit: number): number;
}

export function toolsOf(seed: number): Tools {
  let state = seed >>> 0;
  // mulberry32
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { random, pick: (limit) => Math.floor(random() * limit) };
}

/** Runs with several seeds, and says the one that failed. STORE_SEED=N runs only that one. */
export async function bySeed(count: number, run: (tools: Tools, seed: number) => Promise<void>): Promise<void> {
  const only = process.env["STORE_SEED"];
  const first = only === undefined ? 1 : Number(only);
  for (let seed = first; seed < first + (only === undefined ? count : 1); seed++) {
    try {
      await run(toolsOf(seed), seed);
    } catch (thrown) {
      throw new Error(`failed with STORE_SEED=${seed}: ${thrown instanceof Error ? thrown.message : thrown}`, {
        cause: thrown,
      });
    }
  }
}

export function item(value: unknown): Draft {
  return { kind: "item", json: JSON.stringify(value) };
}

export const END: Draft = { kind: "end", json: "null" };

/** Makes a log with the items 1 to `count`, and returns the cursor after each of them; [0] is the place before. */
export async function fill(store: Store, log: string, count: number): Promise<Cursor[]> {
  const cursors = [(await store.append(log, [], { create: {} })).cursor];
  for (let done = 0; done < count; done += 500) {
    const size = Math.min(500, count - done);
    await store.append(
      log,
      Array.from({ length: size }, (_, i) => item(done + i + 1)),
    );
  }
  for (const event of (await readAll(store, log)).events) cursors.push(event.cursor);
  return cursors;
}

export interface Reading {
  readonly verdict: Verdict;
  readonly events: LogEvent[];
  readonly pages: Page[];
  readonly ended: boolean;
}

/** Reads by pages, without following, until there is no more. */
export async function readAll(
  store: Store,
  log: string,
  from: Place = "start",
  limits: Partial<ReadAt> = {},
): Promise<Reading> {
  const pages: Page[] = [];
  for (let place = from, more = true; more; ) {
    const page = await firstPage(store, log, place, limits);
    pages.push(page);
    place = page.cursor;
    more = page.more;
  }
  return {
    verdict: pages[0]!.verdict!,
    events: pages.flatMap((page) => [...page.events]),
    pages,
    ended: pages.at(-1)!.ended,
  };
}

export async function firstPage(store: Store, log: string, from: Place, limits: Partial<ReadAt> = {}): Promise<Page> {
  for await (const page of store.read(log, { from, follow: false, ...limits })) return page;
  throw new Error("a reading without a page");
}

export function follow(store: Store, log: string, from: Place, limits: Partial<ReadAt> = {}): AsyncIterator<Page> {
  return store.read(log, { from, follow: true, ...limits })[Symbol.asyncIterator]();
}

/** The next page of a reading that must go on. */
export async function nextPage(reading: AsyncIterator<Page>): Promise<Page> {
  const result = await reading.next();
  if (result.done) throw new Error("the reading ended");
  return result.value;
}

export function values(events: readonly LogEvent[]): unknown[] {
  return events.map((event) => JSON.parse(event.json));
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** Lets everything else go on that can. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The fault that a promise is rejected with; anything else fails the case. */
export async function faultOf(promise: Promise<unknown>, code: Code): Promise<Fault> {
  let result: unknown;
  try {
    result = await promise;
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.code === code) return thrown;
    throw thrown;
  }
  throw new Error(`no fault ${code} but ${JSON.stringify(result)}`);
}
