/** A topic in use. */
import {
  type AppendedItems,
  type AppendItems,
  type Exchange,
  type Principal,
  type TopicState,
  validate,
  type Wait,
} from "../contract/index.ts";
import { type Cursor, type Draft, decodeCursor, encodeCursor, Fault, type Page, type ReadAt } from "../log/index.ts";
import { type Context, findLog, type TopicEntry, topicLog } from "./context.ts";
import { foldUpTo, readFolded } from "./fold.ts";
import { hold } from "./hold.ts";
import { checkKey } from "./open.ts";
import { canonical, isPromise, toJson } from "./util.ts";

export class TopicExchange implements Exchange {
  readonly id: string;
  readonly replayed = false;
  readonly #context: Context;
  readonly #entry: TopicEntry;
  readonly #principal: Principal;
  readonly #log: string;

  constructor(context: Context, entry: TopicEntry, principal: Principal) {
    this.#context = context;
    this.#entry = entry;
    this.#principal = principal;
    this.id = entry.name;
    this.#log = topicLog(entry.name);
  }

  async result(): Promise<unknown> {
    throw new Fault("failed_precondition", "a topic has no end, and so no result", { hint: "read its events" });
  }

  read(at: ReadAt): AsyncIterable<Page> {
    const { fold } = this.#entry.topic;
    return fold ? readFolded(this.#context.store, this.#log, fold, at) : this.#context.store.read(this.#log, at);
  }

  async state(wait?: Wait): Promise<TopicState> {
    let info = await this.#info();
    if (wait?.waitMs !== undefined && (!wait.after || wait.after === info.head)) {
      const waitMs = Math.min(wait.waitMs, this.#context.limits.waitMs);
      await hold(this.#context.store, info, { ...wait, waitMs }, (page) => page.events.length > 0);
      info = await this.#info();
    }
    const { fold } = this.#entry.topic;
    const folded = fold
      ? await foldUpTo(this.#context.store, this.#log, fold, info.head, this.#context.folds)
      : undefined;
    return {
      topic: this.id,
      first: info.first,
      cursor: folded?.cursor ?? info.head,
      events: info.events,
      bytes: info.bytes,
      ...(folded && { fold: folded.state }),
    };
  }

  async append(items: AppendItems): Promise<AppendedItems> {
    if (this.#entry.topic.options.open === false) {
      throw new Fault("permission_denied", `only the server publishes to the topic ${this.id}`);
    }
    return publish(this.#context, this.#entry, this.#principal, items);
  }

  async cancel(): Promise<void> {
    throw new Fault("failed_precondition", "a topic cannot be cancelled", { hint: "stop reading it" });
  }

  async #info() {
    const info = await findLog(this.#context.store, this.#log);
    if (!info) throw new Fault("unavailable", `the topic ${this.id} is not there yet`, { retryAfterMs: 100 });
    return info;
  }
}

export async function publish(
  context: Context,
  entry: TopicEntry,
  principal: Principal,
  append: AppendItems,
): Promise<AppendedItems> {
  const { topic } = entry;
  const { key } = append;
  if (key !== undefined) checkKey(key, context.limits.keyChars);
  if (append.end) throw new Fault("failed_precondition", "a topic has no end", { hint: "leave out `end`" });
  const log = topicLog(entry.name);
  const drafts: Draft[] = [];
  for (const item of append.items) {
    // Without a turn for nothing: what a caller publishes one after the other stays in its order.
    const valid = validate(topic.event, item, "event", `topics/${entry.name}`);
    const event = isPromise(valid) ? await valid : valid;
    drafts.push({ kind: "item", json: toJson(event, context.limits.itemBytes, "event") });
  }
  const { outcome, cursor } = await context.store.append(log, drafts, {
    create: { kind: "topic" },
    ...(key !== undefined && { key: JSON.stringify([principal.id, key]) }),
  });
  if (outcome === "duplicate") await checkSame(context, log, cursor, drafts);
  else context.metrics.add("backtalk_events_appended_total", "", drafts.length);
  return { next: 0, cursor, duplicate: outcome === "duplicate" };
}

/** A key that was used for another event is a mistake of the caller. @throws Fault `invalid_argument` */
async function checkSame(context: Context, log: string, cursor: Cursor, drafts: readonly Draft[]) {
  const { epoch, seq } = decodeCursor(cursor);
  let from = encodeCursor(epoch, Math.max(0, seq - drafts.length));
  for (let at = 0; at < drafts.length; ) {
    for await (const page of context.store.read(log, { from, follow: false })) {
      // Trimmed already: there is nothing to compare with.
      if (page.verdict?.verdict !== "recovered" || page.events.length === 0) return;
      for (const { json } of page.events.slice(0, drafts.length - at)) {
        if (!isSameJson(json, drafts[at++]!.json)) throw reusedKey();
      }
      from = page.cursor;
    }
  }
}

function isSameJson(a: string, b: string): boolean {
  return a === b || canonical(JSON.parse(a)) === canonical(JSON.parse(b));
}

function reusedKey(): Fault {
  return new Fault("invalid_argument", "this idempotency key was used with another event", {
    detail: { key: "reused" },
    hint: "use a new key for a new event",
  });
}
