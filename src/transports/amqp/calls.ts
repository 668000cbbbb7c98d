/**
 * The queues of calls: each message becomes a call of the peer and is acknowledged when its last answer is
 * confirmed. Whatever ends before that, the process or the broker, the message comes again and finds its call.
 */
import type { Host } from "../../contract/index.ts";
import { type Fault, toFault } from "../../log/index.ts";
import type { Broker } from "./broker.ts";
import { Deliveries, type Delivery } from "./deliveries.ts";
import type { Channel, Message } from "./driver.ts";
import { answerFrame } from "./frames.ts";
import { backoff, type Line, pause } from "./line.ts";
import { FRAMES, FRAMES_TYPE, HEADER, type Names, quorum } from "./names.ts";
import { answerPlain } from "./plain.ts";
import { Reply } from "./reply.ts";
import { isFrame } from "./request.ts";

export interface CallsOptions {
  readonly broker: Broker;
  readonly host: Host;
  readonly names: Names;
  /** Messages that are worked on at once. */
  readonly prefetch: number;
  /** The broker's users are principals. */
  readonly trustUsers: boolean;
}

/** How often one message is delivered before it counts as one that ends servers. */
const DELIVERIES = 20;

/** What becomes of a request: `left` to the next server, or tried `later` by this one. */
export type Outcome = "answered" | "bad" | "left" | "later";

export class Calls {
  readonly #options: CallsOptions;
  readonly #line: Line;
  readonly #control: Line;
  /** Where callers say that they do not want more: this process's own queue. */
  #controlQueue: string | undefined;
  readonly #open = new Map<string, Reply>();
  /** Of what is worked on: a request that comes again meanwhile is not answered twice. */
  readonly #deliveries = new Deliveries();
  readonly #working = new Set<Promise<void>>();
  readonly #heartbeat: ReturnType<typeof setInterval>;
  #isTaking = true;
  #tags: string[] = [];

  constructor(options: CallsOptions) {
    this.#options = options;
    const { broker, host } = options;
    this.#line = broker.line("the queues of calls", (channel) => this.#consume(channel));
    this.#control = broker.line("the queue of callers that leave", (channel) => this.#listen(channel));
    const { heartbeatMs } = host.timing;
    this.#heartbeat = setInterval(() => this.#beat(heartbeatMs), heartbeatMs / 2);
    this.#heartbeat.unref?.();
    host.draining.addEventListener("abort", () => void this.stopTaking(), { once: true });
  }

  /** @throws Fault when the broker refuses the queues */
  async ready(): Promise<void> {
    await Promise.all([this.#line.first, this.#control.first]);
  }

  /** Leaves what comes from now on to the next server. */
  async stopTaking(): Promise<void> {
    this.#isTaking = false;
    const channel = this.#line.current;
    await Promise.allSettled(this.#tags.map((tag) => channel?.basicCancel(tag)));
  }

  async stop(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.stopTaking();
    // The core has drained: what is not answered by now has its end in the store, or is the next server's.
    await Promise.race([Promise.allSettled([...this.#working]), pause(1_000)]);
    for (const reply of this.#open.values()) reply.leave();
    await Promise.all([this.#line.close(), this.#control.close()]);
  }

  async #consume(channel: Channel): Promise<void> {
    const { names, host, prefetch } = this.#options;
    await declareDead(channel, names);
    await channel.exchangeDeclare({ exchange: names.calls, type: "topic", durable: true });
    await channel.basicQos({ prefetchCount: prefetch });
    this.#tags = [];
    for (const service of servicesOf(host)) {
      const queue = names.callsOf(service);
      await channel.queueDeclare({ queue, durable: true, arguments: quorum(names.dead, DELIVERIES) });
      await channel.queueBind({ queue, exchange: names.calls, routingKey: `${service}.#` });
      if (!this.#isTaking) continue;
      const { consumerTag } = await channel.basicConsume({ queue }, (message) => this.#take(channel, message));
      this.#tags.push(consumerTag);
    }
  }

  async #listen(channel: Channel): Promise<void> {
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true, autoDelete: true });
    await channel.basicConsume({ queue, noAck: true }, ({ type, replyTo = "", correlationId = "" }) => {
      if (type === "leave") this.#open.get(`${replyTo} ${correlationId}`)?.leave();
    });
    this.#controlQueue = queue;
  }

  #take(channel: Channel, message: Message): void {
    if (!this.#isTaking) {
      settle(channel, message, "left");
      return;
    }
    const delivery = this.#deliveries.take(channel, message);
    if (!delivery) return;
    const work = this.#work(delivery).finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  /** Never rejects. */
  async #work(delivery: Delivery): Promise<void> {
    const { message } = delivery;
    const settled = (outcome: Outcome): void => {
      this.#deliveries.drop(delivery);
      settle(delivery.channel, delivery.message, outcome);
    };
    const { broker, host, names, trustUsers } = this.#options;
    const { replyTo = "", correlationId = "" } = message;
    if (names.isOwn(replyTo)) {
      // Whoever may only send requests could write to any of our queues through us, or have us answer ourselves.
      broker.note("warn", "a request wanted its answer in a queue of ours", { reply_to: replyTo.slice(0, 128) });
      settled("bad");
      return;
    }
    const reply = new Reply(broker, message, () => this.#controlQueue);
    const name = `${replyTo} ${correlationId}`;
    if (!reply.isDeaf) this.#open.set(name, reply);
    host.metrics.add("backtalk_amqp_messages_total", 'queue="calls"', 1);
    try {
      const answer = isFrame(message) ? answerFrame : answerPlain;
      for (let tries = 0; ; tries++) {
        const outcome = await answer({ host, reply, trustUsers }, message).catch((thrown): Outcome => {
          // A defect of ours: not again and again.
          broker.note("error", "a request could not be answered", { error: toFault(thrown).message });
          return "bad";
        });
        if (outcome !== "later") {
          settled(outcome);
          return;
        }
        // Nobody waits for the answer, so it is this process that tries again: not the broker in a hot loop.
        await pause(backoff(tries, host.random), host.draining);
        if (host.draining.aborted) {
          settled("left");
          return;
        }
      }
    } finally {
      if (this.#open.get(name) === reply) this.#open.delete(name);
    }
  }

  /** Tells those who wait that somebody is there, and learns whether they are. */
  #beat(heartbeatMs: number): void {
    const now = performance.now();
    for (const reply of this.#open.values()) {
      // Strangers are told what they have asked for, and nothing else.
      if (!reply.isFramed || now - reply.saidAt < heartbeatMs / 2) continue;
      void reply.say({ type: FRAMES, contentType: FRAMES_TYPE, body: '{"type":"ping"}' });
    }
  }
}

export type Answering = { readonly host: Host; readonly reply: Reply; readonly trustUsers: boolean };

/** The services by their methods, and `backtalk` for what belongs to none. */
function servicesOf(host: Host): ReadonlySet<string> {
  return new Set([...host.contract.methods.keys()].map((name) => name.slice(0, name.indexOf("/"))));
}

/** Where bad messages are kept for the operator. */
export async function declareDead(channel: Channel, { dead }: Names): Promise<void> {
  await channel.exchangeDeclare({ exchange: dead, type: "fanout", durable: true });
  await channel.queueDeclare({ queue: dead, durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.queueBind({ queue: dead, exchange: dead, routingKey: "" });
}

function settle(channel: Channel, { deliveryTag }: Message, outcome: Outcome): void {
  // The channel is gone: the broker delivers it again, to whoever is there.
  if (!channel.active) return;
  try {
    if (outcome === "answered") channel.basicAck({ deliveryTag });
    else channel.basicNack({ deliveryTag, requeue: outcome === "left" });
  } catch {
    // As above.
  }
}

/** @internal */
export function faultPart(thrown: unknown, call?: string) {
  const fault: Fault = toFault(thrown);
  return {
    type: "fault",
    body: JSON.stringify(fault.toJSON()),
    ...(call !== undefined && { headers: { [HEADER.call]: call } }),
  };
}
