/**
 * A process for the tests to kill: opens the store at argv[2] and appends without end; each acknowledged
 * append is a line on stdout: log, cursor, JSON of its events.
 */
import type { Draft } from "../../log/index.ts";
import { sqliteStore } from "./store.ts";

const [path = "", round = "0", appenders = "8"] = process.argv.slice(2);
const store = await sqliteStore({ path });
process.stdout.write("ready\n");
await Promise.all(Array.from({ length: Number(appenders) }, (_, n) => run(n)));

async function run(n: number): Promise<never> {
  for (let i = 0; ; i++) {
    const log = `log/${(n + i) % 3}`;
    const drafts: Draft[] = Array.from({ length: 1 + (i % 3) }, (_, part) => ({
      kind: "item",
      json: JSON.stringify([round, n, i, part]),
    }));
    const { cursor } = await store.append(log, drafts, { create: {}, key: `${round} ${n} ${i}` });
    process.stdout.write(`${log} ${cursor} ${JSON.stringify(drafts.map((draft) => draft.json))}\n`);
  }
}
