/** The properties of AMQP as a transport. PROTOCOL.md §8. */
import type { TransportProperties } from "../../contract/transport.ts";

export const properties: readonly TransportProperties[] = [
  {
    name: "amqp",
    summary: "calls from a broker's queues, answered to the caller's; topics and jobs",
    dataFormat: "JSON in the body of a message; type, ids and credentials in its properties (AMQP 0-9-1 §1.8.3)",
    transferMode: "messages that are stored until they are acknowledged, each confirmed to its publisher",
    addressing: "amqp:// or amqps://; an exchange, and service.method as the routing key or the type of the message",
    directionality: "both ways through the broker: caller and server know queues, not each other",
    state: "in the broker: what is not acknowledged is delivered again; calls and cursors are in the store",
    routing: "by the broker's exchanges and bindings (§3.1); any server with the same store takes any request",
    flowAndCongestion:
      "prefetch bounds what a server works on (basic.qos, §1.8.3.1 of the reference); a reading has its credit from the beginning; below it TCP",
    errorManagement:
      "publisher confirms, mandatory messages, redelivery to the same call by its message_id, dead letters; a fault for each request",
    ridesOn: "TCP, with TLS for amqps",
    capabilities: {
      unary: { has: true, how: "a message, answered to reply_to with its correlation_id" },
      serverStream: { has: true, how: "its events as messages in order; of a frame as many as it gives credit for" },
      clientStream: { has: true, how: "frames with numbered items; a plain message with an array of all" },
      bidi: { has: true, how: "items and events as requests of their own, at the same time" },
      subscribe: { has: true, how: "readings with credit, one after the other; or the exchange of topics" },
      resume: { has: true, how: "attach or subscribe after a cursor" },
    },
  },
];
