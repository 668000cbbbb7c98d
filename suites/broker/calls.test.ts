/**
 * Calls from queues by clients that each count their requests from 1, as most do: none gets what is another's, and a
 * message that comes again after its server was killed runs its call once.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { type Got, stranger } from "../../src/transports/amqp/testing.ts";
import { until } from "../transport/world.ts";
import { noBroker, startBroker } from "./broker.ts";
import { Site } from "./site.ts";

const DIRECT = "amq.rabbitmq.reply-to";
type Stranger = Awaited<ReturnType<typeof stranger>>;

const why = noBroker();
if (why) test.skip(`calls of clients that count (${why})`, () => {});
else {
  const broker = await startBroker();
  afterAll(() => broker.stop());

  const withSite = async (run: (site: Site, clients: [Stranger, Stranger]) => Promise<void>): Promise<void> => {
    const site = new Site(broker);
    const clients: [Stranger, Stranger] = [await stranger(broker.url), await stranger(broker.url)];
    try {
      await site.serve();
      await run(site, clients);
    } finally {
      for (const client of clients) client.close();
      await site.close();
    }
  };
  const ask = (site: Site, client: Stranger, replyTo: string, name: string, more: object = {}) =>
    client.send(
      { exchange: `${site.prefix}.calls`, routingKey: "shop.once", replyTo, correlationId: "1", ...more },
      JSON.stringify({ name, ms: 20 }),
    );
  const results = (client: Stranger) => client.got.filter(({ type }) => type === "result").map(({ body }) => body);
  const shared = async (site: Site, client: Stranger): Promise<string> => {
    const queue = `${site.prefix}.replies`;
    await client.channel.queueDeclare({ queue, durable: true, arguments: { "x-queue-type": "quorum" } });
    return queue;
  };

  describe("two clients with the same correlation ids", () => {
    for (const isSameInput of [true, false]) {
      const names = isSameInput ? ["both", "both"] : ["one", "other"];
      const what = isSameInput ? "the same input" : "other inputs";

      test(`and ${what} are two calls by direct reply-to`, () =>
        withSite(async (site, clients) => {
          for (const [n, client] of clients.entries()) {
            await client.listen(DIRECT);
            await ask(site, client, DIRECT, names[n]!);
          }
          for (const [n, client] of clients.entries()) {
            await until(() => client.got.length === 1, "the answer");
            expect(results(client)).toEqual([names[n]!]);
          }
          expect(site.lines()).toHaveLength(2);
        }));

      test(`and ${what} are two calls by queues that the broker has named`, () =>
        withSite(async (site, clients) => {
          for (const [n, client] of clients.entries()) await ask(site, client, client.queue, names[n]!);
          for (const [n, client] of clients.entries()) {
            await until(() => client.got.length === 1, "the answer");
            expect(results(client)).toEqual([names[n]!]);
          }
          expect(site.lines()).toHaveLength(2);
        }));

      test(`and ${what} are two calls by one queue that they share`, () =>
        withSite(async (site, clients) => {
          const [reader] = clients;
          const queue = await shared(site, reader);
          for (const [n, client] of clients.entries()) await ask(site, client, queue, names[n]!);
          await reader.listen(queue);
          await until(() => reader.got.length === 2, "the answers");
          expect(results(reader).toSorted()).toEqual(names.toSorted());
          expect(site.lines()).toHaveLength(2);
        }));
    }

    test("of a client-named queue that is exclusive are two calls, one after the other", () =>
      withSite(async (site, [one, other]) => {
        const queue = `${site.prefix}.mine`;
        await one.channel.queueDeclare({ queue, exclusive: true });
        await one.listen(queue);
        await ask(site, one, queue, "again");
        await until(() => one.got.length === 1, "the answer");
        // The program ends, and the next one begins to count.
        await one.channel.queueDelete(queue);
        await other.channel.queueDeclare({ queue, exclusive: true });
        await other.listen(queue);
        await ask(site, other, queue, "again");
        await until(() => other.got.length === 1, "the answer");
        expect(site.lines()).toHaveLength(2);
      }));
  });

  describe("a message that is delivered again after its server was killed", () => {
    const keyed: readonly [string, (site: Site, client: Stranger) => Promise<[replyTo: string, more: object]>][] = [
      [
        "by direct reply-to",
        async (_, client) => {
          await client.listen(DIRECT);
          return [DIRECT, {}];
        },
      ],
      ["by a queue that the broker has named", async (_, client) => [client.queue, {}]],
      [
        "by a shared queue, with a message_id",
        async (site, client) => [await shared(site, client), { messageId: "m" }],
      ],
      ["by a shared queue, without a key", async (site, client) => [await shared(site, client), {}]],
    ];
    for (const [how, setup] of keyed) {
      test(
        `runs once: ${how}`,
        () =>
          withSite(async (site, [client]) => {
            const [replyTo, more] = await setup(site, client);
            await client.send(
              { exchange: `${site.prefix}.calls`, routingKey: "shop.once", replyTo, correlationId: "1", ...more },
              '{"name":"slow","ms":60000}',
            );
            await until(() => site.count("once slow") === 1, "the effect");
            await site.killServer();
            await site.serve();
            if (replyTo.startsWith(site.prefix)) await client.listen(replyTo);
            const answer = (): Got | undefined => client.got.find(({ correlationId }) => correlationId === "1");
            await until(answer, "the answer", 20);
            expect(answer()).toMatchObject({ type: "fault", body: { code: "unavailable" } });
            const isKnown = how !== "by a shared queue, without a key";
            // It found its call, which says what became of it; or nobody can say.
            expect(answer()!.headers["backtalk-call"] !== undefined).toBe(isKnown);
            if (!isKnown) {
              expect(answer()).toMatchObject({ body: { retryable: false } });
              await until(async () => (await client.depth(`${site.prefix}.dead`)) === 1, "the dead letter");
            }
            await until(async () => (await client.depth(`${site.prefix}.calls.shop`)) === 0, "an empty queue");
            expect(site.count("once slow")).toBe(1);
          }),
        60_000,
      );
    }

    test(
      "runs once as a `call` of backtalk.v1 without a key too",
      () =>
        withSite(async (site, [client]) => {
          const frame = { type: "call", id: 1, method: "shop/once", input: { name: "framed", ms: 60_000 } };
          await client.send(
            {
              exchange: `${site.prefix}.calls`,
              routingKey: "shop.once",
              type: "backtalk.v1",
              replyTo: client.queue,
              correlationId: "1",
              contentType: "application/vnd.backtalk.v1+json",
            },
            JSON.stringify(frame),
          );
          await until(() => site.count("once framed") === 1, "the effect");
          await site.killServer();
          await site.serve();
          const faults = () => client.got.map(({ body }) => String(body)).filter((body) => body.includes('"fault"'));
          await until(() => faults().length > 0, "the answer", 20);
          expect(JSON.parse(faults()[0]!)).toMatchObject({ id: 1, fault: { code: "unavailable", retryable: false } });
          expect(site.count("once framed")).toBe(1);
        }),
      60_000,
    );

    test(
      "does not swallow another that is the same in name",
      () =>
        withSite(async (site, [client]) => {
          const queue = await shared(site, client);
          const names = ["a", "b", "c"];
          for (const name of names) {
            await client.send(
              { exchange: `${site.prefix}.calls`, routingKey: "shop.once", replyTo: queue, correlationId: "1" },
              JSON.stringify({ name, ms: 60_000 }),
            );
          }
          await until(() => site.lines().length === 3, "the effects");
          await site.killServer();
          await site.serve();
          await client.listen(queue);
          await until(() => client.got.length === 3, "an answer to each", 20);
          await until(async () => (await client.depth(`${site.prefix}.dead`)) === 3, "the dead letters");
          expect(site.lines()).toHaveLength(3);
        }),
      60_000,
    );
  });
}
