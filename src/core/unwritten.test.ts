import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { FaultyStore, kinds, latch, open, started, transcript, until } from "../../suites/core/kit.ts";
import { serverStream, service } from "../contract/index.ts";
import { Fault, type Store } from "../log/index.ts";
import { memoryStore } from "../server.ts";
import { seeded } from "../wire/seed.ts";
import { Unwritten } from "./unwritten.ts";

/** A store whose appends wait at a gate, but for those that open a call. */
function slowStore() {
  const gate = latch();
  const inner = memoryStore();
  const waiting = { bytes: 0, most: 0 };
  const store: Store = {
    name: "slow:",
    durability: "as the memory store",
    append: async (log, drafts, options) => {
      if (options?.create) return inner.append(log, drafts, options);
      const said = drafts.filter(({ kind }) => kind === "item" || kind === "progress");
      const bytes = said.reduce((sum, { json }) => sum + json.length, 0);
      waiting.bytes += bytes;
      waiting.most = Math.max(waiting.most, waiting.bytes);
      await gate.opened;
      waiting.bytes -= bytes;
      return inner.append(log, drafts, options);
    },
    read: (log, at) => inner.read(log, at),
    list: (query) => inner.list(query),
    trim: (log, before) => inner.trim(log, before),
    close: () => inner.close(),
  };
  return { store, gate, waiting };
}

/** Of 100 bytes as JSON. */
const ITEM = "x".repeat(98);

function flood() {
  const said = new Map<string, number>();
  const services = service("s", {
    flood: serverStream({ input: z.int(), item: z.string(), progress: z.string() }, function* (items, call) {
      for (let n = 0; n < items; n++) {
        said.set(call.id!, n + 1);
        yield ITEM;
      }
    }),
    large: serverStream({ input: z.int(), item: z.string() }, function* (items) {
      for (let n = 0; n < items; n++) yield "x".repeat(5_000);
    }),
    progress: serverStream({ input: z.any(), item: z.string(), progress: z.string() }, async function* (_, call) {
      for (let n = 0; n < 1_000; n++) call.progress(String(n).padStart(98, "0"));
      yield ITEM;
    }),
  });
  return { services, said: () => [...said.values()].reduce((sum, items) => sum + items, 0) };
}

/** As long as anything still happens. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("handlers that say more than the store takes", () => {
  test("unwrittenBytesPerCall: one call waits at its yield, and goes on when it is stored", async () => {
    const { store, gate, waiting } = slowStore();
    const { services, said } = flood();
    const core = await started(services, { store, limits: { unwrittenBytesPerCall: 1_000 } });
    const call = await open(core, "s/flood", { input: 300 });
    await until(() => said() === 10);
    await settled();
    expect(said()).toBe(10);
    gate.open();
    expect(kinds(await transcript(call)).filter((kind) => kind === "item")).toHaveLength(300);
    expect(waiting.most).toBeLessThanOrEqual(1_000);
  });

  test("unwrittenBytes: many calls share it, and each has its turn", async () => {
    const { store, gate, waiting } = slowStore();
    const { services, said } = flood();
    const limits = { unwrittenBytes: 2_000, unwrittenBytesPerCall: 500 };
    const core = await started(services, { store, limits });
    const calls = await Promise.all(Array.from({ length: 20 }, () => open(core, "s/flood", { input: 50 })));
    // 2,000 bytes are taken, and each other call has one item in its hand.
    await settled();
    expect(said()).toBeGreaterThanOrEqual(20);
    expect(said()).toBeLessThanOrEqual(40);
    expect(waiting.bytes).toBeLessThanOrEqual(2_000);
    gate.open();
    for (const call of calls) {
      expect(kinds(await transcript(call))).toEqual(["open", ...new Array(50).fill("item"), "end"]);
    }
    expect(waiting.most).toBeLessThanOrEqual(2_000);
  });

  test("an item that is larger than both has its turn alone", async () => {
    const { store, gate, waiting } = slowStore();
    const core = await started(flood().services, { store, limits: { unwrittenBytes: 100, unwrittenBytesPerCall: 50 } });
    const calls = await Promise.all([1, 2, 3].map(() => open(core, "s/large", { input: 3 })));
    gate.open();
    for (const call of calls) expect(kinds(await transcript(call))).toEqual(["open", "item", "item", "item", "end"]);
    expect(waiting.most).toBeLessThanOrEqual(5_100);
  });

  test("progress does not wait, and newer progress takes the place of what is not written", async () => {
    const { store, gate, waiting } = slowStore();
    const core = await started(flood().services, {
      store,
      limits: { unwrittenBytes: 1_000, unwrittenBytesPerCall: 500 },
    });
    const call = await open(core, "s/progress", { input: null });
    await settled();
    gate.open();
    const events = await transcript(call);
    expect(events.filter(({ kind }) => kind === "progress").at(-1)!.json).toContain("999");
    expect(waiting.most).toBeLessThanOrEqual(700);
    expect(kinds(events).slice(-2)).toEqual(["item", "end"]);
  });

  test("a call that is cancelled while it waits keeps no room, and the others go on", async () => {
    const { store, gate } = slowStore();
    const core = await started(flood().services, {
      store,
      limits: { unwrittenBytes: 300, unwrittenBytesPerCall: 300 },
    });
    const calls = await Promise.all([1, 2, 3, 4].map(() => open(core, "s/flood", { input: 20 })));
    await settled();
    const cancelled = [calls[0]!, calls[3]!].map((call) => call.cancel());
    gate.open();
    await Promise.all(cancelled);
    for (const call of [calls[1]!, calls[2]!]) expect(kinds(await transcript(call))).toHaveLength(22);
    for (const call of [calls[0]!, calls[3]!]) expect(kinds(await transcript(call)).at(-1)).toBe("fail");
    expect(kinds(await transcript(await open(core, "s/flood", { input: 20 })))).toHaveLength(22);
  });

  test("what a store has refused takes no room either", async () => {
    const store = new FaultyStore();
    const fault = new Fault("unavailable", "the store is away");
    store.mishap = (_, drafts) => (drafts.some(({ kind }) => kind === "item") ? { fault, when: "before" } : undefined);
    const core = await started(flood().services, {
      store,
      limits: { unwrittenBytes: 300, unwrittenBytesPerCall: 200 },
    });
    const calls = await Promise.all([1, 2, 3, 4].map(() => open(core, "s/flood", { input: 20 })));
    for (const call of calls) expect(kinds(await transcript(call))).toEqual(["open", "fail"]);
    store.mishap = () => undefined;
    expect(kinds(await transcript(await open(core, "s/flood", { input: 20 })))).toHaveLength(22);
  });
});

test("room: never more than there is, first come first served, and all of it comes back", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = seeded(seed);
    const room = new Unwritten(1_000);
    const held: number[] = [];
    const came: number[] = [];
    const give = async () => {
      room.give(held.splice(Math.floor(random() * held.length), 1)[0]!);
      await Promise.resolve();
    };
    for (let n = 0; n < 100; n++) {
      const bytes = 1 + Math.floor(random() * 400);
      const enter = () => {
        came.push(n);
        held.push(bytes);
      };
      const wait = room.take(bytes);
      if (wait) void wait.then(enter);
      else enter();
      if (held.length > 0 && random() < 0.5) await give();
      expect(room.bytes).toBeLessThanOrEqual(1_000);
    }
    while (held.length > 0) await give();
    expect(came).toEqual(Array.from({ length: 100 }, (_, n) => n));
    expect(room.bytes).toBe(0);
  }
});
