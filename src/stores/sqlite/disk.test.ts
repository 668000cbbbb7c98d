/** Full disks and limits: an append fails whole, the others do not, and the store goes on when there is room. */
import { expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faultOf, fill, item, range, readAll, values } from "../../../suites/store/case.ts";
import { Fault, type Store } from "../../log/index.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();
const TEXT = "x".repeat(4000);

test("maxFileBytes: fails like a full disk, and trimming makes room", async () => {
  const store = await sqliteStore({ path: join(folder, "max.db"), maxFileBytes: 1024 * 1024 });
  const count = await fillUp(store);
  expect(values((await readAll(store, "a")).events)).toEqual(range(1, count).map((n) => n + TEXT));
  await store.trim("a", "all");
  await untilAppended(store);
  await store.close();
});

test("an append that fits no disk fails alone, not the others of its batch", async () => {
  const store = await sqliteStore({ path: join(folder, "alone.db"), maxFileBytes: 1024 * 1024 });
  const sizes = [10, 2_000_000, 10, 2_000_000, 10];
  const settled = await Promise.allSettled(
    sizes.map((size, n) => store.append("a", [item(n), item("x".repeat(size)), item(n)], { create: {} })),
  );
  expect(settled.map((one) => one.status === "fulfilled")).toEqual(sizes.map((size) => size === 10));
  const { events } = await readAll(store, "a");
  expect(values(events)).toEqual([0, 2, 4].flatMap((n) => [n, "x".repeat(10), n]));
  await store.close();
});

test("a full disk: the same, on a real one of 2 MiB", async () => {
  const disk = join(folder, "disk");
  mkdirSync(disk);
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], { stderr: "ignore" });
  if (mounted.exitCode !== 0) {
    console.log("skipped: mounting a small disk needs root");
    return;
  }
  try {
    const path = join(disk, "store.db");
    const ballast = join(disk, "ballast");
    const reserve = join(disk, "reserve");
    writeFileSync(ballast, new Uint8Array(512 * 1024));
    writeFileSync(reserve, new Uint8Array(128 * 1024));
    const store = await sqliteStore({ path });
    const count = await fillUp(store);
    expect((await readAll(store, "a")).events).toHaveLength(count);
    rmSync(ballast);
    await untilAppended(store);
    await fillUp(store, count + 1000);
    const before = (await readAll(store, "a")).events;
    await store.close();
    const full = await sqliteStore({ path }).catch((thrown) => thrown);
    if (full instanceof Fault) expect(full.code).toBe("resource_exhausted");
    else await full.close();
    rmSync(reserve);
    const again = await sqliteStore({ path });
    expect((await readAll(again, "a")).events).toEqual(before);
    await again.close();
  } finally {
    Bun.spawnSync(["umount", "-l", disk]);
  }
});

test("maxBytes: only the append that does not fit fails, in a batch with others", async () => {
  const store = await sqliteStore({ path: join(folder, "bytes.db"), maxBytes: 1000 });
  await store.append("a", [], { create: {} });
  const settled = await Promise.allSettled([
    store.append("a", [item("x".repeat(500))]),
    store.append("a", [item("y".repeat(600))]),
    store.append("b", [item("z".repeat(600))], { create: {} }),
    store.append("a", [item("w".repeat(400))]),
    store.append("nobody", [item(1)]),
  ]);
  expect(settled.map((one) => (one.status === "fulfilled" ? one.value.outcome : (one.reason as Fault).code))).toEqual([
    "appended",
    "resource_exhausted",
    "resource_exhausted",
    "appended",
    "not_found",
  ]);
  expect((await store.list({ prefix: "", limit: 9 })).logs.map((info) => info.log)).toEqual(["a"]);
  await store.close();
  const again = await sqliteStore({ path: join(folder, "bytes.db"), maxBytes: 1000 });
  const fault = await faultOf(again.append("a", [item("x".repeat(200))]), "resource_exhausted");
  expect(fault.limit).toBe("maxBytes");
  await again.trim("a", "all");
  expect((await again.append("a", [item("x".repeat(900))], { create: {} })).outcome).toBe("appended");
  await again.close();
});

test("queueBytes: too much at once is refused, what waits is written", async () => {
  const store = await sqliteStore({ path: join(folder, "queue.db"), queueBytes: 10_000 });
  await store.append("a", [], { create: {} });
  const settled = await Promise.allSettled(range(1, 20).map((n) => store.append("a", [item(n + "x".repeat(998))])));
  const done = settled.filter((one) => one.status === "fulfilled");
  expect(done.length).toBeGreaterThan(5);
  expect(done.length).toBeLessThan(20);
  for (const one of settled) if (one.status === "rejected") expect((one.reason as Fault).limit).toBe("queueBytes");
  expect((await readAll(store, "a")).events).toHaveLength(done.length);
  expect((await store.append("a", [item("x".repeat(20_000))])).outcome).toBe("appended");
  await store.close();
});

test("trim: the events of a big log are deleted, also when the store was closed on the way", async () => {
  const path = join(folder, "sweep.db");
  const store = await sqliteStore({ path });
  const cursors = await fill(store, "a", 5000);
  await fill(store, "b", 5000);
  await store.trim("a", cursors[4990]!);
  const kept = await store.append("a", [item("kept")], { key: "kept" });
  await store.trim("b", "all");
  await store.close();
  const again = await sqliteStore({ path });
  // The newest log was removed: a new one must not be taken for it.
  await fill(again, "d", 20);
  expect(values((await readAll(again, "a", cursors[4990]!)).events)).toEqual([...range(4991, 5000), "kept"]);
  const { Database } = await import("bun:sqlite");
  const db = new Database(path, { readonly: true });
  const left = () => db.prepare("select (select count(*) from events), (select count(*) from doomed)").values()[0];
  // Each append lets one step of the cleaning go before it.
  for (let i = 0; i < 50 && left()?.[1] !== 0; i++) await again.append("c", [], { create: {} });
  expect(left()).toEqual([11 + 20, 0]);
  expect(values((await readAll(again, "d")).events)).toEqual(range(1, 20));
  expect(await again.append("a", [item(1)], { key: "kept" })).toEqual({ outcome: "duplicate", cursor: kept.cursor });
  db.close();
  await again.close();
});

/** Appends at once, by groups, until nothing fits. @returns how many were acknowledged. */
async function fillUp(store: Store, from = 0): Promise<number> {
  for (let n = from; ; n += 10) {
    const settled = await Promise.allSettled(
      range(n + 1, n + 10).map((m) => store.append("a", [item(m + TEXT)], { create: {} })),
    );
    for (const one of settled) {
      if (one.status === "fulfilled") continue;
      expect(one.reason).toBeInstanceOf(Fault);
      expect(one.reason).toMatchObject({ code: "resource_exhausted", retryable: true, limit: "disk" });
    }
    const firstFailed = settled.findIndex((one) => one.status === "rejected");
    if (firstFailed < 0) continue;
    // The order of those that were written is the order of the calls; what is small may still fit.
    const written = settled.filter((one) => one.status === "fulfilled").length;
    expect(written).toBe(firstFailed);
    return n + written;
  }
}

/** The space of a trim comes back by small steps. */
async function untilAppended(store: Store): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const done = await store.append("a", [item(`again${TEXT}`)], { create: {} }).catch(() => undefined);
    if (done) return;
  }
  throw new Error("no room came back");
}
