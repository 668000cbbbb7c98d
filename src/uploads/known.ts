/** What is known of an upload that was used, as long as its call is kept. */
import { CALLS, type Principal } from "../contract/index.ts";
import { toFault } from "../log/index.ts";
import type { Serving } from "./ask.ts";
import type { Entry } from "./entry.ts";

/**
 * The caller's own upload. One whose bytes were used by a call that is no longer kept has nothing left to tell, and its
 * key is free again, as that of the call is: it is removed, and is not there.
 */
export async function known({ host, uploads }: Serving, id: string, principal: Principal): Promise<Entry | undefined> {
  const entry = uploads.get(id, principal.id);
  const { call, spent } = entry?.record ?? {};
  if (!entry || call === undefined || spent === undefined) return entry;
  try {
    await host.peer({ to: CALLS + call, principal, counted: true, via: "uploads" });
  } catch (thrown) {
    if (toFault(thrown).code !== "not_found") return entry;
    await uploads.remove(entry);
    return undefined;
  }
  return entry;
}
