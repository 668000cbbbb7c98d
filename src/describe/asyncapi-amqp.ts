/** What a server with a broker listens to and says there (PROTOCOL.md §8.2, §8.4). */
import type { Contract } from "../contract/host.ts";
import type { Method, Topic } from "../contract/service.ts";
import type { Broker } from "./asyncapi.ts";
import { channelAt, describedBy, messagesAt, type Parts, serverAt } from "./asyncapi-parts.ts";
import type { Json } from "./openapi-schemas.ts";

const VERSION = { bindingVersion: "0.3.0" };

export function amqpChannels(parts: Parts, contract: Contract, broker: Broker): void {
  const { prefix = "backtalk", joins = () => true } = broker;
  for (const [name, topic] of contract.topics) if (joins(name)) addTopic(parts, prefix, name, topic);
  const services = new Map<string, [address: string, method: Method][]>();
  for (const [address, method] of contract.methods) {
    const service = address.slice(0, address.indexOf("/"));
    if (service !== "backtalk") services.set(service, [...(services.get(service) ?? []), [address, method]]);
  }
  for (const [service, methods] of services) addCalls(parts, prefix, service, methods);
}

/** The exchange, by the name of the topic as routing key. */
function addTopic(parts: Parts, prefix: string, name: string, topic: Topic): void {
  const channel = `amqp.topic.${name}`;
  const [out, into] = [`${channel}.event`, `${channel}.published`];
  const about = describedBy(topic.options.description);
  parts.message(out, topic.event, "output", {
    title: `An event of ${name}`,
    description: "Its message_id is the cursor.",
    headers: headers({ "backtalk-origin": "The server that it comes from" }),
    bindings: { amqp: { messageType: "event", ...VERSION } },
  });
  parts.message(into, topic.event, "input", {
    title: `An event for ${name}`,
    headers: headers({ ...CREDENTIALS, "idempotency-key": "Publish once; else message_id" }),
  });
  const exchange = { name: `${prefix}.topics`, type: "topic", durable: true, autoDelete: false };
  parts.channel(channel, [out, into], {
    address: name,
    title: `The topic ${name} on the exchange ${prefix}.topics`,
    ...about,
    servers: [serverAt("broker")],
    bindings: { amqp: { is: "routingKey", exchange, ...VERSION } },
    "x-backtalk-topic": name,
  });
  parts.operation(`amqp.subscribe.${name}`, "send", channel, [out], {
    bindings: { amqp: { deliveryMode: 2, ...VERSION } },
  });
  parts.operation(`amqp.publish.${name}`, "receive", channel, [into], {
    bindings: { amqp: { ack: true, ...VERSION } },
  });
}

/** The queue of a service's calls; a caller is answered on the queue that it names. */
function addCalls(parts: Parts, prefix: string, service: string, methods: readonly [string, Method][]): void {
  const [calls, replies] = [`amqp.calls.${service}`, `amqp.replies.${service}`];
  const queue = { name: `${prefix}.calls.${service}`, durable: true, exclusive: false, autoDelete: false };
  const names = methods.map(([address]) => `amqp.${address.replace("/", ".")}`);
  const [inputs, outputs] = [names.map((name) => `${name}.input`), names.map((name) => `${name}.output`)];
  for (const [index, [address, method]] of methods.entries()) {
    parts.message(inputs[index]!, method.input, "input", {
      title: `A call of ${address}`,
      description: "A method with many inputs takes an array of them.",
      headers: headers({
        ...CREDENTIALS,
        "idempotency-key": "Else message_id, else correlation_id with a reply queue that the broker has named",
      }),
      bindings: { amqp: { messageType: address.replace("/", "."), ...VERSION } },
    });
    parts.message(outputs[index]!, method.output, "output", {
      title: `An answer of ${address}`,
      headers: headers({ "backtalk-call": "The id of a recorded call", "backtalk-cursor": "Of an item" }),
      bindings: { amqp: { messageType: isStream(method) ? "item" : "result", ...VERSION } },
    });
  }
  const servers = [serverAt("broker")];
  parts.channel(calls, inputs, {
    address: queue.name,
    title: `Calls of ${service}`,
    servers,
    bindings: { amqp: { is: "queue", queue, ...VERSION } },
  });
  parts.channel(replies, outputs, {
    address: null,
    title: `Answers of ${service}, on the queue that reply_to names, with the caller's correlation_id`,
    servers,
  });
  for (const [index, [address, method]] of methods.entries()) {
    parts.operation(names[index]!, "receive", calls, [inputs[index]!], {
      ...describedBy(method.options.description),
      bindings: { amqp: { ack: true, ...VERSION } },
      reply: { channel: channelAt(replies), messages: messagesAt(replies, [outputs[index]!]) },
      "x-backtalk-method": address,
      "x-backtalk-kind": method.kind,
    });
  }
}

const CREDENTIALS = { authorization: "Bearer and a token, where credentials are asked for", "x-api-key": "Or a key" };

function headers(of: Readonly<Record<string, string>>): Json {
  const properties = Object.entries(of).map(([name, description]) => [name, { type: "string", description }]);
  return { type: "object", properties: Object.fromEntries(properties) };
}

function isStream({ kind }: Method): boolean {
  return kind === "serverStream" || kind === "bidi";
}
