/** The same answers on bare rabbitmq-client: from a queue that keeps what Backtalk keeps, and from one that keeps nothing. */
import { Connection } from "rabbitmq-client";
import { isPrime, options, ready } from "./shared.mjs";

const { url, safe, fast, unread } = options();
const connection = new Connection({ url, noDelay: true });

async function channelOf() {
  const channel = await connection.acquire();
  await channel.basicQos({ prefetchCount: 1000 });
  return channel;
}

/** Acknowledged when the broker has confirmed the answer. */
const sure = await channelOf();
await sure.confirmSelect();
await sure.queueDeclare({ queue: safe, durable: true, arguments: { "x-queue-type": "quorum" } });
await sure.basicConsume({ queue: safe }, async (message) => {
  await answer(sure, message, true);
  sure.basicAck({ deliveryTag: message.deliveryTag });
});

/** Where publishing alone is measured. */
await sure.queueDeclare({ queue: unread, durable: true, arguments: { "x-queue-type": "quorum" } });

const quick = await channelOf();
await quick.queueDeclare({ queue: fast, exclusive: true });
await quick.basicConsume({ queue: fast, noAck: true }, (message) => answer(quick, message, false));

function answer(channel, { body, replyTo, correlationId }, durable) {
  const envelope = { routingKey: replyTo, correlationId, type: "result", contentType: "application/json", durable };
  return channel.basicPublish(envelope, Buffer.from(JSON.stringify({ prime: isPrime(body.n) })));
}

ready({});
