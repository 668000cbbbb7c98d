/** A recorded call in use: its log, read and written through the store, wherever its handler runs. */
import type { AppendedItems, AppendItems, CallState, CallStateName, Exchange, Wait } from "../contract/index.ts";
import {
  type Cursor,
  Fault,
  type FaultJson,
  faultFromJson,
  type LogEvent,
  type LogInfo,
  type Page,
  type ReadAt,
  type Store,
} from "../log/index.ts";
import { type Context, callLog, findLog, type OpenRecord } from "./context.ts";
import { foldUpTo, readFolded } from "./fold.ts";
import { appendInput, receivedOf } from "./input.ts";
import { onAbort } from "./util.ts";

export class Kept implements Exchange {
  readonly id: string;
  readonly replayed: boolean;
  readonly #context: Context;
  readonly #store: Store;
  readonly #method: string;

  constructor(context: Context, store: Store, id: string, method: string, replayed: boolean) {
    this.#context = context;
    this.#store = store;
    this.id = id;
    this.#method = method;
    this.replayed = replayed;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    const run = this.#context.runs.get(this.id);
    if (run && !signal) {
      const end = await run.ended;
      if (end.kind === "fail") throw end.fault;
      return end.value;
    }
    const { last, head } = await this.#info();
    if (last && isEndEvent(last)) return outcomeOf(last);
    // The events so far say nothing of the result: only what follows is read.
    for await (const page of this.#store.read(callLog(this.id), {
      from: head,
      follow: true,
      ...(signal && { signal }),
    })) {
      const event = page.events.at(-1);
      if (event && isEndEvent(event)) return outcomeOf(event);
    }
    throw new Fault("cancelled", "the caller stopped waiting; the call goes on", {
      hint: "come back with the call's id",
      retryable: true,
    });
  }

  read(at: ReadAt): AsyncIterable<Page> {
    const fold = this.#context.methods.get(this.#method)?.method.fold;
    const pages = fold ? readFolded(this.#store, callLog(this.id), fold, at) : this.#store.read(callLog(this.id), at);
    return publicPages(pages);
  }

  async state(wait?: Wait): Promise<CallState> {
    let info = await this.#info();
    if (
      wait?.waitMs !== undefined &&
      !(info.last && isEndEvent(info.last)) &&
      (!wait.after || wait.after === info.head)
    ) {
      await this.#hold(info.head, wait);
      info = await this.#info();
    }
    return this.#stateOf(info);
  }

  async append(items: AppendItems): Promise<AppendedItems> {
    const entry = this.#context.methods.get(this.#method);
    const kind = entry?.method.kind;
    if (!entry || (kind !== "clientStream" && kind !== "bidi")) {
      throw new Fault("failed_precondition", `${this.#method} takes no items: its input came with the call`);
    }
    return appendInput(this.#context, this.#store, this.id, entry.method, items);
  }

  async cancel(): Promise<void> {
    const run = this.#context.runs.get(this.id);
    if (run) return run.cancel();
    const fault = new Fault("cancelled", "the call was cancelled");
    await this.#store.append(callLog(this.id), [{ kind: "fail", json: JSON.stringify(fault) }]);
  }

  /** Waits until there is something after `head`: anything, or without `after` the end. */
  async #hold(head: Cursor, wait: Wait): Promise<void> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), wait.waitMs);
    const unhook = wait.signal ? onAbort(wait.signal, () => controller.abort()) : undefined;
    try {
      const reading = this.#store.read(callLog(this.id), { from: head, follow: true, signal: controller.signal });
      for await (const page of reading) {
        if (page.ended || (wait.after && page.events.length > 0)) return;
      }
    } finally {
      clearTimeout(timer);
      unhook?.();
    }
  }

  async #info(): Promise<LogInfo> {
    const info = await findLog(this.#store, callLog(this.id));
    if (!info) throw noSuchCall(this.id);
    return info;
  }

  async #stateOf(info: LogInfo): Promise<CallState> {
    const entry = this.#context.methods.get(this.#method);
    const state = await stateOf(this.#context, info);
    const kind = entry?.method.kind;
    const received = kind === "clientStream" || kind === "bidi" ? await receivedOf(this.#store, this.id) : undefined;
    const fold = entry?.method.fold;
    const folded = fold ? await foldUpTo(this.#store, callLog(this.id), fold, info.head) : undefined;
    return {
      ...state,
      ...(received && { received: { items: received.items, ended: received.ended } }),
      ...(folded && { fold: folded.state }),
    };
  }
}

export async function stateOf(context: Context, info: LogInfo): Promise<CallState> {
  const id = info.log.slice(callLog("").length);
  const { last, progress } = info;
  const run = context.runs.get(id);
  const base = {
    id,
    method: info.labels["method"] ?? "",
    attempt: run?.attempt ?? 1,
    openedAt: info.createdAt,
    cursor: info.head,
    ...(progress && { progress: JSON.parse(progress.json) as unknown }),
  };
  if (!last || !isEndEvent(last)) return { ...base, state: "running" };
  const endedAt = last.at;
  const { attempt = 1, ...data } = JSON.parse(last.json) as { result?: unknown; attempt?: number };
  const ended = { ...base, attempt, endedAt, expiresAt: endedAt + context.retention.callMs };
  if (last.kind === "end") return { ...ended, state: "done", ...("result" in data && { result: data.result }) };
  const fault = data as unknown as FaultJson;
  const state: CallStateName = fault.code === "cancelled" ? "cancelled" : "failed";
  return { ...ended, state, fault };
}

/** Hides from readers what `open` keeps for the server: the input, the owner, the fingerprint. */
async function* publicPages(pages: AsyncIterable<Page>): AsyncGenerator<Page> {
  for await (const page of pages) {
    if (!page.events.some((event) => event.kind === "open")) yield page;
    else yield { ...page, events: page.events.map((event) => (event.kind === "open" ? publicOpen(event) : event)) };
  }
}

function publicOpen(event: LogEvent): LogEvent {
  const { id, method, attempt } = JSON.parse(event.json) as OpenRecord;
  return { ...event, json: JSON.stringify({ id, method, attempt }) };
}

export function isEndEvent(event: LogEvent): boolean {
  return event.kind === "end" || event.kind === "fail";
}

function outcomeOf(event: LogEvent): unknown {
  const data = JSON.parse(event.json) as { result?: unknown };
  if (event.kind === "fail") throw faultFromJson(data);
  return data.result;
}

export function noSuchCall(id: string): Fault {
  return new Fault("not_found", `there is no call ${id.slice(0, 64)}`, {
    hint: "it never was, its time of retention is over, or it is somebody else's",
  });
}
