/** Opening: what is refused and how it is said, and which epoch a log has afterwards. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { END, faultOf, firstPage, item, readAll } from "../../../suites/store/case.ts";
import { type Cursor, decodeCursor } from "../../log/index.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();

test("makes the directories, keeps logs and epochs, and leaves one file after close", async () => {
  const path = join(folder, "deep/er/store.db");
  const store = await sqliteStore({ path });
  expect(store.name).toBe(`sqlite:${path}`);
  const { cursor } = await store.append("a", [item(1)], { create: {}, key: "k" });
  await store.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
  const again = await sqliteStore({ path });
  expect((await readAll(again, "a", cursor)).verdict.verdict).toBe("recovered");
  expect((await again.append("a", [item(1)], { key: "k" })).outcome).toBe("duplicate");
  await again.close();
});

test("refuses a damaged file, a text file, another program's database, a newer format, a bad path", async () => {
  const text = join(folder, "text.db");
  writeFileSync(text, "this is no database, but longer than the header of one would be. ".repeat(20));
  expect((await faultOf(sqliteStore({ path: text }), "data_loss")).hint).toBeTruthy();

  const other = join(folder, "other.db");
  new Database(other, { create: true }).run("create table t(x)");
  expect((await faultOf(sqliteStore({ path: other }), "failed_precondition")).message).toContain("another program");

  const newer = join(folder, "newer.db");
  await (await sqliteStore({ path: newer })).close();
  new Database(newer).run("pragma user_version = 99");
  expect((await faultOf(sqliteStore({ path: newer }), "failed_precondition")).message).toContain("format 99");

  await faultOf(sqliteStore({ path: join(text, "below/a.file") }), "failed_precondition");
  mkdirSync(join(folder, "directory.db"));
  await faultOf(sqliteStore({ path: join(folder, "directory.db") }), "failed_precondition");
  await faultOf(sqliteStore({ path: ":memory:" }), "invalid_argument");
});

test("says data_loss when pages in the middle are damaged, and goes on with the rest", async () => {
  const path = join(folder, "damaged.db");
  const store = await sqliteStore({ path });
  await store.append(
    "a",
    Array.from({ length: 300 }, () => item("x".repeat(1000))),
    { create: {} },
  );
  await store.close();
  const bytes = await Bun.file(path).bytes();
  bytes.fill(0x55, bytes.length - 100 * 4096);
  await Bun.write(path, bytes);
  const again = await sqliteStore({ path });
  await faultOf(readAll(again, "a"), "data_loss");
  await again.close();
});

test("normal: after a power cut the logs without an end are told from before; not after kill -9, not in full", async () => {
  const [reset, recovered] = ["reset", "recovered"];
  expect(await verdicts("power", "normal", { boot: "another boot" })).toEqual({ open: reset!, ended: recovered! });
  expect(await verdicts("kill", "normal", {})).toEqual({ open: recovered!, ended: recovered! });
  expect(await verdicts("full", "full", { boot: "another boot" })).toEqual({ open: recovered!, ended: recovered! });
  expect(await verdicts("clean", "normal", { boot: "another boot", clean: 1 })).toEqual({
    open: recovered!,
    ended: recovered!,
  });
});

/** Copies the file of a running store, as a crash leaves it, edits its marks, and resumes in it. */
async function verdicts(
  name: string,
  sync: "full" | "normal",
  meta: Record<string, string | number>,
): Promise<Record<string, string>> {
  const path = join(folder, `${name}.db`);
  const copy = join(folder, `${name}-copy.db`);
  const store = await sqliteStore({ path, sync });
  const cursors: Record<string, Cursor> = {};
  cursors["open"] = (await store.append("open", [item(1)], { create: {} })).cursor;
  cursors["ended"] = (await store.append("ended", [item(1), END], { create: {} })).cursor;
  for (const suffix of ["", "-wal"]) copyFileSync(path + suffix, copy + suffix);
  await store.close();
  const db = new Database(copy);
  for (const [key, value] of Object.entries(meta)) db.run("update meta set value = ? where name = ?", [value, key]);
  db.close();
  const again = await sqliteStore({ path: copy, sync: "normal" });
  const got: Record<string, string> = {};
  for (const [log, cursor] of Object.entries(cursors)) {
    const page = await firstPage(again, log, cursor);
    got[log] = page.verdict!.verdict;
    if (got[log] === "reset") expect(decodeCursor(page.cursor).epoch).not.toBe(decodeCursor(cursor).epoch);
  }
  await again.close();
  return got;
}
