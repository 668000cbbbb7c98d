/** Contract + handlers + store = a peer. */
import {
  CALLS,
  type Call,
  type Contract,
  type Exchange,
  type Host,
  LIMITS,
  type Member,
  type Method,
  type Principal,
  type Service,
  type Subscriber,
  TIMING,
  TOPICS,
  type Topic,
} from "../contract/index.ts";
import { Fault, type Store } from "../log/index.ts";
import { ANYBODY } from "./auth.ts";
import { callsMethod } from "./builtin.ts";
import { type Context, callLog, type Entry, findLog, storeOf, type TopicEntry, topicLog } from "./context.ts";
import { Gate } from "./gate.ts";
import { Kept, noSuchCall } from "./kept.ts";
import { CoreMetrics } from "./metrics.ts";
import { open } from "./open.ts";
import { type CoreOptions, RETENTION, SILENT } from "./options.ts";
import { recover } from "./recovery.ts";
import { retain } from "./retention.ts";
import { restartFault } from "./run.ts";
import { runSubscriber } from "./subscribers.ts";
import { publish, TopicExchange } from "./topic.ts";
import { Usage } from "./usage.ts";
import { closest } from "./util.ts";

export interface Core extends Host {
  /** Takes up what an earlier process left, and begins to accept calls. */
  start(): Promise<{ readonly retried: number; readonly failed: number }>;
  /** Accepts nothing new, lets running calls finish for `drainMs`, and hands over or ends the rest. */
  drain(): Promise<void>;
  /** Ends everything at once. The store stays open: it is the caller's. */
  close(): Promise<void>;
}

export interface CoreParts extends CoreOptions {
  /** For methods with `recorded: "never"`: a store in memory. */
  readonly volatile: Store;
}

// biome-ignore lint/suspicious/noExplicitAny: services of all types
export type AnyService = Service<string, any>;

export function createCore(services: AnyService | readonly AnyService[], options: CoreParts): Core {
  return new BacktalkCore(Array.isArray(services) ? services : [services as AnyService], options);
}

type Status = "new" | "starting" | "ready" | "draining" | "closed";

class BacktalkCore implements Core {
  readonly contract: Contract;
  readonly limits;
  readonly timing;
  readonly authenticate;
  readonly anonymous: boolean;
  readonly metrics = new CoreMetrics();
  readonly random: () => number;
  readonly now: () => number;
  readonly #context: Context;
  readonly #subscribers = new Map<string, Subscriber>();
  readonly #drainMs: number;
  readonly #draining = new AbortController();
  #retaining: ReturnType<typeof setInterval> | undefined;
  #working: Promise<unknown> = Promise.resolve();
  #status: Status = "new";

  constructor(services: readonly AnyService[], options: CoreParts) {
    this.limits = { ...LIMITS, ...options.limits };
    this.timing = { ...TIMING, ...options.timing };
    this.anonymous = options.authenticate === undefined;
    this.authenticate = options.authenticate ?? ANYBODY;
    this.now = options.now ?? Date.now;
    this.random = options.random ?? Math.random;
    this.#drainMs = options.drainMs ?? 10_000;
    const methods = new Map<string, Entry>();
    const topics = new Map<string, TopicEntry>();
    const topicNames = new Map<Topic, string>();
    this.#context = {
      store: options.store,
      volatile: options.volatile,
      methods,
      topics,
      topicNames,
      authorize: options.authorize,
      limits: this.limits,
      retention: { ...RETENTION, ...options.retention },
      gate: new Gate(this.limits, this.now),
      usage: new Usage(this.limits.storedBytesPerPrincipal),
      metrics: this.metrics,
      logger: options.logger ?? SILENT,
      now: this.now,
      random: this.random,
      runs: new Map(),
      publish: async (topic, event, owner, key) => {
        const items = { items: [event], ...(key !== undefined && { key }) };
        return (await publish(this.#context, topics.get(topic)!, owner, items)).cursor;
      },
      closing: new AbortController(),
    };
    const addMethod = (name: string, method: Method) => {
      methods.set(name, { name, method, metrics: this.metrics.method(name) });
    };
    for (const { name, members } of services) {
      for (const [key, member] of Object.entries(members as Record<string, Member>)) {
        const address = `${name}/${key}`;
        if (member.type === "method") {
          if (methods.has(address)) throw new Fault("already_exists", `there are two methods ${address}`);
          addMethod(address, member);
        } else if (member.type === "topic") {
          const other = topics.get(key);
          if (other && other.topic !== member) {
            throw new Fault("already_exists", `two services have a topic ${key}`, { hint: "topics share their names" });
          }
          topics.set(key, { name: key, topic: member });
          topicNames.set(member, key);
        } else this.#subscribers.set(address, member);
      }
    }
    addMethod(
      "backtalk/calls",
      callsMethod(() => this.#context),
    );
    this.contract = {
      methods: new Map([...methods].map(([name, entry]) => [name, entry.method])),
      topics: new Map([...topics].map(([name, entry]) => [name, entry.topic])),
    };
  }

  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  readonly unready = (): readonly string[] => (this.#status === "ready" ? [] : [`the server is ${this.#status}`]);

  readonly peer = (call: Call): Exchange | Promise<Exchange> => {
    const context = this.#context;
    context.gate.request(call);
    const entry = context.methods.get(call.to);
    if (entry) {
      if (this.#status !== "ready") throw this.#notReady();
      if (!context.authorize) return open(context, entry, call);
      return this.#allowed(call.principal, "call", "method", entry.name).then(() => open(context, entry, call));
    }
    if (call.to.startsWith(CALLS)) return this.#attach(call);
    if (call.to.startsWith(TOPICS)) return this.#topic(call);
    throw this.#unknown(call.to);
  };

  async start(): Promise<{ retried: number; failed: number }> {
    this.#status = "starting";
    const context = this.#context;
    await context.usage.count(context.store);
    for (const name of context.topics.keys()) {
      await context.store.append(topicLog(name), [], { create: { kind: "topic" } });
    }
    const counts = await recover(context);
    this.#status = "ready";
    const subscribers = [...this.#subscribers].map(([name, subscriber]) =>
      runSubscriber(context, name, subscriber, this.#draining.signal),
    );
    this.#working = Promise.allSettled(subscribers);
    this.#retaining = setInterval(() => this.#retain(), context.retention.everyMs);
    this.#retaining.unref?.();
    return counts;
  }

  async drain(): Promise<void> {
    if (this.#status === "draining" || this.#status === "closed") return;
    this.#status = "draining";
    clearInterval(this.#retaining);
    this.#draining.abort(restartFault());
    const { gate, runs } = this.#context;
    const until = performance.now() + this.#drainMs;
    while (gate.running > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
    await Promise.all([...runs.values()].map((run) => run.release()));
    await this.close();
  }

  async close(): Promise<void> {
    if (this.#status === "closed") return;
    this.#status = "closed";
    clearInterval(this.#retaining);
    this.#draining.abort(restartFault());
    this.#context.closing.abort(restartFault());
    await this.#working;
    await this.#context.volatile.close();
  }

  #retain(): void {
    retain(this.#context).catch((thrown) => {
      this.#context.logger.note("error", "retention failed", { error: String(thrown) });
    });
  }

  async #attach(call: Call): Promise<Exchange> {
    const id = call.to.slice(CALLS.length);
    if (!/^[cv][0-9a-z]{26}$/.test(id)) throw noSuchCall(id);
    const store = storeOf(this.#context, id);
    const info = await findLog(store, callLog(id));
    const owner = info?.labels["owner"];
    // Whether the call of somebody else exists is nobody's business.
    if (!info || owner !== call.principal.id) throw noSuchCall(id);
    const exchange = new Kept(this.#context, store, id, info.labels["method"] ?? "", true);
    return this.#guarded(exchange, call.principal, "call", id);
  }

  #topic(call: Call): Exchange {
    const name = call.to.slice(TOPICS.length);
    const entry = this.#context.topics.get(name);
    if (!entry) {
      const near = closest(name, this.#context.topics.keys());
      throw new Fault("not_found", `there is no topic ${name.slice(0, 64)}`, {
        hint: hintOf(near, "topics", this.contract.topics.keys()),
      });
    }
    return this.#guarded(new TopicExchange(this.#context, entry, call.principal), call.principal, "topic", name);
  }

  /** Asks `authorize` before each use: what may be read need not be written. */
  #guarded<E extends Exchange>(exchange: E, principal: Principal, on: "call" | "topic", name: string): E {
    if (!this.#context.authorize) return exchange;
    const allowed = (verb: "read" | "append" | "publish" | "cancel") => this.#allowed(principal, verb, on, name);
    const { append, cancel, state, result, read } = exchange;
    exchange.append = async (items) => {
      await allowed(on === "topic" ? "publish" : "append");
      return append.call(exchange, items);
    };
    exchange.cancel = async () => {
      await allowed("cancel");
      return cancel.call(exchange);
    };
    exchange.state = async (wait) => {
      await allowed("read");
      return state.call(exchange, wait);
    };
    exchange.result = async (signal) => {
      await allowed("read");
      return result.call(exchange, signal);
    };
    exchange.read = async function* (at) {
      await allowed("read");
      yield* read.call(exchange, at);
    };
    return exchange;
  }

  async #allowed(
    principal: Principal,
    verb: "call" | "read" | "publish" | "append" | "cancel",
    on: "method" | "call" | "topic",
    name: string,
  ): Promise<void> {
    if (await this.#context.authorize!(principal, { verb, on, name })) return;
    throw new Fault("permission_denied", `not allowed: ${verb} ${on} ${name}`, {
      hint: "ask the operator for the right, or use other credentials",
    });
  }

  #notReady(): Fault {
    return new Fault("unavailable", `the server is ${this.#status}`, {
      retryAfterMs: Math.ceil(500 + this.random() * this.timing.spreadMs),
      hint: "try again soon",
    });
  }

  #unknown(to: string): Fault {
    const near = closest(to, this.contract.methods.keys());
    return new Fault("not_found", `there is no method ${to.slice(0, 128)}`, {
      hint: hintOf(near, "methods", this.contract.methods.keys()),
    });
  }
}

function hintOf(near: string | undefined, what: string, names: Iterable<string>): string {
  if (near !== undefined) return `did you mean ${near}?`;
  const all = [...names].filter((name) => !name.startsWith("backtalk/"));
  return all.length === 0 ? `this server has no ${what}` : `this server has: ${all.slice(0, 12).join(", ")}`;
}
