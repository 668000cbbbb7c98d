/** That a call ends is written down first: an end that is stored has its entry, whatever happens in between. */
import { expect, test } from "bun:test";
import type { Store } from "../log/index.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { OUTBOX, OutboxStore } from "./outbox.ts";

const END = [{ kind: "end", json: "{}" }] as const;

async function entries(store: Store): Promise<string[]> {
  const { logs } = await store.list({ prefix: OUTBOX, exact: true, limit: 1 });
  if (!logs[0]) return [];
  for await (const page of store.read(OUTBOX, { from: "start", follow: false }))
    return page.events.map(({ json }) => json);
  return [];
}

test("the end of a call is stored after its entry", async () => {
  const inner = memoryStore();
  const order: string[] = [];
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const store = new OutboxStore({
    ...bound(inner),
    async append(log, drafts, options) {
      order.push(`begin ${log}`);
      if (log === OUTBOX) await gate;
      const appended = await inner.append(log, drafts, options);
      order.push(`end ${log}`);
      return appended;
    },
  });
  await store.append("calls/c1", [{ kind: "open", json: "{}" }], { create: {} });
  const ending = store.append("calls/c1", END);
  await Bun.sleep(5);
  expect(order.slice(2)).toEqual([`begin ${OUTBOX}`]);
  let isSettled = false;
  const settled = store.settled("calls/c1").then(() => {
    isSettled = true;
  });
  open();
  expect((await ending).outcome).toBe("appended");
  await settled;
  expect([isSettled, order.slice(2)]).toEqual([
    true,
    [`begin ${OUTBOX}`, `end ${OUTBOX}`, "begin calls/c1", "end calls/c1"],
  ]);
  expect(await entries(inner)).toEqual(['"c1"']);
});

test("an end that cannot be written down is not stored; other logs and events have no entry", async () => {
  const inner = memoryStore();
  const broken = new OutboxStore({
    ...bound(inner),
    append: (log, drafts, options) =>
      log === OUTBOX ? Promise.reject(new Error("full")) : inner.append(log, drafts, options),
  });
  await broken.append("calls/c1", [{ kind: "open", json: "{}" }], { create: {} });
  expect(broken.append("calls/c1", END)).rejects.toThrow("full");
  await broken.settled("calls/c1");
  expect((await inner.list({ prefix: "calls/", state: "open", limit: 9 })).logs).toHaveLength(1);

  const store = new OutboxStore(inner);
  await store.append("inputs/c1", END, { create: {} });
  await store.append("calls/c2", [{ kind: "item", json: "1" }], { create: {} });
  expect(await entries(inner)).toEqual([]);
});

function bound(store: Store): Store {
  return {
    name: store.name,
    durability: store.durability,
    append: store.append.bind(store),
    read: store.read.bind(store),
    trim: store.trim.bind(store),
    list: store.list.bind(store),
    close: store.close.bind(store),
  };
}
