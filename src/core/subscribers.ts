/**
 * Readers of topics that are part of a service. Each has a cursor of its own in the store, moved on after
 * its handler has done its work: an event is handled at least once, in order, also after a restart.
 */
import { ANONYMOUS, type HandlerCall, type Subscriber, type Topic } from "../contract/index.ts";
import { type Cursor, decodeCursor, encodeCursor, type LogEvent, type Place, toFault } from "../log/index.ts";
import { type Context, findLog, topicLog } from "./context.ts";
import { publishFrom } from "./direct.ts";
import { pause } from "./util.ts";

/** Reads until `draining` aborts; a handler that works then may end its work until the server closes. */
export async function runSubscriber(
  context: Context,
  name: string,
  subscriber: Subscriber,
  topic: string,
  draining: AbortSignal,
): Promise<void> {
  const own = `subscribers/${name}`;
  while (!draining.aborted) {
    try {
      let from = await placeOf(context, own, subscriber, topic);
      for await (const page of context.store.read(topicLog(topic), { from, follow: true, signal: draining })) {
        if (page.verdict && page.verdict.verdict !== "recovered" && from !== "start") {
          context.logger.note("warn", "a subscriber missed events", {
            subscriber: name,
            verdict: page.verdict.verdict,
          });
        }
        from = page.cursor;
        for (const event of page.events) {
          if (draining.aborted || !(await handle(context, name, subscriber, event, draining))) return;
          await moveOn(context, own, event.cursor);
        }
      }
    } catch (thrown) {
      if (draining.aborted) return;
      context.logger.note("error", "a subscriber cannot read its topic", {
        subscriber: name,
        fault: toFault(thrown).message,
      });
      await pause(1000, draining);
    }
  }
}

async function placeOf(context: Context, own: string, subscriber: Subscriber, topic: string): Promise<Place> {
  const info = await findLog(context.store, own);
  if (info?.last) return JSON.parse(info.last.json) as Cursor;
  if (subscriber.options.from !== "now") return "start";
  const log = await findLog(context.store, topicLog(topic));
  if (!log) return "start";
  // Written down at once: a restart before the first event must not move it.
  await moveOn(context, own, log.head);
  return log.head;
}

async function moveOn(context: Context, own: string, cursor: Cursor): Promise<void> {
  const draft = { kind: "item", json: JSON.stringify(cursor) } as const;
  const appended = await context.store.append(own, [draft], { create: { kind: "subscriber" } });
  const { epoch, seq } = decodeCursor(appended.cursor);
  if (seq % 100 === 0) await context.store.trim(own, encodeCursor(epoch, seq - 1));
}

/** Until the handler has done its work, or the event is given up. False when the server goes before. */
async function handle(
  context: Context,
  name: string,
  subscriber: Subscriber,
  event: LogEvent,
  draining: AbortSignal,
): Promise<boolean> {
  const { maxAttempts = 5 } = subscriber.options;
  const { signal } = context.closing;
  for (let attempt = 1; attempt <= maxAttempts; attempt++) {
    const call: HandlerCall & { cursor: Cursor } = {
      id: undefined,
      method: name,
      principal: ANONYMOUS,
      attempt,
      signal,
      deadline: undefined,
      trace: undefined,
      cursor: event.cursor,
      progress() {},
      publish: (topic, data, options) => publishFrom(context, call, topic as unknown as Topic, data, options?.key),
      async *history() {},
    };
    const began = performance.now();
    try {
      // It was validated when it was published, and is kept as its schema made it.
      await subscriber.handler(JSON.parse(event.json), call);
      return true;
    } catch (thrown) {
      if (signal.aborted) return false;
      const fault = toFault(thrown);
      context.metrics.add("backtalk_subscriber_failures_total", `subscriber="${name}"`, 1);
      context.logger.call({
        at: context.now(),
        method: name,
        via: "topic",
        code: fault.code,
        ms: performance.now() - began,
        id: event.cursor,
        attempt,
        error: fault.cause ?? fault,
      });
      if (attempt < maxAttempts) {
        await pause(Math.min(30_000, 200 * 2 ** attempt * (0.5 + context.random() / 2)), draining);
        if (draining.aborted) return false;
      }
    }
  }
  context.logger.note("error", "a subscriber gave up an event", { subscriber: name, cursor: event.cursor });
  return true;
}
