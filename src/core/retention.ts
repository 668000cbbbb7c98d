/** Removes what has been kept for long enough: ended calls, and the oldest events of topics. */
import { type Cursor, decodeCursor, encodeCursor, type LogInfo, type Store } from "../log/index.ts";
import { type Context, callLog, findLog, inputLog, type TopicEntry, topicLog } from "./context.ts";
import { keepSnapshot } from "./fold.ts";
import { utf8Bytes } from "./util.ts";

const TOPIC = { events: 100_000, bytes: 64 * 1024 * 1024, ageMs: 24 * 3_600_000 };

export async function retain(context: Context): Promise<void> {
  for (const store of [context.store, context.volatile]) await removeEnded(context, store);
  for (const entry of context.topics.values()) await trimTopic(context, entry);
}

async function removeEnded(context: Context, store: Store): Promise<void> {
  const changedBefore = context.now() - context.retention.callMs;
  for (const state of ["end", "fail"] as const) {
    for (;;) {
      const { logs } = await store.list({ prefix: callLog(""), state, changedBefore, limit: 200 });
      for (const info of logs) {
        await remove(context, store, info);
        context.metrics.add("backtalk_trimmed_total", 'what="calls"', 1);
      }
      if (logs.length < 200) break;
    }
  }
}

async function remove(context: Context, store: Store, info: LogInfo): Promise<void> {
  const input = inputLog(info.log.slice(callLog("").length));
  // The items first: once the call's log is gone, a new call with its key may begin to take items.
  const kind = context.methods.get(info.labels["method"] ?? "")?.method.kind;
  const hasItems = kind !== "unary" && kind !== "serverStream";
  const items = hasItems ? await findLog(store, input) : undefined;
  if (items) await store.trim(input, "all");
  await store.trim(info.log, "all");
  context.usage.add(info.labels["owner"] ?? "", -info.bytes - (items?.bytes ?? 0));
}

async function trimTopic(context: Context, entry: TopicEntry): Promise<void> {
  const info = await findLog(context.store, topicLog(entry.name));
  if (!info) return;
  const before = await trimPoint(context, info, { ...TOPIC, ...entry.topic.options.retain });
  if (before === undefined) return;
  if (entry.topic.fold) await keepSnapshot(context.store, info.log, entry.topic.fold, before);
  await context.store.trim(info.log, before);
  const count = decodeCursor(before).seq - decodeCursor(info.first).seq;
  context.metrics.add("backtalk_trimmed_total", 'what="events"', count);
}

/** The cursor of the last event that has to go. */
async function trimPoint(context: Context, info: LogInfo, keep: typeof TOPIC): Promise<Cursor | undefined> {
  const { epoch, seq: first } = decodeCursor(info.first);
  const head = decodeCursor(info.head).seq;
  const byCount = Math.max(first, head - keep.events);
  let bytes = info.bytes;
  const oldest = context.now() - keep.ageMs;
  let from = info.first;
  for (;;) {
    let more = false;
    for await (const page of context.store.read(info.log, { from, follow: false })) {
      for (const event of page.events) {
        const { seq } = decodeCursor(event.cursor);
        const isOver = seq <= byCount || bytes > keep.bytes || event.at < oldest;
        if (!isOver) return seq - 1 > first ? encodeCursor(epoch, seq - 1) : undefined;
        bytes -= utf8Bytes(event.json);
      }
      from = page.cursor;
      more = page.more;
    }
    if (!more) return decodeCursor(from).seq > first ? from : undefined;
  }
}
