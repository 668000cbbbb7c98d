/** The catalog. */
import { expect } from "bun:test";
import type { LogQuery, Store } from "../../src/log/index.ts";
import { type Case, END, faultOf, item, range } from "./case.ts";

export const listCases: readonly Case[] = [
  {
    name: "list: by prefix, which is text and no pattern, and by the whole name",
    async run(store) {
      for (const log of [
        "calls/1",
        "calls/10",
        "calls/2",
        "call",
        "callt",
        "Calls/1",
        "c_lls/1",
        "x",
        "calls/\u{10ffff}x",
        "calls0",
      ]) {
        await store.append(log, [], { create: {} });
      }
      expect(await names(store, { prefix: "calls/" })).toEqual(["calls/1", "calls/10", "calls/2", "calls/\u{10ffff}x"]);
      expect(await names(store, { prefix: "calls/1" })).toEqual(["calls/1", "calls/10"]);
      expect(await names(store, { prefix: "calls/\u{10ffff}" })).toEqual(["calls/\u{10ffff}x"]);
      expect(await names(store, { prefix: "c_" })).toEqual(["c_lls/1"]);
      expect(await names(store, { prefix: "call" })).toHaveLength(7);
      expect(await names(store, { prefix: "" })).toHaveLength(10);
      expect(await names(store, { prefix: "%" })).toEqual([]);
      expect(await names(store, { prefix: "calls/10", limit: 1 })).toEqual(["calls/10"]);
      expect(await names(store, { prefix: "calls/1", exact: true })).toEqual(["calls/1"]);
      expect(await names(store, { prefix: "calls/", exact: true })).toEqual([]);
    },
  },
  {
    name: "list: by labels, all of them",
    async run(store) {
      await store.append("calls/1", [], { create: { owner: "me", method: "x" } });
      await store.append("calls/2", [], { create: { owner: "me", method: "y" } });
      await store.append("calls/3", [], { create: { owner: "you", method: "x" } });
      await store.append("other/4", [], { create: { owner: "me", method: "x" } });
      expect(await names(store, { prefix: "calls/", labels: { owner: "me" } })).toEqual(["calls/1", "calls/2"]);
      expect(await names(store, { prefix: "", labels: { owner: "me", method: "x" } })).toEqual(["calls/1", "other/4"]);
      expect(await names(store, { prefix: "calls/2", labels: { owner: "me" } })).toEqual(["calls/2"]);
      expect(await names(store, { prefix: "calls/2", exact: true, labels: { owner: "me" } })).toEqual(["calls/2"]);
      expect(await names(store, { prefix: "calls/2", exact: true, labels: { owner: "x" } })).toEqual([]);
      expect(await names(store, { prefix: "", labels: { owner: "x" } })).toEqual([]);
      expect(await names(store, { prefix: "", labels: { toString: "x" } })).toEqual([]);
      expect(await names(store, { prefix: "", labels: {} })).toHaveLength(4);
    },
  },
  {
    name: "list: by state",
    async run(store) {
      await store.append("calls/open", [item(1)], { create: { owner: "me" } });
      await store.append("calls/end", [END], { create: { owner: "me" } });
      await store.append("calls/fail", [{ kind: "fail", json: "{}" }], { create: { owner: "me" } });
      for (const state of ["open", "end", "fail"] as const) {
        expect(await names(store, { prefix: "calls/", state })).toEqual([`calls/${state}`]);
        expect(await names(store, { prefix: "", state })).toEqual([`calls/${state}`]);
        expect(await names(store, { prefix: "calls/", state, labels: { owner: "me" } })).toEqual([`calls/${state}`]);
      }
    },
  },
  {
    name: "list: by the time of the last change",
    async run(store) {
      const changed = new Map<string, number>();
      for (const n of range(1, 4)) await store.append(`calls/${n}`, n % 2 ? [END] : [], { create: {} });
      for (const info of (await store.list({ prefix: "", limit: 9 })).logs) changed.set(info.log, info.changedAt);
      const last = Math.max(...changed.values());
      const first = Math.min(...changed.values());
      expect(await names(store, { prefix: "calls/", changedBefore: first - 1 })).toEqual([]);
      expect(await names(store, { prefix: "calls/", changedBefore: last })).toHaveLength(4);
      expect(await names(store, { prefix: "calls/", changedBefore: last, state: "end" })).toEqual([
        "calls/1",
        "calls/3",
      ]);
      expect(await names(store, { prefix: "calls/", changedBefore: last, newestFirst: true })).toEqual(
        [4, 3, 2, 1].map((n) => `calls/${n}`),
      );
      const { logs } = await store.list({ prefix: "calls/2", limit: 1 });
      expect(logs[0]!.changedAt).toBeGreaterThanOrEqual(logs[0]!.createdAt);
    },
  },
  {
    name: "list: pages in both orders, with every filter, are the whole",
    async run(store) {
      for (const n of range(1, 25)) {
        await store.append(`calls/${n}`, n % 3 ? [item(n)] : [item(n), END], {
          create: { owner: n % 2 ? "odd" : "even" },
        });
        await store.append(`other/${n}`, [], { create: { owner: "odd" } });
      }
      const queries: Omit<LogQuery, "limit">[] = [
        { prefix: "" },
        { prefix: "calls/" },
        { prefix: "calls/1" },
        { prefix: "c" },
        { prefix: "calls/", state: "open" },
        { prefix: "calls/", labels: { owner: "odd" } },
        { prefix: "", labels: { owner: "odd" }, state: "open" },
        { prefix: "calls/", changedBefore: Number.MAX_SAFE_INTEGER },
        { prefix: "", state: "end", changedBefore: 2 ** 50 },
      ];
      for (const query of queries) {
        const all = await names(store, query);
        expect(await names(store, { ...query, newestFirst: true })).toEqual(all.toReversed());
        for (const newestFirst of [false, true]) {
          const paged: string[] = [];
          let after: string | undefined;
          do {
            const page = await store.list({ ...query, newestFirst, limit: 4, ...(after !== undefined && { after }) });
            expect(page.logs.length).toBeLessThanOrEqual(4);
            paged.push(...page.logs.map((info) => info.log));
            after = page.next;
          } while (after !== undefined);
          expect(paged).toEqual(newestFirst ? all.toReversed() : all);
        }
      }
      expect(await names(store, { prefix: "calls/" })).toEqual(range(1, 25).map((n) => `calls/${n}`));
    },
  },
  {
    name: "list: a page that is just full is the last; a bad place is refused",
    async run(store) {
      for (const n of range(1, 4)) await store.append(`a/${n}`, [], { create: {} });
      expect((await store.list({ prefix: "a/", limit: 4 })).next).toBeUndefined();
      expect((await store.list({ prefix: "a/", limit: 3 })).next).toBeDefined();
      expect(await store.list({ prefix: "none", limit: 3 })).toEqual({ logs: [] });
      for (const after of ["", "x", "-1", "1e3", "1 or 1"])
        await faultOf(store.list({ prefix: "", limit: 1, after }), "invalid_argument");
    },
  },
  {
    name: "list: says the newest event, the newest progress, and what is kept",
    async run(store) {
      await store.append("a", [{ kind: "open", json: '"o"' }], { create: {} });
      const progress = await store.append("a", [
        { kind: "progress", json: "1" },
        { kind: "progress", json: "2" },
      ]);
      const last = await store.append("a", [item("ü")]);
      const info = async () => (await store.list({ prefix: "a", limit: 1 })).logs[0]!;
      const first = await info();
      expect(first).toMatchObject({
        log: "a",
        head: last.cursor,
        events: 4,
        bytes: 3 + 1 + 1 + 4,
        last: { kind: "item", json: '"ü"', cursor: last.cursor },
        progress: { kind: "progress", json: "2", cursor: progress.cursor },
      });
      expect(first.last!.at).toBe(first.changedAt);
      await store.trim("a", progress.cursor);
      const second = await info();
      expect(second).toMatchObject({ first: progress.cursor, events: 1, bytes: 4 });
      expect("progress" in second).toBe(false);
      await store.trim("a", last.cursor);
      expect("last" in (await info())).toBe(false);
    },
  },
];

async function names(store: Store, query: Partial<LogQuery> & { prefix: string }): Promise<string[]> {
  return (await store.list({ limit: 1000, ...query })).logs.map((info) => info.log);
}
