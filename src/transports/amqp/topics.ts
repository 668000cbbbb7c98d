/**
 * Topics and the broker's exchange of topics (PROTOCOL.md §8.4). Out: from a cursor that is kept in the store, at
 * least once, in order. In: each message once, by its `message_id`. What came in does not go out again, and what
 * went out does not come in: so that two servers, or two hundred, can share an exchange.
 */
import { declareDead } from "./calls.ts";
import type { Channel, Message } from "./driver.ts";
import type { Line } from "./line.ts";
import { HEADER, quorum } from "./names.ts";
import { type TopicsOptions, Way } from "./topic-way.ts";

/** Messages of the exchange that are worked on at once. */
const PREFETCH = 500;
const DELIVERIES = 20;
/** What a server that is away for longer misses: a day, in milliseconds. */
const EXPIRES_MS = 86_400_000;

export class TopicBridge {
  readonly #options: TopicsOptions;
  readonly #ways: ReadonlyMap<string, Way>;
  readonly #stop = new AbortController();
  #line: Line | undefined;

  constructor(options: TopicsOptions) {
    this.#options = options;
    this.#ways = new Map(options.topics.map((name) => [name, new Way(name, options, this.#stop.signal)]));
  }

  /** @throws Fault when the broker refuses the exchange or the queue */
  async start(): Promise<void> {
    const { broker, names, server } = this.#options;
    await broker.declare((channel) =>
      channel.exchangeDeclare({ exchange: names.topics, type: "topic", durable: true }),
    );
    // First what an earlier process has taken in and not finished: it must be known before anything goes out.
    for (const way of this.#ways.values()) await way.recall();
    const queue = names.topicsOf(server);
    this.#line = broker.line("the queue of topics", async (channel) => {
      await declareDead(channel, names);
      await channel.exchangeDeclare({ exchange: names.topics, type: "topic", durable: true });
      const settings = quorum(names.dead, DELIVERIES, { "x-expires": EXPIRES_MS });
      await channel.queueDeclare({ queue, durable: true, arguments: settings });
      for (const routingKey of this.#ways.keys())
        await channel.queueBind({ queue, exchange: names.topics, routingKey });
      await channel.basicQos({ prefetchCount: PREFETCH });
      await channel.basicConsume({ queue }, (message) => this.#arrived(channel, message));
    });
    await this.#line.first;
    for (const way of this.#ways.values()) void way.send();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#line?.close();
    await Promise.all([...this.#ways.values()].map((way) => way.settled()));
  }

  #arrived(channel: Channel, message: Message): void {
    const { deliveryTag, headers, routingKey = "" } = message;
    const settle = (isGood: boolean): void => {
      if (!channel.active) return;
      if (isGood) channel.basicAck({ deliveryTag });
      else channel.basicNack({ deliveryTag, requeue: false });
    };
    const way = this.#ways.get(routingKey);
    // Our own, or of a binding that somebody has made.
    if (!way || headers?.[HEADER.origin] === this.#options.server) settle(true);
    else way.take({ message, settle });
  }
}
