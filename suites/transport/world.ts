/** A server and its clients, made for one case. */
import {
  ANONYMOUS,
  type AppendedItems,
  type Call,
  type CallState,
  type Exchange,
  type Host,
  type Peer,
} from "../../src/contract/index.ts";
import {
  type Code,
  type Cursor,
  Fault,
  type LogEvent,
  type Page,
  type Place,
  type Store,
  type Verdict,
} from "../../src/log/index.ts";
import { type Core, type CoreOptions, createCore, memoryStore } from "../../src/server.ts";
import { Control, suiteService } from "./service.ts";
import { type WatchedStore, watched } from "./store.ts";

/** One transport, both halves. */
export interface Link {
  /** A reader asks again and again, and so is never told that the server goes. */
  readonly isPolled?: boolean;
  /** Serves this host; again at the same address as before, when it was stopped. */
  serve(host: Host): Promise<void>;
  /** A client of its own, with its own connections, that stays good through restarts. `user` is its token. */
  peer(user?: string): Peer;
  /** Ends the server and its connections. */
  stop(): Promise<void>;
}

export interface WorldOptions extends Partial<Omit<CoreOptions, "store">> {
  /** The token of a caller is its principal; `bad` is refused. Otherwise everybody is anonymous. */
  readonly users?: boolean;
}

export class World {
  readonly control = new Control();
  readonly store: WatchedStore = watched(memoryStore());
  readonly #link: Link;
  readonly #options: WorldOptions;
  #core: Core | undefined;
  #peer: Peer | undefined;

  constructor(link: Link, options: WorldOptions = {}) {
    this.#link = link;
    this.#options = options;
  }

  get core(): Core {
    return this.#core!;
  }

  async start(): Promise<this> {
    const { users, ...options } = this.#options;
    this.#core = createCore(suiteService(this.control), {
      drainMs: 0,
      ...(users && { authenticate: userOf }),
      ...options,
      store: this.store,
    });
    await this.#core.start();
    await this.#link.serve(this.#core);
    return this;
  }

  /** Ends the server as a deploy does, and starts another one on the same store. */
  async restart(): Promise<void> {
    await this.core.drain();
    await this.#link.stop();
    await this.start();
  }

  async close(): Promise<void> {
    await this.core.close();
    await this.#link.stop();
    await this.store.close();
  }

  get isPolled(): boolean {
    return this.#link.isPolled === true;
  }

  /** Ends the listener and its connections; the core goes on. */
  async unplug(): Promise<void> {
    await this.#link.stop();
  }

  /** Another client. */
  peer(user?: string): Peer {
    return this.#link.peer(user);
  }

  /** The first client. */
  async open(to: string, rest: Partial<Call> = {}): Promise<Exchange> {
    this.#peer ??= this.#link.peer();
    return open(this.#peer, to, rest);
  }

  async result(to: string, input?: unknown, rest: Partial<Call> = {}): Promise<unknown> {
    const exchange = await this.open(to, { ...(input !== undefined && { input }), ...rest });
    return exchange.result();
  }

  /** A recorded call of `t/stream`, and the source of its items. */
  async stream(name: string, method = "t/stream") {
    const exchange = await this.open(method, { input: { source: name }, keep: true });
    return { exchange, id: exchange.id!, source: this.control.source(name) };
  }
}

const userOf: NonNullable<CoreOptions["authenticate"]> = ({ bearer }) => {
  if (bearer === "bad") throw new Fault("unauthenticated", "the token is not valid");
  return bearer === undefined ? ANONYMOUS : { id: bearer };
};

export async function open(peer: Peer, to: string, rest: Partial<Call> = {}): Promise<Exchange> {
  return peer({ to, principal: ANONYMOUS, via: "suite", ...rest });
}

// --- reading ---

export interface Reading {
  readonly verdict: Verdict;
  readonly events: LogEvent[];
  readonly cursor: Cursor;
  readonly ended: boolean;
}

/** Follows until the log ends, `isEnough`, or a fault. */
export async function read(
  exchange: Exchange,
  from: Place = "start",
  isEnough: (events: readonly LogEvent[]) => boolean = () => false,
): Promise<Reading> {
  const events: LogEvent[] = [];
  let verdict: Verdict | undefined;
  let cursor: Cursor | undefined;
  const abort = new AbortController();
  for await (const page of exchange.read({ from, follow: true, signal: abort.signal })) {
    verdict ??= page.verdict;
    events.push(...page.events);
    cursor = page.cursor;
    if (page.ended || isEnough(events)) {
      abort.abort();
      return { verdict: verdict!, events, cursor, ended: page.ended };
    }
  }
  throw new Error(`the reading stopped without an end, after ${events.length} events`);
}

/** One page, without following. */
export async function page(exchange: Exchange, from: Place = "start"): Promise<Page> {
  for await (const each of exchange.read({ from, follow: false })) return each;
  throw new Error("a reading without a page");
}

/** Reads to the end through any number of breaks, like a client does: again from the last cursor. */
export async function readThrough(
  peerOf: () => Peer,
  to: string,
  from: Place = "start",
  isEnough: (events: readonly LogEvent[]) => boolean = () => false,
): Promise<{ events: LogEvent[]; verdicts: Verdict["verdict"][]; breaks: number }> {
  const events: LogEvent[] = [];
  const verdicts: Verdict["verdict"][] = [];
  let place = from;
  for (let breaks = 0; ; breaks++) {
    try {
      for await (const each of (await open(peerOf(), to)).read({ from: place, follow: true })) {
        if (each.verdict) verdicts.push(each.verdict.verdict);
        events.push(...each.events);
        place = each.cursor;
        if (each.ended || isEnough(events)) return { events, verdicts, breaks };
      }
    } catch (thrown) {
      if (!(thrown instanceof Fault) || !thrown.retryable) throw thrown;
    }
    if (breaks > 2000) throw new Error("more than 2,000 breaks");
    await tick();
  }
}

export function items(events: readonly LogEvent[]): unknown[] {
  return events.filter((event) => event.kind === "item").map((event) => JSON.parse(event.json));
}

export function kinds(events: readonly LogEvent[]): string[] {
  return events.map((event) => event.kind);
}

/** What every transport must agree on; the time of an event is not sent by all of them. */
export function transcript(events: readonly LogEvent[]): string[] {
  return events.map(({ cursor, kind, json }) => `${cursor} ${kind} ${JSON.stringify(JSON.parse(json))}`);
}

export async function state(exchange: Exchange, ...args: Parameters<Exchange["state"]>): Promise<CallState> {
  return (await exchange.state(...args)) as CallState;
}

export function publish(exchange: Exchange, event: unknown, key?: string): Promise<AppendedItems> {
  return exchange.append({ items: [event], ...(key !== undefined && { key }) });
}

// --- faults and conditions ---

/** The fault that something fails with; anything else fails the case. */
export async function faultOf(run: () => unknown, code?: Code): Promise<Fault> {
  let result: unknown;
  try {
    result = await run();
  } catch (thrown) {
    if (thrown instanceof Fault && (code === undefined || thrown.code === code)) return thrown;
    throw thrown;
  }
  throw new Error(`no fault ${code ?? ""} but ${JSON.stringify(result)}`);
}

/** Waits for a condition; the timeout of the test is the limit. */
export async function until(condition: () => unknown, what = "a condition", everyMs = 2): Promise<void> {
  const limit = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`waited 30 s in vain for ${what}`);
    await tick(everyMs);
  }
}

export function tick(ms = 2): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export type { Store };
