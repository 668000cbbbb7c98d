/** One of each: a call, a stream, topics, a subscriber and a queue. README.md shows this file. */
import { serverStream, service, subscriber, topic, unary } from "backtalk";
import { z } from "zod";

const wish = z.object({ product: z.string(), count: z.int().min(1).max(100).default(1) });
const order = wish.extend({ id: z.string() });

// Topics: clients read them, and here only the service writes to them.
const orders = topic({ event: order, retain: { events: 10_000 }, open: false });
const shipped = topic({ event: z.object({ id: z.string() }), open: false });

export default service("shop", {
  // One in, one out. Recorded: a repeat with the same Idempotency-Key is the same order.
  order: unary({ input: wish, output: order, recorded: "always" }, async (input, call) => {
    const made = { ...input, id: call.id! };
    await call.publish(orders, made, { key: made.id });
    return made;
  }),

  // One in, many out. A reader that loses the connection reads on after its last cursor.
  price: serverStream(
    {
      input: z.object({ product: z.string(), times: z.int().max(100).default(3) }),
      item: z.object({ product: z.string(), cents: z.int() }),
    },
    async function* ({ product, times }, call) {
      for (let n = 0; n < times && !call.signal.aborted; n++) {
        yield { product, cents: 1_000 + n };
        await Bun.sleep(100);
      }
    },
  ),

  orders,
  shipped,

  // Reads a topic in the server: each event in order, at least once, also after a restart.
  ship: subscriber(orders, async ({ id }, call) => {
    await call.publish(shipped, { id }, { key: id });
  }),

  // With `serve --amqp` it waits in RabbitMQ for a `backtalk worker`; without, the server runs it itself.
  invoice: unary(
    { input: z.object({ id: z.string() }), output: z.object({ pdf: z.string() }), queue: true, onRestart: "retry" },
    ({ id }) => ({ pdf: `invoices/${id}.pdf` }),
  ),
});
