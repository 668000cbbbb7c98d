/** The server half of AMQP (PROTOCOL.md §8): calls from queues, topics of an exchange, jobs for workers. */
import type { Host, Service } from "../../contract/index.ts";
import { Fault, type Store } from "../../log/index.ts";
import { Broker, type BrokerOptions } from "./broker.ts";
import { Calls } from "./calls.ts";
import type { TlsOptions } from "./driver.ts";
import { Jobs } from "./jobs.ts";
import { namesOf, PREFIX, parseUrl } from "./names.ts";
import { TopicBridge } from "./topics.ts";

export interface AmqpOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
  /** What all names on the broker begin with (default `backtalk`). */
  readonly prefix?: string | undefined;
  /** Requests that are worked on at once (default: the limit exchangesPerConnection). */
  readonly prefetch?: number | undefined;
  /** The `user_id` of a message, which the broker has checked, is its principal (default false). */
  readonly trustUsers?: boolean | undefined;
  /** Topics that are joined with the exchange, or `*` for all (default none). */
  readonly topics?: readonly string[] | "*" | undefined;
  /** Methods whose calls wait for workers, as `service.method`, besides those with `queue: true`. */
  readonly jobs?: readonly string[] | undefined;
  /** How long a worker that lost its connection may take to come back, in milliseconds (default 10,000). */
  readonly graceMs?: number | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: services of all types
type AnyService = Service<string, any>;

export interface AmqpTools {
  readonly store: Store;
  readonly logger: { readonly note: NonNullable<BrokerOptions["note"]> };
}

export interface AmqpStarted {
  readonly addresses: readonly { readonly via: string; readonly url: string }[];
  /** Why it does not work now; empty when it does. */
  readonly unready: () => readonly string[];
  /** Answers what can be answered; the rest goes back to its queue. */
  stop(): Promise<void>;
}

/** A part of a server, for `startServer({ parts: [amqp({ url })] })`. */
export interface Amqp {
  readonly services: (services: readonly AnyService[]) => readonly AnyService[];
  /** @throws Fault when the broker cannot be used */
  readonly start: (host: Host, tools: AmqpTools) => Promise<AmqpStarted>;
}

/** @throws Fault `invalid_argument` for an address or a prefix that is none */
export function amqp(options: AmqpOptions): Amqp {
  const { url, tls, prefix = PREFIX, prefetch, trustUsers = false, topics = [], graceMs = 10_000 } = options;
  parseUrl(url);
  const names = namesOf(prefix);
  const jobs = new Jobs(options.jobs);
  return {
    services: (services) => jobs.services(services),
    async start(host, { store, logger }) {
      const bridged = topicsOf(topics, host);
      const note: NonNullable<BrokerOptions["note"]> = (level, message, fields) => logger.note(level, message, fields);
      const broker = await Broker.open({ url, tls, name: "backtalk server", random: host.random, note });
      try {
        const server = await nameOf(store);
        const calls = new Calls({
          broker,
          host,
          names,
          prefetch: prefetch ?? host.limits.exchangesPerConnection,
          trustUsers,
        });
        await calls.ready();
        const bridge = new TopicBridge({ broker, host, store, names, server, topics: bridged, trustUsers });
        if (bridged.length > 0) await bridge.start();
        if (!jobs.isEmpty) await jobs.start({ broker, host, store, server, names, graceMs });
        return {
          addresses: [{ via: "amqp", url: broker.shown }],
          unready: () => broker.unready(),
          async stop() {
            await Promise.allSettled([calls.stop(), bridge.stop(), jobs.stop()]);
            await broker.close();
          },
        };
      } catch (thrown) {
        await broker.close();
        throw thrown;
      }
    },
  };
}

function topicsOf(topics: readonly string[] | "*", host: Host): readonly string[] {
  if (topics === "*" || topics.includes("*")) return [...host.contract.topics.keys()];
  for (const name of topics) {
    if (host.contract.topics.has(name)) continue;
    throw new Fault("invalid_argument", `there is no topic ${name} to join with the broker`, {
      hint: `this server has: ${[...host.contract.topics.keys()].join(", ") || "none"}`,
    });
  }
  return topics;
}

/** The name of this server on the broker: with its store, so that it finds its queues again after a restart. */
async function nameOf(store: Store): Promise<string> {
  const log = "bridges/amqp";
  const draft = { kind: "item", json: JSON.stringify(crypto.randomUUID().slice(0, 13)) } as const;
  await store.append(log, [draft], { after: "absent", create: { kind: "bridge" } });
  for await (const { events } of store.read(log, { from: "start", follow: false })) {
    if (events[0]) return JSON.parse(events[0].json) as string;
  }
  throw new Fault("data_loss", "the name of this server on the broker is missing in its store");
}
