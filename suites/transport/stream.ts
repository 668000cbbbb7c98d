/** Streams both ways, and coming back to them. */
import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { decodeCursor, encodeCursor, Fault, PAGE_BYTES, PAGE_EVENTS } from "../../src/log/index.ts";
import { memoryStore } from "../../src/server.ts";
import type { Case } from "./case.ts";
import { faultOf, items, kinds, open, page, read, readThrough, state, tick, transcript, until } from "./world.ts";

export const streamCases: readonly Case[] = [
  {
    name: "stream: items come in order between open and end, each with its cursor",
    async run(world) {
      const exchange = await world.open("t/count", { input: { to: 500 } });
      const { verdict, events, ended } = await read(exchange);
      expect(verdict.verdict).toBe("recovered");
      expect(kinds(events)).toEqual(["open", ...Array<string>(500).fill("item"), "end"]);
      expect(items(events)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
      expect(ended).toBe(true);
      const cursors = events.map(({ cursor }) => cursor);
      expect(cursors).toEqual([...new Set(cursors)].sort());
      expect(JSON.parse(events[0]!.json)).toEqual({ id: exchange.id, method: "t/count", attempt: 1 });
    },
  },
  {
    name: "stream: its result is nothing, and its input is not shown to readers",
    async run(world) {
      const exchange = await world.open("t/count", { input: { to: 77_777 % 7 }, keep: true });
      expect(await exchange.result()).toBeUndefined();
      expect(await state(exchange)).toMatchObject({ state: "done", fold: 0 });
      const kept = await world.open("t/echo", { input: "hidden input", keep: true });
      const { events } = await read(kept);
      expect(events[0]!.json).not.toContain("hidden");
    },
  },
  {
    name: "stream: can be read again from each of its cursors, with the rest in the same words",
    async run(world) {
      const first = await world.open("t/count", { input: { to: 12 }, keep: true });
      const { events } = await read(first);
      for (const [i, { cursor }] of events.entries()) {
        const again = await read(await open(world.peer(), `calls/${first.id}`), cursor);
        expect(again.verdict).toEqual({ verdict: "recovered", from: cursor, to: cursor });
        expect(transcript(again.events)).toEqual(transcript(events.slice(i + 1)));
      }
    },
  },
  {
    name: "stream: progress comes between items",
    async run(world) {
      const { exchange, source } = await world.stream("p", "t/gate");
      source.push({ progress: { step: "a", done: 1 } }, { progress: null }, { progress: "ü" }, "done");
      const { events } = await read(exchange);
      expect(kinds(events)).toEqual(["open", "progress", "progress", "progress", "end"]);
      expect(events.slice(1, 4).map(({ json }) => JSON.parse(json))).toEqual([{ step: "a", done: 1 }, null, "ü"]);
      expect(JSON.parse(events[4]!.json)).toEqual({ result: "done" });
    },
  },
  {
    name: "stream: one that fails ends with its fault",
    async run(world) {
      const { exchange, source } = await world.stream("f");
      source.push(1);
      source.end(new Fault("out_of_range", "no more", { hint: "stop", detail: { at: 2 } }));
      const { events, ended } = await read(exchange);
      expect(kinds(events)).toEqual(["open", "item", "fail"]);
      expect(ended).toBe(true);
      const fault = { code: "out_of_range", message: "no more", retryable: false, hint: "stop", detail: { at: 2 } };
      expect(JSON.parse(events[2]!.json)).toEqual(fault as never);
      expect((await faultOf(() => exchange.result(), "out_of_range")).toJSON()).toEqual(fault as never);
      expect(await state(exchange)).toMatchObject({ state: "failed", fault });
    },
  },
  {
    name: "stream: bad input is a fault, not a stream",
    async run(world) {
      const fault = await faultOf(
        async () => read(await world.open("t/count", { input: { to: "many" } })),
        "invalid_argument",
      );
      expect(fault.fields?.[0]?.path).toBe("to");
    },
  },
  {
    name: "stream: items come as they happen, not at the end",
    async run(world) {
      const { exchange, source } = await world.stream("live");
      const reading = exchange.read({ from: "start", follow: true })[Symbol.asyncIterator]();
      const seen: unknown[] = [];
      for (let n = 0; n < 5; n++) {
        source.push({ n });
        while (seen.length <= n) {
          const { value } = await reading.next();
          seen.push(...items(value!.events));
        }
      }
      expect(seen).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })));
      await reading.return?.();
    },
  },
  {
    name: "stream: text of all kinds survives in items",
    async run(world) {
      const { exchange, source } = await world.stream("u");
      const texts = [
        "\n",
        "\r\n",
        "data: x\n\nid: y",
        "\u2028\u2029",
        "\u0000",
        "👩‍🚀",
        "",
        " ",
        ":",
        "\ud83d",
        "ä".repeat(70_000),
      ];
      source.push(...texts);
      source.end();
      expect(items((await read(exchange)).events)).toEqual(texts);
    },
  },
  {
    name: "stream: an ended log read from its end says so at once",
    async run(world) {
      const exchange = await world.open("t/count", { input: { to: 3 }, keep: true });
      const { cursor } = await read(exchange);
      const end = await read(exchange, cursor);
      expect(end).toMatchObject({ events: [], ended: true, cursor });
      expect(await page(exchange, cursor)).toMatchObject({ events: [], ended: true, more: false });
      expect((await read(exchange, "now")).ended).toBe(true);
    },
  },
  {
    name: "detach: a stream goes on without its reader, who comes back with another connection",
    async run(world) {
      const { exchange, id, source } = await world.stream("d");
      source.push(1, 2);
      const { events: before, cursor } = await read(exchange, "start", (events) => items(events).length === 2);
      expect(items(before)).toEqual([1, 2]);
      source.push(3);
      await until(() => world.control.started("d") === 1);
      source.push(4);
      source.end();
      const { verdict, events } = await read(await open(world.peer(), `calls/${id}`), cursor);
      expect(verdict.verdict).toBe("recovered");
      expect(items(events)).toEqual([3, 4]);
      expect(world.control.started("d")).toBe(1);
    },
  },
  {
    name: "detach: before anything was received, and again and again",
    async run(world) {
      const { id, source } = await world.stream("d");
      const seen: unknown[] = [];
      let cursor: Parameters<typeof read>[1] = "start";
      for (let n = 0; n < 10; n++) {
        const early = new AbortController();
        const exchange = await open(world.peer(), `calls/${id}`);
        const gone = exchange.read({ from: cursor, follow: true, signal: early.signal })[Symbol.asyncIterator]();
        const first = gone.next().catch(() => undefined);
        early.abort();
        await first;
        await gone.return?.();
        source.push(n);
        const back = await read(await open(world.peer(), `calls/${id}`), cursor, (events) => items(events).length > 0);
        seen.push(...items(back.events));
        cursor = back.cursor;
      }
      expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    },
  },
  {
    name: "disconnect: ends a call that is not recorded, not one that is",
    async run(world) {
      const { exchange } = await world.stream("kept", "t/gate");
      const caller = new AbortController();
      const gone = await world.open("t/gate", { input: { source: "gone" }, signal: caller.signal });
      const waiting = new AbortController();
      const results = [faultOf(() => gone.result()), faultOf(() => exchange.result(waiting.signal))];
      await until(() => world.control.started("gone") === 1 && world.control.started("kept") === 1, "the handlers");
      caller.abort();
      waiting.abort();
      await Promise.all(results);
      await until(() => world.control.aborted("gone") !== undefined, "the abort");
      world.control.source("kept").push("there");
      expect(await exchange.result()).toBe("there");
    },
  },
  {
    name: "cancel: ends a running call once, tells its handler, and is harmless after",
    async run(world) {
      const { exchange, id, source } = await world.stream("c");
      source.push(1);
      await until(() => world.control.started("c") === 1, "the handler");
      const reading = read(await open(world.peer(), `calls/${id}`));
      await exchange.cancel();
      await (await open(world.peer(), `calls/${id}`)).cancel();
      await until(() => world.control.aborted("c") !== undefined, "the abort");
      expect(world.control.aborted("c")).toMatchObject({ code: "cancelled" });
      const { events } = await reading;
      expect(kinds(events).filter((kind) => kind === "fail" || kind === "end")).toEqual(["fail"]);
      await faultOf(() => exchange.result(), "cancelled");
      expect(await state(exchange)).toMatchObject({ state: "cancelled", fault: { code: "cancelled" } });
      await exchange.cancel();
      const done = await world.open("t/echo", { input: 1, keep: true });
      await done.result();
      await done.cancel();
      expect(await state(done)).toMatchObject({ state: "done", result: 1 });
    },
  },
  {
    name: "client stream: items are numbered, skipped when known, and refused when one is missing",
    async run(world) {
      const exchange = await world.open("t/sum", { keep: true });
      expect(await exchange.append({ items: [1, 2], seq: 0 })).toMatchObject({ next: 2 });
      expect(await exchange.append({ items: [1, 2, 3], seq: 0 })).toMatchObject({ next: 3 });
      const missing = await faultOf(() => exchange.append({ items: [9], seq: 5 }), "aborted");
      expect(missing.detail).toEqual({ next: 3 });
      const other = await faultOf(() => exchange.append({ items: [8], seq: 1 }), "invalid_argument");
      expect(other.detail).toMatchObject({ key: "reused" });
      await faultOf(() => exchange.append({ items: [4, "x"], seq: 3 }), "invalid_argument");
      expect(await state(exchange)).toMatchObject({ received: { items: 3, ended: false } });
      expect(await exchange.append({ items: [4], seq: 3, end: true })).toMatchObject({ next: 4 });
      expect(await exchange.result()).toBe(10);
      expect(await state(exchange)).toMatchObject({ received: { items: 4, ended: true }, result: 10 });
      await faultOf(() => exchange.append({ items: [5], seq: 4 }), "failed_precondition");
    },
  },
  {
    name: "client stream: goes on from another client where it was cut",
    async run(world) {
      const first = await world.open("t/sum", { keep: true });
      await first.append({ items: [1, 2, 3], seq: 0 });
      const second = await open(world.peer(), `calls/${first.id}`);
      const { received } = await state(second);
      expect(received).toEqual({ items: 3, ended: false });
      // The answer to the last batch was lost, so it comes again.
      await second.append({ items: [2, 3, 4], seq: 1 });
      await second.append({ items: [], seq: 4, end: true });
      expect(await second.result()).toBe(10);
    },
  },
  {
    name: "client stream: an empty one has a result",
    async run(world) {
      const exchange = await world.open("t/sum", { keep: true });
      await exchange.append({ items: [], end: true });
      expect(await exchange.result()).toBe(0);
    },
  },
  {
    name: "client stream: with a key the same stream is gone on with",
    async run(world) {
      const first = await world.open("t/sum", { key: "s" });
      await first.append({ items: [5], seq: 0 });
      const second = await open(world.peer(), "t/sum", { key: "s" });
      await second.append({ items: [5, 6], seq: 0, end: true });
      expect(await second.result()).toBe(11);
      expect(await first.result()).toBe(11);
      expect(second.id).toBe(first.id);
    },
  },
  {
    name: "client stream: a unary call takes no items",
    async run(world) {
      const exchange = await world.open("t/gate", { input: { source: "x" }, keep: true });
      await faultOf(() => exchange.append({ items: [1] }), "failed_precondition");
    },
  },
  {
    name: "bidi: answers come while items go",
    async run(world) {
      const exchange = await world.open("t/shout", { keep: true });
      const reading = exchange.read({ from: "start", follow: true })[Symbol.asyncIterator]();
      const seen: unknown[] = [];
      for (const [seq, text] of ["a", "b", "ß"].entries()) {
        await exchange.append({ items: [text], seq });
        while (seen.length <= seq) seen.push(...items((await reading.next()).value!.events));
      }
      await exchange.append({ items: [], seq: 3, end: true });
      for (let isEnded = false; !isEnded; ) isEnded = (await reading.next()).value!.ended;
      expect(seen).toEqual(["A", "B", "SS"]);
    },
  },
  {
    name: "verdict: gap after trimming, with the state that stands for what is missing",
    async run(world) {
      const exchange = await world.open("t/count", { input: { to: 10 }, keep: true });
      const { events } = await read(exchange);
      const cut = events[4]!.cursor;
      await world.store.trim(`calls/${exchange.id}`, cut);
      const log = events.slice(5);
      for (const from of [events[1]!.cursor, "start"] as const) {
        const gap = await read(await open(world.peer(), `calls/${exchange.id}`), from);
        expect(gap.verdict).toMatchObject({ verdict: "gap", from, to: cut });
        expect(transcript(gap.events)).toEqual(transcript(log));
      }
      const after = await read(exchange, cut);
      expect(after.verdict).toEqual({ verdict: "recovered", from: cut, to: cut });
    },
  },
  {
    name: "verdict: reset for a cursor of another log, and for one beyond the end",
    async run(world) {
      const one = await world.open("t/count", { input: { to: 3 }, keep: true });
      const two = await world.open("t/count", { input: { to: 4 }, keep: true });
      const { cursor: foreign } = await read(one);
      const { events, cursor } = await read(two);
      const { epoch, seq } = decodeCursor(cursor);
      for (const from of [foreign, encodeCursor(epoch, seq + 7)]) {
        const reset = await read(two, from);
        expect(reset.verdict).toMatchObject({ verdict: "reset", from, to: encodeCursor(epoch, 0), state: "0" });
        expect(transcript(reset.events)).toEqual(transcript(events));
      }
    },
  },
  {
    name: "verdict: reset when the store was lost and the log made anew",
    async run(world) {
      const topic = await world.open("topics/ticks");
      for (const n of [1, 2, 3]) await topic.append({ items: [{ n }] });
      const { cursor } = await page(topic);
      world.store.lose(memoryStore());
      const again = await open(world.peer(), "topics/ticks");
      await again.append({ items: [{ n: 9 }] });
      const reset = await read(again, cursor, (events) => events.length > 0);
      expect(reset.verdict).toMatchObject({ verdict: "reset", from: cursor, state: "0" });
      expect(items(reset.events)).toEqual([{ n: 9 }]);
    },
  },
  {
    name: "verdict: text that is no cursor is invalid_argument",
    async run(world) {
      const exchange = await world.open("t/count", { input: { to: 1 }, keep: true });
      for (const bad of ["x", "abcd-a", "ABCD-a1", "../..", "\u0000"]) {
        const fault = await faultOf(() => page(exchange, bad as never), "invalid_argument");
        expect(fault.fields?.[0]?.path).toBe("after");
        await faultOf(() => read(exchange, bad as never), "invalid_argument");
      }
    },
  },
  {
    name: "long log: a read without a cursor is paged, bounded, and complete",
    timeout: 60_000,
    async run(world) {
      const exchange = await world.open("t/big", { input: { items: 448, bytes: 65_536 }, keep: true });
      await until(async () => (await state(exchange)).state === "done", "28 MB");
      const hash = createHash("sha256");
      let place: Parameters<typeof page>[1] = "start";
      let count = 0;
      for (let isEnded = false; !isEnded; ) {
        const each = await page(exchange, place);
        const bytes = each.events.reduce((sum, { json }) => sum + json.length, 0);
        expect(each.events.length).toBeLessThanOrEqual(PAGE_EVENTS);
        expect(bytes).toBeLessThanOrEqual(PAGE_BYTES);
        for (const line of transcript(each.events)) hash.update(line);
        count += each.events.length;
        place = each.cursor;
        isEnded = each.ended;
      }
      expect(count).toBe(450);
      const followed = createHash("sha256");
      const { events } = await read(await open(world.peer(), `calls/${exchange.id}`));
      for (const line of transcript(events)) followed.update(line);
      expect(followed.digest("hex")).toBe(hash.digest("hex"));
    },
  },
  {
    name: "slow reader: the server reads no further than the reader takes",
    timeout: 60_000,
    async run(world) {
      const exchange = await world.open("t/big", { input: { items: 448, bytes: 65_536 }, keep: true });
      await until(async () => (await state(exchange)).state === "done", "28 MB");
      const before = world.store.bytes;
      const reader = await open(world.peer(), `calls/${exchange.id}`);
      const reading = reader.read({ from: "start", follow: true })[Symbol.asyncIterator]();
      await reading.next();
      let read = -1;
      // Until nothing moves any more: what is then read lies in buffers that have their bounds.
      for (let still = 0; still < 25; still = read === world.store.bytes ? still + 1 : 0) {
        read = world.store.bytes;
        await tick(10);
      }
      expect(read - before).toBeLessThan(16 * 1024 * 1024);
      let events = 1;
      for (let isEnded = false; !isEnded; ) {
        const { value, done } = await reading.next();
        if (done) throw new Error("the reading stopped");
        isEnded = value.ended;
        events += value.events.length;
      }
      expect(events).toBeGreaterThan(100);
    },
  },
  {
    name: "order: readers that come while events are appended miss none and see none twice",
    timeout: 60_000,
    async run(world, { pick }) {
      const { id, source } = await world.stream("o");
      const total = 400;
      const readers: Promise<{ events: Parameters<typeof items>[0] }>[] = [];
      for (let n = 0; n < total; n++) {
        source.push(n);
        if (n % 20 === 0) readers.push(readThrough(() => world.peer(), `calls/${id}`));
        if (pick(3) === 0) await tick(0);
      }
      source.end();
      const expected = Array.from({ length: total }, (_, n) => n);
      for (const reader of readers) expect(items((await reader).events)).toEqual(expected);
    },
  },
];
