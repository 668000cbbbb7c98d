/**
 * AsyncAPI 3.0 of a contract: the topics, and the messages of `backtalk.v1` (PROTOCOL.md §3) that carry them and
 * calls over a WebSocket; of a server with a broker also its exchange of topics and its queues of calls (§8).
 */
import type { Contract } from "../contract/host.ts";
import type { Topic } from "../contract/service.ts";
import { amqpChannels } from "./asyncapi-amqp.ts";
import { CLIENT_MESSAGES, MESSAGE_SCHEMAS, SERVER_MESSAGES } from "./asyncapi-messages.ts";
import { at, describedBy, Parts, serverAt } from "./asyncapi-parts.ts";
import type { Json } from "./openapi-schemas.ts";

export interface AsyncApiOptions {
  readonly title: string;
  readonly version: string;
  /** Whether nobody has to prove anything. */
  readonly isAnonymous: boolean;
  /** Host and port of the server (default `localhost:4400`). */
  readonly host?: string;
  readonly broker?: Broker | undefined;
}

export interface Broker {
  /** What begins its names there (default `backtalk`). */
  readonly prefix?: string | undefined;
  /** Whether a topic is joined with the exchange (default: all are). */
  readonly joins?: (topic: string) => boolean;
}

export function asyncapi(contract: Contract, options: AsyncApiOptions): Json {
  const { title, version, isAnonymous, host = "localhost:4400", broker } = options;
  const parts = new Parts();
  addSocket(parts);
  for (const [name, topic] of contract.topics) addTopic(parts, name, topic);
  if (broker) amqpChannels(parts, contract, broker);
  const security = isAnonymous ? {} : { security: [at("securitySchemes/bearer"), at("securitySchemes/apiKey")] };
  return {
    asyncapi: "3.0.0",
    info: {
      title,
      version,
      description:
        "Topics and calls by messages. Every event has a cursor, from which a reader goes on over any transport.",
    },
    defaultContentType: "application/json",
    servers: {
      websocket: { host, protocol: "ws", title: "backtalk.v1 over WebSocket", ...security },
      ...(broker && { broker: BROKER }),
    },
    channels: parts.channels,
    operations: parts.operations,
    components: {
      messages: parts.messages,
      schemas: { ...MESSAGE_SCHEMAS, ...parts.schemas },
      ...(!isAnonymous && {
        securitySchemes: {
          bearer: { type: "http", scheme: "bearer" },
          apiKey: { type: "httpApiKey", in: "header", name: "X-API-Key" },
        },
      }),
    },
  };
}

/** Where it is is told to those who may know. */
const BROKER: Json = {
  host: "{broker}",
  protocol: "amqp",
  protocolVersion: "0-9-1",
  variables: { broker: { default: "localhost:5672", description: "Host and port of the broker" } },
};

/** What all calls and topics share over a WebSocket. */
function addSocket(parts: Parts): void {
  for (const [name, { summary, payload }] of Object.entries({ ...CLIENT_MESSAGES, ...SERVER_MESSAGES })) {
    parts.messages[name] = { name, summary, payload };
  }
  const [client, server] = [Object.keys(CLIENT_MESSAGES), Object.keys(SERVER_MESSAGES)];
  parts.channel("socket", [...client, ...server], {
    address: "/ws",
    title: "One socket for many calls and topics",
    description: "Subprotocol backtalk.v1; a text message is one JSON object.",
    servers: [serverAt("websocket")],
    bindings: { ws: { method: "GET", bindingVersion: "0.1.0" } },
  });
  parts.operation("clientSays", "receive", "socket", client, { summary: "What a client sends" });
  parts.operation("serverSays", "send", "socket", server, { summary: "What the server sends" });
}

function addTopic(parts: Parts, name: string, topic: Topic): void {
  const [channel, read, published] = [`topic.${name}`, `topic.${name}.event`, `topic.${name}.published`];
  const isOpen = topic.options.open !== false;
  const about = describedBy(topic.options.description);
  parts.message(read, topic.event, "output", { title: `An event of ${name}`, ...about });
  if (isOpen) parts.message(published, topic.event, "input", { title: `An event for ${name}`, ...about });
  parts.channel(channel, isOpen ? [read, published] : [read], {
    address: "/ws",
    title: `The topic ${name}`,
    ...about,
    servers: [serverAt("websocket")],
    "x-backtalk-topic": name,
  });
  parts.operation(`subscribe.${name}`, "send", channel, [read], {
    summary: `Each is the data of an event in a message server.events, asked for by client.subscribe`,
  });
  if (!isOpen) return;
  parts.operation(`publish.${name}`, "receive", channel, [published], {
    summary: "The event in a message client.publish, answered by server.result",
  });
}
