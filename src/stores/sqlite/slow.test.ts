/** A reader that does not read costs no memory, however much is appended meanwhile. */

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { follow, item, nextPage, range } from "../../../suites/store/case.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();

test("50 stalled followers of 64 MiB hold less than 8 MiB", async () => {
  const store = await sqliteStore({ path: join(folder, "slow.db"), sync: "normal" });
  await store.append("a", [], { create: {} });
  const readings = range(1, 50).map(() => follow(store, "a", "start"));
  for (const reading of readings) await nextPage(reading);
  const before = heapBytes();
  const text = "x".repeat(1024 * 1024);
  for (const n of range(1, 64)) await store.append("a", [item(n + text)]);
  expect(heapBytes() - before).toBeLessThan(8 * 1024 * 1024);
  for (const reading of readings.slice(0, 2)) {
    for (const n of range(1, 64)) {
      const { events } = await nextPage(reading);
      expect(events).toHaveLength(1);
      expect(events[0]!.json.startsWith(`"${n}x`)).toBe(true);
    }
  }
  for (const reading of readings) await reading.return?.();
  await store.close();
}, 60_000);

/** With what lies outside of the heap: long texts do. */
function heapBytes(): number {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}
