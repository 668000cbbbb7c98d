/** The caller's side of a streaming call: a log of its own, to which the caller appends numbered items. */
import { type AppendedItems, type AppendItems, type Method, validate } from "../contract/index.ts";
import { type Cursor, type Draft, decodeCursor, encodeCursor, Fault, type Store } from "../log/index.ts";
import { type Context, findLog, inputLog } from "./context.ts";
import { after, canonical, isPromise, toJson, utf8Bytes } from "./util.ts";

export interface Received {
  /** How many items have arrived. */
  readonly items: number;
  readonly ended: boolean;
  readonly head: Cursor;
  readonly bytes: number;
  readonly owner: string;
}

export async function receivedOf(store: Store, id: string): Promise<Received | undefined> {
  const info = await findLog(store, inputLog(id));
  if (!info) return undefined;
  const ended = info.last?.kind === "end" || info.last?.kind === "fail";
  const { seq } = decodeCursor(info.head);
  const { head, bytes, labels } = info;
  return { items: ended ? seq - 1 : seq, ended, head, bytes, owner: labels["owner"] ?? "" };
}

/**
 * Appends items with the number of the first; those that have arrived before are skipped, so that a cut
 * upload can be sent again from anywhere. All of them are validated before one is stored.
 */
export async function appendInput(
  context: Context,
  store: Store,
  id: string,
  method: Method,
  append: AppendItems,
): Promise<AppendedItems> {
  if (append.seq !== undefined && !(Number.isSafeInteger(append.seq) && append.seq >= 0)) {
    throw new Fault("invalid_argument", "the number of an item is a whole number from 0", {
      fields: [{ path: "seq", message: "must be a whole number from 0" }],
    });
  }
  const jsons: string[] = [];
  for (const item of append.items) {
    // The item is kept as it was sent: the schema may transform it, and does so when the handler reads it.
    const valid = validate(method.input, item, "input");
    if (isPromise(valid)) await valid;
    jsons.push(toJson(item, context.limits.itemBytes, "item"));
  }
  for (;;) {
    const received = await receivedOf(store, id);
    if (!received) throw new Fault("not_found", "the call takes no items any more");
    const seq = append.seq ?? received.items;
    if (seq > received.items) {
      throw new Fault("aborted", `item ${seq} came, but item ${received.items} is the next`, {
        detail: { next: received.items },
        hint: "send the items again from the number in detail.next",
      });
    }
    const known = Math.min(received.items - seq, jsons.length);
    if (known > 0) await compare(store, id, received.head, seq, jsons.slice(0, known));
    const drafts: Draft[] = jsons.slice(known).map((json) => ({ kind: "item", json }));
    if (received.ended) {
      if (drafts.length > 0) {
        throw new Fault("failed_precondition", "the stream of items has been ended", {
          detail: { next: received.items },
        });
      }
      return { next: received.items, cursor: received.head, duplicate: known > 0 };
    }
    if (append.end) drafts.push({ kind: "end", json: "{}" });
    if (drafts.length === 0) return { next: received.items, cursor: received.head, duplicate: known > 0 };
    const bytes = roomFor(context, received, drafts);
    const { outcome, cursor } = await store.append(inputLog(id), drafts, { after: received.head });
    // Another connection of the caller was faster: look again what has arrived.
    if (outcome !== "appended") continue;
    context.usage.add(received.owner, bytes);
    context.metrics.add("backtalk_events_appended_total", "", drafts.length);
    return { next: received.items + jsons.length - known, cursor, duplicate: false };
  }
}

/** How many bytes these are. @throws Fault `resource_exhausted` when the call or its caller may not keep so many */
function roomFor(context: Context, received: Received, drafts: readonly Draft[]): number {
  let bytes = 0;
  for (const { json } of drafts) bytes += utf8Bytes(json);
  const most = context.limits.callBytes;
  if (received.bytes + bytes > most) {
    throw new Fault("resource_exhausted", `the items of the call have more than ${most} bytes`, {
      limit: "callBytes",
      retryable: false,
      hint: "send less in one call, or raise the limit callBytes of the server",
    });
  }
  // The end of the items takes no room to speak of, and must not be refused.
  if (drafts.some(({ kind }) => kind === "item")) context.usage.check(received.owner);
  return bytes;
}

/** Items that are sent again must be what was sent before. @throws Fault `invalid_argument` */
async function compare(store: Store, id: string, head: Cursor, seq: number, jsons: readonly string[]): Promise<void> {
  const { epoch } = decodeCursor(head);
  let at = 0;
  while (at < jsons.length) {
    const from = encodeCursor(epoch, seq + at);
    for await (const page of store.read(inputLog(id), { from, follow: false })) {
      if (page.verdict?.verdict !== "recovered" || page.events.length === 0) return;
      for (const { json } of page.events) {
        if (at >= jsons.length) return;
        const sent = jsons[at]!;
        if (json !== sent && canonical(JSON.parse(json)) !== canonical(JSON.parse(sent))) {
          throw new Fault("invalid_argument", `item ${seq + at} is not the one that was sent before`, {
            detail: { key: "reused", item: seq + at },
            hint: "use another key for another call; items keep their numbers",
          });
        }
        at++;
      }
    }
  }
}

/** What the handler reads: every item from the first, also when it is started again. */
export async function* itemsOf(
  context: Context,
  store: Store,
  id: string,
  method: Method,
  signal: AbortSignal,
): AsyncGenerator<unknown> {
  const { inputIdleMs } = context.retention;
  const idle = new AbortController();
  const both = AbortSignal.any([signal, idle.signal]);
  const restart = () => after(inputIdleMs, () => idle.abort());
  let untime = restart();
  try {
    for await (const page of store.read(inputLog(id), { from: "start", follow: true, signal: both })) {
      for (const { kind, json } of page.events) {
        if (kind !== "item") continue;
        untime();
        // The rest of a page must not reach a handler whose call is over.
        if (signal.aborted) throw signal.reason;
        yield await validate(method.input, JSON.parse(json), "input");
        untime = restart();
      }
      if (page.ended && !signal.aborted) return;
    }
  } finally {
    untime();
  }
  if (signal.aborted) throw signal.reason;
  throw new Fault("deadline_exceeded", `no item came for ${inputIdleMs} ms`, { limit: "inputIdleMs" });
}
