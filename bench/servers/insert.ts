/** The bare insert of the rows of recorded calls, many calls in one transaction: what SQLite and the disk can do. */
import { Database } from "bun:sqlite";
import { prepareSchema } from "../../src/stores/sqlite/schema.ts";
import { options } from "../peers/shared.mjs";

const { path, batch, seconds } = options<{ path: string; batch: number; seconds: number }>();
const db = new Database(path, { create: true });
prepareSchema(db, path);
db.run("pragma journal_mode = wal");
db.run("pragma synchronous = full");
const log = db.prepare<unknown, [string, number, number]>(
  `insert into logs(name, root, epoch, labels, created, changed, first, head, total, freed, state, progress)
   values(?, 'calls/', '01234567', '{"owner":"","method":"bench/isPrime"}', ?, ?, 0, 2, 100, 0, 1, 0)`,
);
const label = db.prepare<unknown, [string, string, number]>("insert into labels values(?, ?, ?)");
const event = db.prepare<unknown, [number, number, number, number, number, string]>(
  "insert into events values(?, ?, ?, ?, ?, ?)",
);
const end = '{"result":{"prime":true}}';

let calls = 0;
const insert = db.transaction(() => {
  const now = Date.now();
  for (let i = 0; i < batch; i++) {
    const id = `c${(calls++).toString(36).padStart(26, "0")}`;
    const open = `{"id":"${id}","method":"bench/isPrime","attempt":1,"input":{"n":97},"key":"${id.slice(0, 20)}"}`;
    const row = Number(log.run(`calls/${id}`, now, now).lastInsertRowid);
    label.run("owner", "", row);
    label.run("method", "bench/isPrime", row);
    event.run(row, 1, 0, now, open.length, open);
    event.run(row, 2, 3, now, open.length + end.length, end);
  }
});
const began = performance.now();
const used = process.cpuUsage();
while (performance.now() - began < seconds * 1000) insert();
const { user, system } = process.cpuUsage(used);
const perSecond = (calls / (performance.now() - began)) * 1000;
console.log(JSON.stringify({ perSecond, cpu: (user + system) / calls }));
