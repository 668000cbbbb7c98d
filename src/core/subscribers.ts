/**
 * Readers of topics that are part of a service. Each has a cursor of its own in the store, moved on after
 * its handler has done its work: an event is handled at least once, in order, also after a restart.
 */
import { ANONYMOUS, type HandlerCall, type Subscriber, type Topic, validate } from "../contract/index.ts";
import { type Cursor, decodeCursor, encodeCursor, Fault, type LogEvent, toFault } from "../log/index.ts";
import { type Context, findLog, topicLog } from "./context.ts";
import { publishFrom } from "./direct.ts";

export async function runSubscriber(
  context: Context,
  name: string,
  subscriber: Subscriber,
  signal: AbortSignal,
): Promise<void> {
  const topic = context.topicNames.get(subscriber.topic);
  if (topic === undefined) {
    throw new Fault("failed_precondition", `the subscriber ${name} reads a topic that is not served here`, {
      hint: "make the topic a member of a service of this server",
    });
  }
  const own = `subscribers/${name}`;
  while (!signal.aborted) {
    try {
      const from = await placeOf(context, own, subscriber);
      for await (const page of context.store.read(topicLog(topic), { from, follow: true, signal })) {
        if (page.verdict && page.verdict.verdict !== "recovered" && from !== "start") {
          context.logger.note("warn", "a subscriber missed events", {
            subscriber: name,
            verdict: page.verdict.verdict,
          });
        }
        for (const event of page.events) {
          if (signal.aborted) return;
          await handle(context, name, subscriber, event, signal);
          if (signal.aborted) return;
          await moveOn(context, own, event.cursor);
        }
      }
    } catch (thrown) {
      if (signal.aborted) return;
      context.logger.note("error", "a subscriber cannot read its topic", {
        subscriber: name,
        fault: toFault(thrown).message,
      });
      await pause(1000, signal);
    }
  }
}

async function placeOf(context: Context, own: string, subscriber: Subscriber): Promise<Cursor | "start" | "now"> {
  const info = await findLog(context.store, own);
  if (info?.last) return JSON.parse(info.last.json) as Cursor;
  const topic = await findLog(context.store, topicLog(context.topicNames.get(subscriber.topic)!));
  if (subscriber.options.from === "now" && topic) {
    // Written down at once: a restart before the first event must not move it.
    await moveOn(context, own, topic.head);
    return topic.head;
  }
  return "start";
}

async function moveOn(context: Context, own: string, cursor: Cursor): Promise<void> {
  const draft = { kind: "item", json: JSON.stringify(cursor) } as const;
  const appended = await context.store.append(own, [draft], { create: { kind: "subscriber" } });
  const { epoch, seq } = decodeCursor(appended.cursor);
  if (seq % 100 === 0) await context.store.trim(own, encodeCursor(epoch, seq - 1));
}

async function handle(
  context: Context,
  name: string,
  subscriber: Subscriber,
  event: LogEvent,
  signal: AbortSignal,
): Promise<void> {
  const { maxAttempts = 5 } = subscriber.options;
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
      await subscriber.handler(await validate(subscriber.topic.event, JSON.parse(event.json), "event"), call);
      return;
    } catch (thrown) {
      if (signal.aborted) return;
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
      if (attempt < maxAttempts)
        await pause(Math.min(30_000, 200 * 2 ** attempt * (0.5 + context.random() / 2)), signal);
    }
  }
  context.logger.note("error", "a subscriber gave up an event", { subscriber: name, cursor: event.cursor });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
