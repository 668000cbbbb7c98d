/** Contract + handlers + store = a peer. */
import {
  type Action,
  CALLS,
  type Call,
  type Contract,
  compose,
  type Exchange,
  type Host,
  LIMITS,
  type Member,
  type Method,
  type Peer,
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
import { FoldCache } from "./fold.ts";
import { Gate } from "./gate.ts";
import { guarded, mayOrThrow } from "./guard.ts";
import { Kept, noSuchCall } from "./kept.ts";
import { CoreMetrics } from "./metrics.ts";
import { open } from "./open.ts";
import { type CoreOptions, harmless, RETENTION, SILENT } from "./options.ts";
import { recover } from "./recovery.ts";
import { retain } from "./retention.ts";
import { runSubscriber } from "./subscribers.ts";
import { publish, TopicExchange } from "./topic.ts";
import { Unwritten } from "./unwritten.ts";
import { Usage } from "./usage.ts";
import { closest, pause, restartFault } from "./util.ts";

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
  readonly peer: Peer;
  readonly limits;
  readonly timing;
  readonly authenticate;
  readonly anonymous: boolean;
  readonly metrics = new CoreMetrics();
  readonly random: () => number;
  readonly now: () => number;
  readonly #context: Context;
  readonly #subscribers = new Map<string, Subscriber>();
  readonly #unready: (() => readonly string[]) | undefined;
  readonly #drainMs: number;
  readonly #draining = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #retaining: Promise<void> | undefined;
  /** Subscribers that are at work. */
  #working = 0;
  #status: Status = "new";
  #drained: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(services: readonly AnyService[], options: CoreParts) {
    this.peer = compose(options.layers ?? [])(this.#call);
    this.limits = { ...LIMITS, ...options.limits };
    this.timing = { ...TIMING, ...options.timing };
    this.anonymous = options.authenticate === undefined;
    this.now = options.now ?? Date.now;
    const gate = new Gate(this.limits, this.now);
    this.authenticate = options.authenticate ? gate.guarded(options.authenticate) : ANYBODY;
    this.random = options.random ?? Math.random;
    this.#unready = options.unready;
    this.#drainMs = options.drainMs ?? 10_000;
    const methods = new Map<string, Entry>();
    const topics = new Map<string, TopicEntry>();
    const topicNames = new Map<Topic, string>();
    const owners = new Map<string, string>();
    this.#context = {
      store: options.store,
      volatile: options.volatile,
      methods,
      topics,
      topicNames,
      authorize: options.authorize,
      limits: this.limits,
      retention: { ...RETENTION, ...options.retention },
      gate,
      usage: new Usage(this.limits.storedBytesPerPrincipal),
      unwritten: new Unwritten(this.limits.unwrittenBytes),
      folds: new FoldCache(),
      metrics: this.metrics,
      logger: harmless(options.logger ?? SILENT),
      now: this.now,
      random: this.random,
      runs: new Map(),
      directs: new Set(),
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
          if (!other) owners.set(key, name);
          topicNames.set(member, key);
        } else this.#subscribers.set(address, member);
      }
    }
    for (const [name, { topic }] of this.#subscribers) {
      if (topicNames.has(topic)) continue;
      throw new Fault("failed_precondition", `the subscriber ${name} reads a topic that is not served here`, {
        hint: "make the topic a member of a service of this server",
      });
    }
    addMethod(
      "backtalk/calls",
      callsMethod(() => this.#context),
    );
    this.contract = {
      methods: new Map([...methods].map(([name, entry]) => [name, entry.method])),
      topics: new Map([...topics].map(([name, entry]) => [name, entry.topic])),
      owners,
    };
  }

  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  readonly unready = (): readonly string[] => {
    return this.#status === "ready" ? (this.#unready?.() ?? []) : [`the server is ${this.#status}`];
  };

  readonly #call = (call: Call): Exchange | Promise<Exchange> => {
    const context = this.#context;
    if (!call.counted) context.gate.request(call);
    const entry = context.methods.get(call.to);
    if (entry) {
      if (this.#status !== "ready") throw this.#notReady();
      if (!context.authorize) return open(context, entry, call);
      return mayOrThrow(context, call.principal, "call", "method", entry.name).then(() => {
        // To ask can take long.
        if (this.#status !== "ready") throw this.#notReady();
        return open(context, entry, call);
      });
    }
    if (call.to.startsWith(CALLS)) return this.#attach(call);
    if (call.to.startsWith(TOPICS)) return this.#topic(call);
    throw unknownName(call.to, "method", this.contract.methods.keys());
  };

  readonly permit = async (principal: Principal, { verb, on, name }: Action): Promise<void> => {
    if (this.#context.authorize) await mayOrThrow(this.#context, principal, verb, on, name);
  };

  async start(): Promise<{ retried: number; failed: number }> {
    if (this.#status !== "new") throw new Fault("failed_precondition", `the server is ${this.#status} already`);
    this.#status = "starting";
    const context = this.#context;
    try {
      await context.usage.count(context.store);
      for (const name of context.topics.keys()) {
        await context.store.append(topicLog(name), [], { create: { kind: "topic" } });
      }
      const counts = await recover(context);
      if (this.#is("starting")) this.#begin();
      return counts;
    } catch (thrown) {
      if (this.#is("starting")) this.#status = "new";
      throw thrown;
    }
  }

  #begin(): void {
    const context = this.#context;
    this.#status = "ready";
    for (const [name, subscriber] of this.#subscribers) {
      const topic = context.topicNames.get(subscriber.topic)!;
      this.#working++;
      runSubscriber(context, name, subscriber, topic, this.#draining.signal)
        .catch((thrown) => context.logger.note("error", "a subscriber ended", { error: String(thrown) }))
        .finally(() => this.#working--);
    }
    this.#timer = setInterval(() => this.#retain(), context.retention.everyMs);
    this.#timer.unref?.();
  }

  /** Whether this is the status now, also after something else may have changed it. */
  #is(status: Status): boolean {
    return this.#status === status;
  }

  count(caller: Pick<Call, "principal" | "address">): void {
    this.#context.gate.request(caller);
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  async #drain(): Promise<void> {
    if (this.#status !== "closed") {
      this.#status = "draining";
      clearInterval(this.#timer);
      this.#draining.abort(restartFault());
      const until = performance.now() + this.#drainMs;
      const { gate, runs } = this.#context;
      const isBusy = () => gate.running > 0 || runs.size > 0 || this.#working > 0;
      while (isBusy() && !this.#is("closed") && performance.now() < until) {
        await pause(20, this.#context.closing.signal);
      }
    }
    await this.close();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#status = "closed";
    clearInterval(this.#timer);
    const { closing, directs, runs, volatile } = this.#context;
    const fault = restartFault();
    this.#draining.abort(fault);
    // From here on an end that cannot be stored is left to the next process.
    closing.abort(fault);
    for (const direct of [...directs]) direct.stop(fault);
    await Promise.all([...runs.values()].map((run) => run.release()));
    await this.#retaining;
    await volatile.close();
  }

  /** One at a time: a store that is slow to remove must not be asked twice. */
  #retain(): void {
    this.#retaining ??= retain(this.#context)
      .catch((thrown) => {
        this.#context.logger.note("error", "retention failed", { error: String(thrown) });
      })
      .finally(() => {
        this.#retaining = undefined;
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
    return guarded(this.#context, exchange, call.principal, "call", id);
  }

  #topic(call: Call): Exchange {
    const name = call.to.slice(TOPICS.length);
    const entry = this.#context.topics.get(name);
    if (!entry) throw unknownName(name, "topic", this.contract.topics.keys());
    const exchange = new TopicExchange(this.#context, entry, call.principal);
    return guarded(this.#context, exchange, call.principal, "topic", name);
  }

  #notReady(): Fault {
    return new Fault("unavailable", `the server is ${this.#status}`, {
      retryAfterMs: Math.ceil(500 + this.random() * this.timing.spreadMs),
      hint: "try again soon",
    });
  }
}

function unknownName(name: string, what: "method" | "topic", names: Iterable<string>): Fault {
  const all = [...names].filter((each) => !each.startsWith("backtalk/"));
  const near = closest(name, all);
  const served = all.length === 0 ? `this server has no ${what}s` : `this server has: ${all.slice(0, 12).join(", ")}`;
  return new Fault("not_found", `there is no ${what} ${name.slice(0, 128)}`, {
    hint: near === undefined ? served : `did you mean ${near}?`,
  });
}
