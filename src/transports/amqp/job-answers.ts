/** What a worker asks of the server while it runs a call: its history, and to publish events. */
import { type Cursor, Fault } from "../../log/index.ts";
import type { FromWorker, HistoryPage } from "./job-messages.ts";
import type { Holder, JobState } from "./job-state.ts";

type Question = FromWorker & { readonly do: "history" | "publish" };

/** @throws Fault of the topic, or of the store */
export async function answerTo(state: JobState, holder: Holder, message: Question): Promise<unknown> {
  if (message.do === "history") return historyOf(state, holder, message.after);
  const topic = state.connected.host.contract.topics.get(message.topic);
  if (!topic) throw new Fault("not_found", `the server has no topic ${message.topic}`);
  return state.call.publish(topic, message.event as never, { key: message.key });
}

/** What the runs before this one have said, a page of it. */
async function historyOf(state: JobState, holder: Holder, after: string | undefined): Promise<HistoryPage> {
  const { store } = state.connected;
  const events: { kind: "item" | "progress"; data: unknown }[] = [];
  if (holder.base === 0 && state.claims < 2) return { events };
  for await (const page of store.read(`calls/${state.id}`, { from: (after ?? "start") as Cursor, follow: false })) {
    for (const { kind, json, cursor } of page.events) {
      if (cursor > holder.head) return { events };
      if (kind === "item" || kind === "progress") events.push({ kind, data: JSON.parse(json) });
    }
    return { events, ...(page.more && { next: page.cursor }) };
  }
  return { events };
}
