import { join } from "node:path";
import { runStoreSuite } from "../../../suites/store/suite.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();
let count = 0;

for (const sync of ["full", "normal"] as const) {
  runStoreSuite(`sqlite store, ${sync}`, () => sqliteStore({ path: join(folder, `${sync}-${++count}.db`), sync }));
}
