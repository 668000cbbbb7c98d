/** Reading what is there: verdicts and pages. */
import { expect } from "bun:test";
import { type Cursor, decodeCursor, encodeCursor } from "../../src/log/index.ts";
import { type Case, END, faultOf, fill, firstPage, follow, item, nextPage, range, readAll, values } from "./case.ts";

export const readCases: readonly Case[] = [
  {
    name: "verdict: recovered from the start, a cursor, the head and now",
    async run(store) {
      const cursors = await fill(store, "a", 5);
      for (const [i, from] of cursors.entries()) {
        const { verdict, events } = await readAll(store, "a", from);
        expect(verdict).toEqual({ verdict: "recovered", from, to: from });
        expect(values(events)).toEqual(range(i + 1, 5));
      }
      expect((await readAll(store, "a")).verdict).toEqual({ verdict: "recovered", from: "start", to: cursors[0]! });
      const now = await firstPage(store, "a", "now");
      expect(now).toEqual({
        verdict: { verdict: "recovered", from: "now", to: cursors[5]! },
        events: [],
        cursor: cursors[5]!,
        more: false,
        ended: false,
      });
    },
  },
  {
    name: "verdict: gap for a cursor before the trim point and for the start, recovered at it",
    async run(store) {
      const cursors = await fill(store, "a", 6);
      await store.trim("a", cursors[3]!);
      for (const from of ["start", cursors[0]!, cursors[2]!] as const) {
        const { verdict, events } = await readAll(store, "a", from);
        expect(verdict).toEqual({ verdict: "gap", from, to: cursors[3]! });
        expect(values(events)).toEqual([4, 5, 6]);
      }
      expect((await readAll(store, "a", cursors[3]!)).verdict.verdict).toBe("recovered");
    },
  },
  {
    name: "verdict: reset for another epoch and beyond the head",
    async run(store) {
      const cursors = await fill(store, "a", 2);
      const beyond = encodeCursor(decodeCursor(cursors[2]!).epoch, 3);
      for (const from of ["zzzzzzzz-b10" as Cursor, beyond]) {
        const { verdict, events } = await readAll(store, "a", from);
        expect(verdict).toEqual({ verdict: "reset", from, to: cursors[0]! });
        expect(values(events)).toEqual([1, 2]);
      }
      await store.trim("a", "all");
      await store.append("a", [item("new")], { create: {} });
      const { verdict, events } = await readAll(store, "a", cursors[1]!);
      expect(verdict.verdict).toBe("reset");
      expect(values(events)).toEqual(["new"]);
    },
  },
  {
    name: "verdict: text that is no cursor is invalid_argument",
    async run(store) {
      await fill(store, "a", 1);
      for (const bad of ["", "x", "0", "abcd-a", "abcd-a00", "abcd-b01", "ABCD-a1"]) {
        await faultOf(firstPage(store, "a", bad as Cursor), "invalid_argument");
        await faultOf(follow(store, "a", bad as Cursor).next(), "invalid_argument");
      }
    },
  },
  {
    name: "read: an unknown log is not_found, followed or not",
    async run(store) {
      await faultOf(firstPage(store, "a", "start"), "not_found");
      await faultOf(follow(store, "a", "now").next(), "not_found");
    },
  },
  {
    name: "read: without follow one page is given, and says whether there is more",
    async run(store) {
      const cursors = await fill(store, "a", 5);
      const reading = store.read("a", { from: "start", follow: false, pageEvents: 2 })[Symbol.asyncIterator]();
      const page = await nextPage(reading);
      expect(page).toMatchObject({ cursor: cursors[2]!, more: true, ended: false });
      expect(await reading.next()).toEqual({ done: true, value: undefined });
    },
  },
  {
    name: "pages: by events",
    async run(store) {
      await fill(store, "a", 10);
      const { pages, events } = await readAll(store, "a", "start", { pageEvents: 4 });
      expect(pages.map((page) => page.events.length)).toEqual([4, 4, 2]);
      expect(pages.map((page) => page.more)).toEqual([true, true, false]);
      expect(values(events)).toEqual(range(1, 10));
    },
  },
  {
    name: "pages: by bytes of UTF-8; an event larger than a page comes alone",
    async run(store) {
      const texts = ["x".repeat(38), "y".repeat(38), "z".repeat(500), "a", "é".repeat(19), "é".repeat(30)];
      await store.append("a", texts.map(item), { create: {} });
      const { pages, events } = await readAll(store, "a", "start", { pageBytes: 80 });
      expect(pages.map((page) => page.events.length)).toEqual([2, 1, 2, 1]);
      expect(values(events)).toEqual(texts);
    },
  },
  {
    name: "pages: the last one of an ended log says so, no other does",
    async run(store) {
      await fill(store, "a", 5);
      const end = await store.append("a", [END]);
      const { pages } = await readAll(store, "a", "start", { pageEvents: 3 });
      expect(pages.map((page) => page.ended)).toEqual([false, true]);
      const after = await firstPage(store, "a", end.cursor);
      expect(after).toMatchObject({ events: [], ended: true, more: false });
    },
  },
  {
    name: "resume from a recent cursor after more than 10,000 events (mercure #1382)",
    async run(store) {
      const cursors = await fill(store, "a", 10_500);
      const from = cursors[10_400]!;
      const { verdict, events } = await readAll(store, "a", from);
      expect(verdict).toEqual({ verdict: "recovered", from, to: from });
      expect(values(events)).toEqual(range(10_401, 10_500));
    },
  },
  {
    name: "a reading of a big log without a cursor is paged (cezar #888)",
    async run(store) {
      const text = "x".repeat(32 * 1024);
      await store.append("a", [], { create: {} });
      for (const n of range(1, 20))
        await store.append(
          "a",
          Array.from({ length: 20 }, () => item(n + text)),
        );
      const reading = follow(store, "a", "start");
      for (let count = 0, more = true; more; ) {
        const page = await nextPage(reading);
        expect(page.events.reduce((sum, event) => sum + event.json.length, 0)).toBeLessThanOrEqual(1024 * 1024);
        count += page.events.length;
        more = page.more;
        if (!more) expect(count).toBe(400);
      }
      await reading.return?.();
    },
  },
];
