/** What an earlier process has left in the directory; what is of no use to anybody is removed. */
import { open, readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { Entry } from "./entry.ts";
import { bytesPath, readRecord, removeFiles } from "./record.ts";

export async function* entriesIn(directory: string): AsyncGenerator<Entry> {
  const names = new Set(await readdir(directory));
  for (const name of names) {
    const match = /^(u[0-9a-z]{26})\.(json|bin|json\.new)$/.exec(name);
    if (!match) continue;
    const [, id = "", kind] = match;
    if (kind === "json") {
      const entry = await entryOf(directory, id, names.has(`${id}.bin`));
      if (entry) yield entry;
      else await removeFiles(directory, id);
    } else if (kind === "json.new" || !names.has(`${id}.json`)) await rm(join(directory, name), { force: true });
  }
}

/** It has what is on the disk. */
async function entryOf(directory: string, id: string, hasBytes: boolean): Promise<Entry | undefined> {
  const record = await readRecord(directory, id);
  if (!record) return undefined;
  const entry = new Entry(record);
  entry.hash = undefined;
  if (record.spent !== undefined) return entry;
  // What came in one request and was not answered was never heard of by anybody.
  const isUnheard = record.isOneShot && (record.completedAt === undefined || record.target === undefined);
  if (!hasBytes || isUnheard) return undefined;
  const path = bytesPath(directory, id);
  if (record.verifiedTo !== undefined) {
    await truncate(path, record.verifiedTo);
    delete record.verifiedTo;
  }
  const file = await open(path, "r+");
  // It may have been written and not be on the disk yet: what is told of it now is.
  await file.datasync().finally(() => file.close());
  entry.offset = (await stat(path)).size;
  entry.reserved = Math.max(entry.offset, record.length ?? 0);
  return entry;
}
