/** Appending: order, guards, the end, and what the text may be. */
import { expect } from "bun:test";
import { decodeCursor } from "../../src/log/index.ts";
import { type Case, END, faultOf, fill, firstPage, item, range, readAll, values } from "./case.ts";

export const appendCases: readonly Case[] = [
  {
    name: "append: events are read in the order of their append, with rising cursors",
    async run(store) {
      await store.append("a", [item(1), item(2)], { create: {} });
      const third = await store.append("a", [item(3)]);
      const { events, verdict, ended } = await readAll(store, "a");
      expect(values(events)).toEqual([1, 2, 3]);
      expect(events.map((event) => event.cursor).toSorted()).toEqual(events.map((event) => event.cursor));
      expect(third).toEqual({ outcome: "appended", cursor: events[2]!.cursor });
      expect(verdict.verdict).toBe("recovered");
      expect(ended).toBe(false);
    },
  },
  {
    name: "append: many at once to many logs, each log in the order of its appender",
    async run(store) {
      const logs = range(1, 20).map((n) => `log/${n}`);
      await Promise.all(
        logs.map(async (log) => {
          for (const n of range(1, 30)) await store.append(log, [item(n), item(-n)], { create: {} });
        }),
      );
      for (const log of logs) {
        expect(values((await readAll(store, log)).events)).toEqual(range(1, 30).flatMap((n) => [n, -n]));
      }
    },
  },
  {
    name: "append: at once to one log, none waits for another, all are there once in the order of the calls",
    async run(store) {
      await store.append("a", [], { create: {} });
      const done = await Promise.all(range(1, 500).map((n) => store.append("a", [item(n)])));
      const { events } = await readAll(store, "a");
      expect(values(events)).toEqual(range(1, 500));
      expect(done.map((one) => one.cursor)).toEqual(events.map((event) => event.cursor));
    },
  },
  {
    name: "append: an unknown log is not_found without create, and nothing is made",
    async run(store) {
      await faultOf(store.append("a", [item(1)]), "not_found");
      await faultOf(firstPage(store, "a", "start"), "not_found");
      const known = await store.append("a", [item(1)], { create: {} });
      await faultOf(store.append("b", [item(1)], { after: known.cursor, create: {} }), "not_found");
      expect((await store.list({ prefix: "", limit: 10 })).logs.map((log) => log.log)).toEqual(["a"]);
    },
  },
  {
    name: "append: nothing with create makes the log",
    async run(store) {
      const made = await store.append("a", [], { create: { owner: "me" } });
      expect(made.outcome).toBe("appended");
      const page = await firstPage(store, "a", "start");
      expect(page).toMatchObject({ events: [], more: false, ended: false, cursor: made.cursor });
      const { logs } = await store.list({ prefix: "a", limit: 1 });
      expect(logs[0]).toMatchObject({
        labels: { owner: "me" },
        events: 0,
        bytes: 0,
        head: made.cursor,
        first: made.cursor,
      });
    },
  },
  {
    name: "append: create on a log that exists appends and keeps the labels",
    async run(store) {
      await store.append("a", [item(1)], { create: { owner: "me" } });
      await store.append("a", [item(2)], { create: { owner: "you" } });
      const { logs } = await store.list({ prefix: "a", limit: 1 });
      expect(logs[0]).toMatchObject({ labels: { owner: "me" }, events: 2 });
    },
  },
  {
    name: "guard after: appends at the newest cursor only",
    async run(store) {
      const [empty, first] = await fill(store, "a", 1);
      expect(await store.append("a", [item("x")], { after: empty! })).toEqual({ outcome: "conflict", cursor: first! });
      const second = await store.append("a", [item(2)], { after: first! });
      expect(second.outcome).toBe("appended");
      const race = await Promise.all(
        range(1, 8).map((n) => store.append("a", [item(`race ${n}`)], { after: second.cursor })),
      );
      expect(race.filter((one) => one.outcome === "appended")).toHaveLength(1);
      expect(race.filter((one) => one.outcome === "conflict")).toHaveLength(7);
      expect((await readAll(store, "a")).events).toHaveLength(3);
    },
  },
  {
    name: "guard absent: of many that make the log at once, one does",
    async run(store) {
      const race = await Promise.all(
        range(1, 8).map((n) => store.append("a", [item(n)], { after: "absent", create: { n: String(n) } })),
      );
      expect(race.filter((one) => one.outcome === "appended")).toHaveLength(1);
      const { events } = await readAll(store, "a");
      expect(values(events)).toEqual([race.findIndex((one) => one.outcome === "appended") + 1]);
      expect(race.find((one) => one.outcome === "conflict")!.cursor).toBe(events[0]!.cursor);
    },
  },
  {
    name: "guard key: once for each key, also at once, also after more events and the end",
    async run(store) {
      const race = await Promise.all(
        range(1, 8).map((n) => store.append("a", [item(n), item(n)], { key: "k", create: {} })),
      );
      expect(race.filter((one) => one.outcome === "appended")).toHaveLength(1);
      expect(race.filter((one) => one.outcome === "duplicate")).toHaveLength(7);
      expect(new Set(race.map((one) => one.cursor)).size).toBe(1);
      const other = await store.append("a", [item("other")], { key: "K" });
      expect(other.outcome).toBe("appended");
      await store.append("a", [END], { key: "end" });
      expect(await store.append("a", [item(9)], { key: "k" })).toEqual({
        outcome: "duplicate",
        cursor: race[0]!.cursor,
      });
      expect((await store.append("a", [END], { key: "end" })).outcome).toBe("duplicate");
      expect((await readAll(store, "a")).events).toHaveLength(4);
      expect((await store.append("b", [item(1)], { key: "k", create: {} })).outcome).toBe("appended");
    },
  },
  {
    name: "guard key: wins over the guard after, so that an append can be repeated as it was",
    async run(store) {
      const [, first] = await fill(store, "a", 1);
      const done = await store.append("a", [item(2)], { after: first!, key: "k" });
      expect(await store.append("a", [item(2)], { after: first!, key: "k" })).toEqual({
        outcome: "duplicate",
        cursor: done.cursor,
      });
      const made = await store.append("b", [item(1)], { after: "absent", key: "k", create: {} });
      const again = await store.append("b", [item(1)], { after: "absent", key: "k", create: {} });
      expect(again).toEqual({ outcome: "duplicate", cursor: made.cursor });
    },
  },
  {
    name: "guard key: a failed guard does not use the key up",
    async run(store) {
      const [empty, first] = await fill(store, "a", 1);
      expect((await store.append("a", [item(2)], { after: empty!, key: "k" })).outcome).toBe("conflict");
      expect((await store.append("a", [item(2)], { after: first!, key: "k" })).outcome).toBe("appended");
    },
  },
  {
    name: "end: nothing comes after it, also when two race",
    async run(store) {
      await store.append("a", [item(1)], { create: {} });
      const race = await Promise.all([
        store.append("a", [END]),
        store.append("a", [{ kind: "fail", json: "{}" }]),
        store.append("a", [item(2)]),
      ]);
      expect(race.map((one) => one.outcome)).toEqual(["appended", "ended", "ended"]);
      expect(race[1]!.cursor).toBe(race[0]!.cursor);
      expect((await store.append("a", [])).outcome).toBe("ended");
      expect((await store.append("a", [item(3)], { create: {}, key: "new" })).outcome).toBe("ended");
      const { events, ended } = await readAll(store, "a");
      expect(events.map((event) => event.kind)).toEqual(["item", "end"]);
      expect(ended).toBe(true);
    },
  },
  {
    name: "end: events after it in one append are refused, and nothing is written",
    async run(store) {
      await faultOf(store.append("a", [END, item(1)], { create: {} }), "invalid_argument");
      await faultOf(firstPage(store, "a", "start"), "not_found");
    },
  },
  {
    name: "text: every JSON text, name, key and label comes back as it was",
    async run(store) {
      const texts = [
        '{"a" : 1,\n\t"a": 2 }',
        '"\\u0000\\ud800"',
        '"a\u0000b"',
        '"\ufeff"',
        "\ufeff1",
        '"\u2028\u2029\u0085"',
        '"😀 e\u0301 é ﷽"',
        "1e400",
        "-0",
        "12345678901234567890.10",
        "'; drop table events; --",
        '"%_\\\\"',
        " null ",
        `"${"x".repeat(1024 * 1024)}"`,
        `"${"é😀".repeat(100_000)}"`,
      ];
      const name = "näme/😀 '%_\"\u0000x";
      const labels = { "lä'bel\u0000": 'välue "%', "": "", __proto__x: "1" };
      await store.append(name, [], { create: labels });
      for (const json of texts) await store.append(name, [{ kind: "item", json }], { key: json.slice(0, 50) });
      const { events } = await readAll(store, name);
      expect(events.map((event) => event.json)).toEqual(texts);
      expect((await store.append(name, [item(1)], { key: texts[2]! })).outcome).toBe("duplicate");
      const { logs } = await store.list({ prefix: name, labels, limit: 5 });
      expect(logs[0]).toMatchObject({ log: name, labels });
      expect(logs[0]!.bytes).toBe(texts.reduce((sum, json) => sum + Buffer.byteLength(json), 0));
    },
  },
  {
    name: "text: a lone surrogate is refused",
    async run(store) {
      await faultOf(store.append("a", [{ kind: "item", json: '"\ud800"' }], { create: {} }), "invalid_argument");
    },
  },
  {
    name: "a new log with the name of a removed one has another epoch",
    async run(store) {
      const [, first] = await fill(store, "a", 1);
      await store.trim("a", "all");
      const again = await store.append("a", [item(1)], { create: {}, key: "k" });
      expect(decodeCursor(again.cursor).epoch).not.toBe(decodeCursor(first!).epoch);
    },
  },
];
