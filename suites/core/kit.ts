/** What the tests of the core share. */
import { ANONYMOUS, type Call, type Exchange } from "../../src/contract/index.ts";
import { type AppendOptions, type Draft, Fault, type LogEvent, type Page, type Store } from "../../src/log/index.ts";
import { type AnyService, type Core, type CoreOptions, createCore, memoryStore } from "../../src/server.ts";

export const call = (to: string, rest: Partial<Call> = {}): Call => ({
  to,
  principal: ANONYMOUS,
  via: "memory",
  ...rest,
});

export async function started(services: AnyService, options: Partial<CoreOptions> = {}): Promise<Core> {
  const core = createCore(services, { store: memoryStore(), ...options });
  await core.start();
  return core;
}

export async function open(core: Core, to: string, rest: Partial<Call> = {}): Promise<Exchange> {
  return core.peer(call(to, rest));
}

export async function eventsOf(pages: AsyncIterable<Page>): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for await (const page of pages) events.push(...page.events);
  return events;
}

/** All events of the exchange's log, to its end. */
export function transcript(exchange: Exchange): Promise<LogEvent[]> {
  return eventsOf(exchange.read({ from: "start", follow: true }));
}

export const kinds = (events: readonly LogEvent[]) => events.map((event) => event.kind);

export async function faultOf(run: () => unknown): Promise<Fault> {
  try {
    await run();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("no fault came");
}

export async function until(condition: () => unknown): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Something that a test opens when it wants. */
export function latch(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Rejects with the signal's reason when it aborts: a handler that obeys. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** What happens to an append: nothing, a fault before it is stored, or one after (the answer was lost). */
export type Mishap = { readonly fault: Fault; readonly when: "before" | "after" } | undefined;

export const diskFull: Mishap = {
  fault: new Fault("resource_exhausted", "the disk is full", { limit: "disk" }),
  when: "before",
};
export const ackLost: Mishap = { fault: new Fault("unavailable", "the answer was lost"), when: "after" };

/** A store whose appends fail when a test says so. */
export class FaultyStore implements Store {
  readonly name = "faulty:";
  readonly durability = "as a test wants it";
  mishap: (log: string, drafts: readonly Draft[]) => Mishap = () => undefined;
  /** Awaited before each append. */
  slow: Promise<void> | undefined;
  readonly #store: Store;

  constructor(store: Store = memoryStore()) {
    this.#store = store;
  }

  async append(log: string, drafts: readonly Draft[], options?: AppendOptions) {
    if (this.slow) await this.slow;
    const mishap = this.mishap(log, drafts);
    if (mishap?.when === "before") throw mishap.fault;
    const appended = await this.#store.append(log, drafts, options);
    if (mishap) throw mishap.fault;
    return appended;
  }

  read: Store["read"] = (log, at) => this.#store.read(log, at);
  trim: Store["trim"] = (log, before) => this.#store.trim(log, before);
  list: Store["list"] = (query) => this.#store.list(query);
  close: Store["close"] = () => this.#store.close();
}

/** Counts the listeners for `abort` on all signals while a test runs. Call `stop` at its end. */
export function countListeners(): { readonly count: () => number; readonly stop: () => void } {
  const { addEventListener, removeEventListener } = AbortSignal.prototype;
  const seen = new Map<AbortSignal, Set<unknown>>();
  AbortSignal.prototype.addEventListener = function (this: AbortSignal, ...args: unknown[]) {
    const listeners = seen.get(this) ?? new Set();
    seen.set(this, listeners.add(args[1]));
    return Reflect.apply(addEventListener, this, args);
  } as typeof addEventListener;
  AbortSignal.prototype.removeEventListener = function (this: AbortSignal, ...args: unknown[]) {
    seen.get(this)?.delete(args[1]);
    return Reflect.apply(removeEventListener, this, args);
  } as typeof removeEventListener;
  return {
    // Those of a signal that has aborted were let go with `once`.
    count: () => [...seen].reduce((sum, [signal, listeners]) => sum + (signal.aborted ? 0 : listeners.size), 0),
    stop: () => Object.assign(AbortSignal.prototype, { addEventListener, removeEventListener }),
  };
}
