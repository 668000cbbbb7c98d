/** `jobs/ID`: what of a call's job must outlive the process. It is removed when the call has ended. */
import { type Cursor, toFault } from "../../log/index.ts";
import type { JobState } from "./job-state.ts";

type JobRecord =
  | { readonly token: string }
  | { readonly published: string }
  | { readonly claim: string; readonly queue: string; readonly base: number; readonly head: Cursor };

function logOf({ id }: JobState): string {
  return `jobs/${id}`;
}

export async function record(state: JobState, what: JobRecord): Promise<void> {
  const draft = { kind: "item", json: JSON.stringify(what) } as const;
  // Only the first makes the log: one that comes after the end must not bring it back.
  const options = "token" in what ? { create: { kind: "job" } } : {};
  await state.connected.store.append(logOf(state), [draft], options);
}

/** What an earlier process knew, into the state; the token of the copy that is known to be published. */
export async function recall(state: JobState): Promise<{ readonly published: string | undefined }> {
  let published: string | undefined;
  let from: Cursor | "start" = "start";
  if (state.call.attempt === 1) return { published };
  const { store } = state.connected;
  for (let more = true; more; ) {
    more = false;
    try {
      for await (const page of store.read(logOf(state), { from, follow: false })) {
        for (const { json } of page.events) {
          const what = JSON.parse(json) as JobRecord;
          if ("token" in what) state.token = what.token;
          else if ("published" in what) published = what.published;
          else {
            state.claims++;
            state.holder = { run: what.claim, queue: what.queue, base: what.base, head: what.head, next: 0 };
          }
        }
        from = page.cursor;
        more = page.more;
      }
    } catch (thrown) {
      if (toFault(thrown).code !== "not_found") throw thrown;
    }
  }
  return { published };
}

export async function forget(state: JobState): Promise<void> {
  await state.connected.store.trim(logOf(state), "all").catch(() => {});
}
