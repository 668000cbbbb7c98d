/** Publishing and subscribing. */
import { expect } from "bun:test";
import type { Case } from "./case.ts";
import { faultOf, items, open, page, publish, read, readThrough, until } from "./world.ts";

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => ({ n: from + i }));

export const topicCases: readonly Case[] = [
  {
    name: "topic: read from the start, from a cursor and from now",
    async run(world) {
      const topic = await world.open("topics/ticks");
      const first = await publish(topic, { n: 1 });
      await publish(topic, { n: 2 });
      const all = (count: number) => (events: readonly unknown[]) => events.length >= count;
      expect(items((await read(topic, "start", all(2))).events)).toEqual(numbers(1, 2));
      const after = await read(topic, first.cursor, all(1));
      expect(after.verdict).toMatchObject({ verdict: "recovered", from: first.cursor });
      expect(items(after.events)).toEqual(numbers(2, 2));
      const subscriber = await open(world.peer(), "topics/ticks");
      const live = subscriber.read({ from: "now", follow: true })[Symbol.asyncIterator]();
      const { value } = await live.next();
      expect(value).toMatchObject({ events: [], verdict: { verdict: "recovered", from: "now" } });
      await publish(topic, { n: 3 });
      expect(items((await live.next()).value!.events)).toEqual(numbers(3, 3));
      await live.return?.();
      expect(subscriber.id).toBe("ticks");
    },
  },
  {
    name: "topic: an empty one gives its verdict at once",
    async run(world) {
      for (const from of ["now", "start"] as const) {
        const topic = await world.open("topics/notes");
        const reading = topic.read({ from, follow: true })[Symbol.asyncIterator]();
        expect((await reading.next()).value).toMatchObject({ events: [], verdict: { verdict: "recovered" } });
        await reading.return?.();
      }
      expect(await page(await world.open("topics/notes"))).toMatchObject({ events: [], more: false, ended: false });
    },
  },
  {
    name: "topic: every subscriber gets every event, in the order of their cursors",
    async run(world) {
      const enough = (events: readonly unknown[]) => events.length >= 90;
      const readers = Array.from({ length: 10 }, () =>
        readThrough(() => world.peer(), "topics/ticks", "start", enough),
      );
      const writers = [world.peer(), world.peer(), world.peer()].map(async (peer, w) => {
        const topic = await open(peer, "topics/ticks");
        for (let n = 0; n < 30; n++) await publish(topic, { n: w * 100 + n });
      });
      await Promise.all(writers);
      const all = await Promise.all(readers);
      for (const { events } of all) expect(items(events)).toEqual(items(all[0]!.events));
      const seen = items(all[0]!.events) as { n: number }[];
      for (const w of [0, 1, 2]) {
        const own = seen.filter(({ n }) => Math.floor(n / 100) === w);
        expect(own).toEqual(numbers(w * 100, w * 100 + 29));
      }
    },
  },
  {
    name: "topic: a key publishes once, and another event with it is refused",
    async run(world) {
      const topic = await world.open("topics/ticks");
      const first = await publish(topic, { n: 1 }, "a");
      expect(first.duplicate).toBe(false);
      expect(await publish(await open(world.peer(), "topics/ticks"), { n: 1 }, "a")).toMatchObject({
        duplicate: true,
        cursor: first.cursor,
      });
      const fault = await faultOf(() => publish(topic, { n: 2 }, "a"), "invalid_argument");
      expect(fault.detail).toMatchObject({ key: "reused" });
      const many = await Promise.all(Array.from({ length: 20 }, () => publish(topic, { n: 3 }, "b")));
      expect(many.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
      expect(items((await page(topic)).events)).toEqual([{ n: 1 }, { n: 3 }]);
    },
  },
  {
    name: "topic: an event that is not valid is refused, and nothing is stored",
    async run(world) {
      const topic = await world.open("topics/ticks");
      const fault = await faultOf(() => publish(topic, { n: "one" }), "invalid_argument");
      expect(fault.fields?.[0]?.path).toBe("n");
      expect((await page(topic)).events).toEqual([]);
    },
  },
  {
    name: "topic: one that is not open takes events of the server only",
    async run(world) {
      await faultOf(async () => publish(await world.open("topics/closed"), {}), "permission_denied");
      const cursor = (await world.result("t/tick", { n: 5 })) as never;
      const { events } = await page(await world.open("topics/ticks"));
      expect(events.at(-1)).toMatchObject({ cursor, kind: "item" });
    },
  },
  {
    name: "topic: gap after trimming, with the folded state",
    async run(world) {
      const topic = await world.open("topics/ticks");
      const cursors = [];
      for (const { n } of numbers(1, 6)) cursors.push((await publish(topic, { n })).cursor);
      await world.store.trim("topics/ticks", cursors[3]!);
      const gap = await read(topic, cursors[0]!, (events) => events.length >= 2);
      expect(gap.verdict).toMatchObject({ verdict: "gap", from: cursors[0]!, to: cursors[3]! });
      expect(items(gap.events)).toEqual(numbers(5, 6));
    },
  },
  {
    name: "topic: a reader that waits sees an event of any other transport's client",
    async run(world) {
      const topic = await open(world.peer(), "topics/notes");
      const reading = read(topic, "start", (events) => events.length >= 1);
      await until(() => world.store.reading >= 0);
      const direct = await world.core.peer({ to: "topics/notes", principal: { id: "" }, via: "test" });
      await direct.append({ items: [{ text: "hier 👋" }] });
      expect(items((await reading).events)).toEqual([{ text: "hier 👋" }]);
    },
  },
  {
    name: "topic: has no result and cannot be cancelled",
    async run(world) {
      const topic = await world.open("topics/ticks");
      await faultOf(() => topic.result(), "failed_precondition");
      await faultOf(() => topic.cancel(), "failed_precondition");
    },
  },
];
