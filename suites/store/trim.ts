/** Trimming: what is gone, what stays, and what a reader on the way is told. */
import { expect } from "bun:test";
import { type Cursor, decodeCursor, encodeCursor, type Page } from "../../src/log/index.ts";
import {
  bySeed,
  type Case,
  END,
  faultOf,
  fill,
  firstPage,
  follow,
  item,
  nextPage,
  range,
  readAll,
  turn,
  values,
} from "./case.ts";

export const trimCases: readonly Case[] = [
  {
    name: "trim: up to and with the cursor; the rest, the head and the numbers stay",
    async run(store) {
      const cursors = await fill(store, "a", 5);
      await store.trim("a", cursors[3]!);
      await store.trim("a", cursors[2]!);
      const { logs } = await store.list({ prefix: "a", limit: 1 });
      expect(logs[0]).toMatchObject({ first: cursors[3]!, head: cursors[5]!, events: 2, bytes: 2 });
      const { cursor } = await store.append("a", [item(6)]);
      expect(decodeCursor(cursor).seq).toBe(6);
      expect(values((await readAll(store, "a", cursors[3]!)).events)).toEqual([4, 5, 6]);
    },
  },
  {
    name: "trim: everything, beyond the head, another epoch, an unknown log, bad text",
    async run(store) {
      const cursors = await fill(store, "a", 3);
      await store.trim("a", "zzzzzzzz-a3" as Cursor);
      expect((await readAll(store, "a")).events).toHaveLength(3);
      await store.trim("a", encodeCursor(decodeCursor(cursors[0]!).epoch, 99));
      const { verdict, events } = await readAll(store, "a");
      expect(events).toEqual([]);
      expect(verdict).toEqual({ verdict: "gap", from: "start", to: cursors[3]! });
      expect((await store.append("a", [item(4)], { after: cursors[3]! })).outcome).toBe("appended");
      await store.trim("no such log", cursors[1]!);
      await store.trim("no such log", "all");
      await faultOf(store.trim("a", "x" as Cursor), "invalid_argument");
    },
  },
  {
    name: "trim: an ended log stays ended",
    async run(store) {
      await fill(store, "a", 2);
      const end = await store.append("a", [END]);
      await store.trim("a", end.cursor);
      expect(await firstPage(store, "a", "start")).toMatchObject({
        verdict: { verdict: "gap" },
        events: [],
        ended: true,
      });
      expect((await store.append("a", [item(1)])).outcome).toBe("ended");
      expect((await store.list({ prefix: "a", state: "end", limit: 1 })).logs).toHaveLength(1);
    },
  },
  {
    name: "trim: a key is forgotten with its events, not before",
    async run(store) {
      await fill(store, "a", 1);
      const one = await store.append("a", [item("one")], { key: "one" });
      const two = await store.append("a", [item("two")], { key: "two" });
      await store.trim("a", one.cursor);
      expect(await store.append("a", [item("two")], { key: "two" })).toEqual({
        outcome: "duplicate",
        cursor: two.cursor,
      });
      expect((await store.append("a", [item("one")], { key: "one" })).outcome).toBe("appended");
      expect((await store.append("a", [item("one")], { key: "one" })).outcome).toBe("duplicate");
    },
  },
  {
    name: "trim: a key of an append without events holds in a log that keeps none",
    async run(store) {
      const cursors = await fill(store, "a", 2);
      await store.trim("a", cursors[2]!);
      expect((await store.append("a", [], { key: "k" })).outcome).toBe("appended");
      expect((await store.append("a", [item(1)], { key: "k" })).outcome).toBe("duplicate");
    },
  },
  {
    name: "trim: all removes the log, its keys and its place in the catalog",
    async run(store) {
      await store.append("a", [item(1)], { create: { owner: "me" }, key: "k" });
      await store.trim("a", "all");
      await faultOf(firstPage(store, "a", "start"), "not_found");
      await faultOf(store.append("a", [item(1)]), "not_found");
      expect((await store.list({ prefix: "", labels: { owner: "me" }, limit: 5 })).logs).toEqual([]);
      expect((await store.append("a", [item(2)], { create: {}, key: "k" })).outcome).toBe("appended");
      expect(values((await readAll(store, "a")).events)).toEqual([2]);
    },
  },
  {
    name: "trim: a reader that it overtakes gets a gap in mid-stream",
    async run(store) {
      const cursors = await fill(store, "a", 10);
      const reading = follow(store, "a", "start", { pageEvents: 2 });
      await nextPage(reading);
      await store.trim("a", cursors[6]!);
      const page = await nextPage(reading);
      expect(page.verdict).toEqual({ verdict: "gap", from: cursors[2]!, to: cursors[6]! });
      expect(values(page.events)).toEqual([7, 8]);
      expect((await nextPage(reading)).verdict).toBeUndefined();
      await reading.return?.();
    },
  },
  {
    name: "trim: a reader that has read all does not notice",
    async run(store) {
      const cursors = await fill(store, "a", 3);
      const reading = follow(store, "a", "start");
      await nextPage(reading);
      const next = nextPage(reading);
      await store.trim("a", cursors[3]!);
      await store.append("a", [item(4)]);
      const page = await next;
      expect(page.verdict).toBeUndefined();
      expect(values(page.events)).toEqual([4]);
      await reading.return?.();
    },
  },
  {
    name: "trim: while appending and following, readers see every event or a gap that covers it",
    async run(store) {
      await bySeed(8, async ({ pick }, seed) => {
        const log = `trim/${seed}`;
        const cursors = await fill(store, log, 0);
        const readers = range(1, 4).map((size) =>
          readWithGaps(follow(store, log, "start", { pageEvents: size }), pick),
        );
        for (let n = 1; n <= 150; n++) {
          cursors.push((await store.append(log, [item(n)])).cursor);
          if (pick(10) === 0) await store.trim(log, cursors[pick(n + 1)]!);
        }
        await store.append(log, [END]);
        for (const upTo of await Promise.all(readers)) expect(upTo).toBe(151);
      });
    },
  },
];

/** Reads to the end. Fails for a hole without a gap. @returns the number of the last event. */
async function readWithGaps(reading: AsyncIterator<Page>, pick: (limit: number) => number): Promise<number> {
  let at = 0;
  for (;;) {
    const page = await nextPage(reading);
    if (page.verdict?.verdict === "gap") {
      if (page.verdict.from !== "start" && decodeCursor(page.verdict.from).seq !== at)
        throw new Error("a gap from elsewhere");
      at = decodeCursor(page.verdict.to).seq;
    }
    for (const event of page.events) {
      const { seq } = decodeCursor(event.cursor);
      if (seq !== at + 1) throw new Error(`event ${seq} after ${at} without a gap`);
      if (event.kind === "item" && event.json !== String(seq)) throw new Error(`event ${seq} says ${event.json}`);
      at = seq;
    }
    if (page.ended) return at;
    for (let i = pick(6); i > 0; i--) await turn();
  }
}
