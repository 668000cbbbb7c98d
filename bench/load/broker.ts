/** Calls and events through a broker, in a process of its own. Takes orders as lines of JSON, and answers each with one. */
import { ANONYMOUS, type Peer } from "../../src/contract/index.ts";
import { amqpPeer } from "../../src/transports/amqp/client.ts";
import { type Channel, type Envelope, loadDriver } from "../../src/transports/amqp/driver.ts";
import { websocketPeer } from "../../src/transports/websocket/client.ts";
import { quantile } from "../lib/stats.ts";
import { TEXT } from "../peers/shared.mjs";

/**
 * How a call is made: messages of bare rabbitmq-client that go `to` an exchange or queue, published with confirm or
 * not; `publish` waits for the confirmation only; `backtalk` is its client over the broker, `websocket` the one
 * without.
 */
export type Way =
  | { readonly by: "message"; readonly to: Envelope; readonly isSure: boolean }
  | { readonly by: "publish"; readonly to: Envelope }
  | { readonly by: "backtalk" | "websocket"; readonly method: string };

/** Where events begin and end: at the broker's exchange, or at a topic of the server. */
export interface Path {
  readonly topic: string;
  readonly exchange: string;
  readonly from: "broker" | "server";
  readonly to: "broker" | "server";
}

export type BrokerOrder =
  | { readonly do: "open"; readonly broker: string; readonly server: string }
  | { readonly do: "calls"; readonly way: Way; readonly atOnce: number; readonly ms: number }
  | { readonly do: "events"; readonly path: Path; readonly count: number; readonly atOnce: number };

export interface CallsFigures {
  readonly count: number;
  readonly perSecond: number;
  /** In milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

export interface EventsFigures {
  readonly perSecond: number;
}

type Call = () => Promise<unknown>;

class Load {
  readonly #channels: { readonly sure: Channel; readonly quick: Channel };
  readonly #peers: Readonly<Record<"backtalk" | "websocket", Peer>>;
  readonly #waiting = new Map<string, { resolve: (body: unknown) => void; reject: (error: Error) => void }>();
  /** Of this process: what names a call must not have been used before. */
  readonly #run = crypto.randomUUID();
  #n = 0;

  private constructor(sure: Channel, quick: Channel, backtalk: Peer, websocket: Peer) {
    this.#channels = { sure, quick };
    this.#peers = { backtalk, websocket };
  }

  static async open(broker: string, server: string): Promise<Load> {
    const { Connection } = await loadDriver();
    const connection = new Connection({ url: broker, noDelay: true });
    connection.on("error", fail);
    const acquire = () => connection.acquire({ emitErrorsFromChannel: true });
    const [sure, quick] = await Promise.all([acquire(), acquire()]);
    await sure.confirmSelect();
    const load = new Load(sure, quick, amqpPeer({ url: broker }), websocketPeer({ url: server }));
    // Answers come on the channel that has asked (direct reply-to).
    for (const channel of [sure, quick]) {
      channel.on("error", fail);
      await channel.basicConsume({ queue: REPLIES, noAck: true }, ({ type, correlationId = "", body }) => {
        const waiting = load.#waiting.get(correlationId);
        load.#waiting.delete(correlationId);
        if (type === "result") waiting?.resolve(body);
        else waiting?.reject(new Error(`answered by ${type}: ${JSON.stringify(body)}`));
      });
    }
    return load;
  }

  async calls(way: Way, atOnce: number, ms: number): Promise<CallsFigures> {
    const call = this.#callOf(way);
    const times: number[] = [];
    const began = performance.now();
    const one = async (): Promise<void> => {
      while (performance.now() - began < ms) {
        const from = performance.now();
        await call();
        times.push(performance.now() - from);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, one));
    const perSecond = (times.length * 1_000) / (performance.now() - began);
    return { count: times.length, perSecond, p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
  }

  /** From the first that is published to the last that has come. Each comes once and in order, or it throws. */
  async events({ topic, exchange, from, to }: Path, count: number, atOnce: number): Promise<EventsFigures> {
    const first = this.#n;
    const arrived = new Arrivals(first, count);
    const stop = to === "broker" ? await this.#consume(exchange, topic, arrived) : await this.#read(topic, arrived);
    try {
      const publish = from === "broker" ? this.#publisher(exchange, topic) : await this.#appender(topic);
      const began = performance.now();
      const one = async (): Promise<void> => {
        while (this.#n < first + count) await publish(this.#n++);
      };
      await Promise.race([Promise.all([arrived.all, ...Array.from({ length: atOnce }, one)]), arrived.failed]);
      return { perSecond: (count * 1_000) / (performance.now() - began) };
    } finally {
      await stop();
    }
  }

  #callOf(way: Way): Call {
    if (way.by === "publish") return () => this.#channels.sure.basicPublish({ ...MESSAGE, ...way.to }, INPUT);
    if (way.by === "message") return () => this.#ask(way.to, way.isSure);
    const peer = this.#peers[way.by];
    return async () => {
      const exchange = await peer({ to: way.method, input: { n: 97 }, principal: ANONYMOUS, via: "bench" });
      return await exchange.result();
    };
  }

  #ask(to: Envelope, isSure: boolean): Promise<unknown> {
    const correlationId = `${this.#run}/${this.#n++}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(correlationId, { resolve, reject });
      const channel = isSure ? this.#channels.sure : this.#channels.quick;
      channel
        .basicPublish({ ...MESSAGE, ...to, durable: isSure, replyTo: REPLIES, correlationId }, INPUT)
        .catch(reject);
    });
  }

  #publisher(exchange: string, topic: string): (n: number) => Promise<unknown> {
    return (n) => {
      const envelope = { ...MESSAGE, exchange, routingKey: topic, messageId: `${this.#run}/${n}` };
      return this.#channels.sure.basicPublish(envelope, Buffer.from(JSON.stringify({ n, text: TEXT })));
    };
  }

  async #appender(topic: string): Promise<(n: number) => Promise<unknown>> {
    const writing = await this.#peers.websocket({ to: `topics/${topic}`, principal: ANONYMOUS, via: "bench" });
    return (n) => writing.append({ items: [{ n, text: TEXT }] });
  }

  /** A quorum queue, as the one that a server of Backtalk takes its events from. */
  async #consume(exchange: string, topic: string, arrived: Arrivals): Promise<() => Promise<unknown>> {
    const queue = `bench.events.${crypto.randomUUID()}`;
    const { quick } = this.#channels;
    await quick.exchangeDeclare({ exchange, type: "topic", durable: true });
    await quick.queueDeclare({ queue, durable: true, arguments: { "x-queue-type": "quorum" } });
    await quick.queueBind({ queue, exchange, routingKey: topic });
    await quick.basicConsume({ queue }, ({ body, deliveryTag }) => {
      quick.basicAck({ deliveryTag });
      arrived.take((body as { n: number }).n);
    });
    return () => quick.queueDelete(queue);
  }

  async #read(topic: string, arrived: Arrivals): Promise<() => Promise<void>> {
    const stop = new AbortController();
    const exchange = await this.#peers.websocket({ to: `topics/${topic}`, principal: ANONYMOUS, via: "bench" });
    const begun = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const { verdict, events } of exchange.read({ from: "now", follow: true, signal: stop.signal })) {
        if (verdict) begun.resolve();
        for (const { json } of events) arrived.take((JSON.parse(json) as { n: number }).n);
      }
    })().catch((thrown) => {
      if (!stop.signal.aborted) arrived.fail(thrown as Error);
    });
    await begun.promise;
    return async () => {
      stop.abort();
      await reading;
    };
  }
}

/** What has come of `count` events that are numbered from `first` on. */
class Arrivals {
  readonly all: Promise<void>;
  readonly failed: Promise<never>;
  readonly #seen = new Set<number>();
  readonly #first: number;
  readonly #count: number;
  #resolve = (): void => {};
  #reject = (_: Error): void => {};

  constructor(first: number, count: number) {
    this.#first = first;
    this.#count = count;
    this.all = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.failed = new Promise((_, reject) => {
      this.#reject = reject;
    });
    this.failed.catch(() => {});
  }

  take(n: number): void {
    // Of an earlier round, which was over when all of it had come.
    if (n < this.#first || n >= this.#first + this.#count) return;
    if (this.#seen.has(n)) this.fail(new Error(`event ${n} has come twice`));
    this.#seen.add(n);
    if (this.#seen.size === this.#count) this.#resolve();
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}

const REPLIES = "amq.rabbitmq.reply-to";
const MESSAGE: Envelope = { contentType: "application/json", durable: true };
const INPUT = Buffer.from('{"n":97}');

function fail(error: unknown): void {
  console.log(JSON.stringify({ error: `the broker: ${(error as Error).message}` }));
  process.exit(1);
}

async function answer(order: BrokerOrder, load: Load | undefined): Promise<Load | object> {
  if (order.do === "open") return await Load.open(order.broker, order.server);
  if (order.do === "calls") return await load!.calls(order.way, order.atOnce, order.ms);
  return await load!.events(order.path, order.count, order.atOnce);
}

if (import.meta.main) {
  let load: Load | undefined;
  for await (const line of console) {
    try {
      const answered = await answer(JSON.parse(line) as BrokerOrder, load);
      if (answered instanceof Load) load = answered;
      console.log(JSON.stringify(answered instanceof Load ? {} : answered));
    } catch (thrown) {
      console.log(JSON.stringify({ error: (thrown as Error).message }));
    }
  }
}
