/** A recorded call in use: its log, read and written through the store, wherever its handler runs. */
import type { AppendedItems, AppendItems, CallState, CallStateName, Exchange, Wait } from "../contract/index.ts";
import {
  Fault,
  type FaultJson,
  isEnd,
  type LogEvent,
  type LogInfo,
  type Page,
  type ReadAt,
  type Store,
} from "../log/index.ts";
import { type Context, callLog, type EndRecord, findLog, inputLog, type OpenRecord } from "./context.ts";
import { endFrom, endOf } from "./ending.ts";
import { foldUpTo, readFolded } from "./fold.ts";
import { hold } from "./hold.ts";
import { appendInput, receivedOf } from "./input.ts";
import { mapPages } from "./pages.ts";
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
    if (run) {
      const end = await orAborted(run.ended, signal);
      if (end === ABORTED) throw stoppedWaiting();
      if (!end) throw notHere();
      return resultOf(end);
    }
    const { last, head } = await this.#info();
    if (last && isEnd(last.kind)) return resultOf(endOf(last));
    // The events so far say nothing of the result: only what follows is read.
    const at = { from: head, follow: true, ...(signal && { signal }) };
    for await (const { events } of this.#store.read(callLog(this.id), at)) {
      const event = events.at(-1);
      if (event && isEnd(event.kind)) return resultOf(endOf(event));
    }
    throw stoppedWaiting();
  }

  read(at: ReadAt): AsyncIterable<Page> {
    const fold = this.#context.methods.get(this.#method)?.method.fold;
    const log = callLog(this.id);
    return mapPages(fold ? readFolded(this.#store, log, fold, at) : this.#store.read(log, at), publicPage);
  }

  async state(wait?: Wait): Promise<CallState> {
    let info = await this.#info();
    const isEnded = info.last !== undefined && isEnd(info.last.kind);
    if (wait?.waitMs !== undefined && !isEnded && (!wait.after || wait.after === info.head)) {
      const most = this.#context.limits.waitMs;
      // With a place until there is something after it, else until the end.
      const isNew = (page: Page) => page.ended || (wait.after !== undefined && page.events.length > 0);
      await this.#hold(info, { ...wait, waitMs: Math.min(wait.waitMs, most) }, isNew);
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
    const info = await this.#info();
    if (info.last && isEnd(info.last.kind)) return;
    await endFrom(this.#context, this.#store, info, new Fault("cancelled", "the call was cancelled"));
  }

  /** Until the call's log has something new, or, where the caller says how many items it knows of, the log of its items. */
  async #hold(info: LogInfo, wait: Wait, isNew: (page: Page) => boolean): Promise<void> {
    if (wait.after === undefined || wait.received === undefined) return hold(this.#store, info, wait, isNew);
    const inputs = await findLog(this.#store, inputLog(this.id));
    if (!inputs || (await receivedOf(this.#store, this.id))?.items !== wait.received) return;
    const first = new AbortController();
    const signal = wait.signal ? AbortSignal.any([wait.signal, first.signal]) : first.signal;
    const either = { ...wait, signal };
    const holds = [
      hold(this.#store, info, either, isNew),
      hold(this.#store, inputs, either, (page) => page.events.length > 0 || page.ended),
    ];
    await Promise.race(holds);
    first.abort();
    await Promise.all(holds);
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
    const folded = fold ? await foldUpTo(this.#store, info.log, fold, info.head, this.#context.folds) : undefined;
    return {
      ...state,
      ...(received && { received: { items: received.items, ended: received.ended } }),
      ...(folded && { cursor: folded.cursor, fold: folded.state }),
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
  if (!last || !isEnd(last.kind)) return { ...base, state: "running" };
  const endedAt = last.at;
  const { attempt = 1, ...data } = JSON.parse(last.json) as { result?: unknown; attempt?: number };
  const ended = { ...base, attempt, endedAt, expiresAt: endedAt + context.retention.callMs };
  if (last.kind === "end") return { ...ended, state: "done", ...("result" in data && { result: data.result }) };
  const fault = data as unknown as FaultJson;
  const state: CallStateName = fault.code === "cancelled" ? "cancelled" : "failed";
  return { ...ended, state, fault };
}

/** Hides from readers what `open` keeps for the server: the input, the owner, the fingerprint. */
function publicPage(page: Page): Page {
  if (!page.events.some((event) => event.kind === "open")) return page;
  return { ...page, events: page.events.map((event) => (event.kind === "open" ? publicOpen(event) : event)) };
}

function publicOpen(event: LogEvent): LogEvent {
  const { id, method, attempt } = JSON.parse(event.json) as OpenRecord;
  return { ...event, json: JSON.stringify({ id, method, attempt }) };
}

function resultOf(end: EndRecord): unknown {
  if (end.kind === "fail") throw end.fault;
  return end.value;
}

const ABORTED = Symbol("aborted");

/** Leaves nothing behind at the signal, which can outlive many calls. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T | typeof ABORTED> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const unhook = onAbort(signal, () => resolve(ABORTED));
    promise.finally(unhook).then(resolve, reject);
  });
}

function stoppedWaiting(): Fault {
  return new Fault("cancelled", "the caller stopped waiting; the call goes on", {
    hint: "come back with the call's id",
    retryable: true,
  });
}

function notHere(): Fault {
  return new Fault("unavailable", "the server goes, and the call is left to the next one", {
    hint: "come back with the call's id or its key",
    retryAfterMs: 1000,
  });
}

export function noSuchCall(id: string): Fault {
  return new Fault("not_found", `there is no call ${id.slice(0, 64)}`, {
    hint: "it never was, its time of retention is over, or it is somebody else's",
  });
}
