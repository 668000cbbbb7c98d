/** Which index each question uses: a scan of the catalog would be slow with many logs. */

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { LogQuery } from "../../log/index.ts";
import { statementFor } from "./list.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();
const PLANS: readonly [Omit<LogQuery, "limit">, RegExp, "sorted" | "in order"][] = [
  [{ prefix: "calls/" }, /SEARCH l USING INDEX logs_root \(root=\?\)/, "in order"],
  [{ prefix: "calls/", after: "5" }, /logs_root \(root=\? AND rowid[<>]\?\)/, "in order"],
  [{ prefix: "calls/", state: "open" }, /logs_state \(root=\? AND state=\?\)/, "in order"],
  [{ prefix: "calls/", labels: { owner: "me" } }, /SEARCH b USING PRIMARY KEY \(label=\? AND value=\?\)/, "in order"],
  [
    { prefix: "calls/", labels: { owner: "me" }, after: "5", state: "end" },
    /PRIMARY KEY \(label=\? AND value=\? AND log[<>]\?\)/,
    "in order",
  ],
  [{ prefix: "calls/", state: "end", changedBefore: 5 }, /logs_changed \(state=\? AND changed<\?\)/, "sorted"],
  [{ prefix: "", changedBefore: 5, after: "1" }, /logs_changed \(state=\? AND changed<\?\)/, "sorted"],
  [{ prefix: "calls/0a1b" }, /SEARCH l USING INDEX sqlite_autoindex_logs_1 \(name>\? AND name<\?\)/, "sorted"],
  [{ prefix: "" }, /SCAN l\b(?! USING INDEX)/, "in order"],
];

test("list uses the index that fits each question, and sorts only what is few", async () => {
  const path = join(folder, "plan.db");
  const store = await sqliteStore({ path });
  const db = new Database(path, { readonly: true });
  for (const newestFirst of [false, true]) {
    for (const [query, index, order] of PLANS) {
      const { sql, values } = statementFor({ ...query, limit: 10, newestFirst });
      const steps = db.prepare<{ detail: string }, (string | number)[]>(`explain query plan ${sql}`).all(...values);
      const plan = steps.map((step) => step.detail).join("\n");
      expect(plan).toMatch(index);
      if (order === "in order") expect(plan).not.toContain("TEMP B-TREE");
    }
  }
  db.close();
  await store.close();
});
