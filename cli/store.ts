/** Names every store, and opens the one that was asked for. */
import { dirname, resolve } from "node:path";
import type { Store } from "../src/log/index.ts";
import { memoryStore } from "../src/stores/memory/store.ts";
import { sqliteStore } from "../src/stores/sqlite/store.ts";
import { UsageError } from "./exit.ts";
import { makeOwn } from "./own.ts";

export const DEFAULT_STORE = "sqlite:.backtalk/backtalk.sqlite";

/** `memory:` or `sqlite:PATH`. @throws UsageError; Fault when it cannot be opened */
export async function openStore(spec: string, sync: "full" | "normal"): Promise<Store> {
  const colon = spec.indexOf(":");
  const kind = colon < 0 ? spec : spec.slice(0, colon);
  const rest = colon < 0 ? "" : spec.slice(colon + 1);
  if (kind === "memory" && rest === "") return memoryStore();
  if (kind === "sqlite" && rest !== "") {
    const path = resolve(rest);
    makeOwn(dirname(path));
    return await sqliteStore({ path, sync });
  }
  throw new UsageError(
    `--store ${JSON.stringify(spec)} is not a store`,
    `give memory: or sqlite:PATH, such as ${DEFAULT_STORE}`,
  );
}
