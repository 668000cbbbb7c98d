/** Topics joined with an exchange. */
import { afterAll, describe, expect, test } from "bun:test";
import { noBroker, startBroker } from "../../../suites/broker/broker.ts";
import { until } from "../../../suites/transport/world.ts";
import { memoryStore } from "../../server.ts";
import { shopServer, stranger } from "./testing.ts";

const why = noBroker();
if (why) test.skip(`amqp, topics (${why})`, () => {});
else {
  const broker = await startBroker();
  afterAll(() => broker.stop());

  const publish = async (server: Awaited<ReturnType<typeof shopServer>>, text: string) =>
    (await server.open("topics/notes", undefined)).append({ items: [{ text }] });
  const texts = async (server: Awaited<ReturnType<typeof shopServer>>): Promise<string[]> => {
    const found: string[] = [];
    for await (const page of (await server.open("topics/notes", undefined)).read({ from: "start", follow: false })) {
      found.push(...page.events.map(({ json }) => (JSON.parse(json) as { text: string }).text));
    }
    return found;
  };
  /** A queue of a stranger that hears all of an exchange. */
  const ear = async (prefix: string) => {
    const client = await stranger(broker.url);
    await client.channel.exchangeDeclare({ exchange: `${prefix}.topics`, type: "topic", durable: true });
    await client.channel.queueBind({ queue: client.queue, exchange: `${prefix}.topics`, routingKey: "#" });
    return client;
  };

  describe("out", () => {
    test("each event goes out once, in order, with its cursor", async () => {
      const server = await shopServer(broker.url, { topics: ["notes"] });
      const client = await ear(server.prefix);
      const cursors: string[] = [];
      for (let n = 0; n < 50; n++) cursors.push((await publish(server, String(n))).cursor);
      await until(() => client.got.length >= 50, "the events");
      expect(client.got.map(({ body }) => (body as { text: string }).text)).toEqual(
        Array.from({ length: 50 }, (_, n) => String(n)),
      );
      expect(client.got.map(({ envelope }) => envelope.messageId)).toEqual(cursors);
      client.close();
      await server.stop();
    });

    test("what is published while nobody sends goes out later, from the stored place", async () => {
      const store = memoryStore();
      const first = await shopServer(broker.url, { topics: "*", store });
      const { prefix } = first;
      const client = await ear(prefix);
      await publish(first, "before");
      await until(() => client.got.length === 1);
      await first.stop();
      const alone = await shopServer(broker.url, { prefix, store });
      await publish(alone, "meanwhile");
      await alone.stop();
      const second = await shopServer(broker.url, { prefix, topics: "*", store });
      await publish(second, "after");
      await until(() => client.got.length >= 3, "the rest");
      expect(client.got.map(({ body }) => (body as { text: string }).text)).toEqual(["before", "meanwhile", "after"]);
      client.close();
      await second.stop();
    });

    test("a broker that is killed while events are published loses none", async () => {
      const server = await shopServer(broker.url, { topics: "*" });
      const heard = await stranger(broker.url);
      const queue = `${server.prefix}.heard`;
      await heard.channel.exchangeDeclare({ exchange: `${server.prefix}.topics`, type: "topic", durable: true });
      await heard.channel.queueDeclare({ queue, durable: true, arguments: { "x-queue-type": "quorum" } });
      await heard.channel.queueBind({ queue, exchange: `${server.prefix}.topics`, routingKey: "notes" });
      heard.close();
      await broker.restart();
      await until(() => server.started.unready().length === 0);
      const killed = broker.kill().then(() => broker.start());
      let isBack = false;
      void killed.then(() => {
        isBack = true;
      });
      let n = 0;
      for (; !isBack || n < 50; n++) {
        await publish(server, String(n));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await killed;
      const client = await stranger(broker.url);
      await client.listen(queue);
      const heardTexts = () => client.got.map(({ body }) => (body as { text: string }).text);
      await until(() => new Set(heardTexts()).size === n, `all ${n}`);
      const once = [...new Map(client.got.map(({ envelope, body }) => [envelope.messageId, body])).values()];
      expect(once.map((body) => (body as { text: string }).text)).toEqual(
        Array.from({ length: n }, (_, i) => String(i)),
      );
      client.close();
      await server.stop();
    }, 90_000);
  });

  describe("in", () => {
    test("a message is published once for its id, and what is no event becomes a dead letter", async () => {
      const server = await shopServer(broker.url, { topics: "*" });
      const client = await stranger(broker.url);
      const to = { exchange: `${server.prefix}.topics`, routingKey: "notes" };
      for (const messageId of ["1", "1", "2"]) await client.send({ ...to, messageId }, '{"text":"hi"}');
      await client.send(to, '{"text":1}');
      await client.send(to, "no JSON");
      await client.send({ ...to, messageId: "3" }, '{"text":"last"}');
      await until(async () => (await texts(server)).includes("last"));
      expect(await texts(server)).toEqual(["hi", "hi", "last"]);
      await until(async () => (await client.depth(`${server.prefix}.dead`)) === 2, "the dead letters");
      client.close();
      await server.stop();
    });

    test("messages of one conversation are each an event", async () => {
      const server = await shopServer(broker.url, { topics: "*" });
      const clients = [await stranger(broker.url), await stranger(broker.url)];
      for (const client of clients) {
        const to = { exchange: `${server.prefix}.topics`, routingKey: "notes", replyTo: client.queue };
        for (let n = 0; n < 2; n++) await client.send({ ...to, correlationId: "1" }, '{"text":"talk"}');
      }
      await until(async () => (await texts(server)).length === 4, "all four");
      expect(await texts(server)).toEqual(["talk", "talk", "talk", "talk"]);
      for (const client of clients) client.close();
      await server.stop();
    });

    test("nothing goes round: not by one server, and not by two that share an exchange", async () => {
      const one = await shopServer(broker.url, { topics: "*" });
      const two = await shopServer(broker.url, { topics: "*", prefix: one.prefix });
      const client = await ear(one.prefix);
      await publish(one, "of one");
      await publish(two, "of two");
      await client.send(
        { exchange: `${one.prefix}.topics`, routingKey: "notes", messageId: "s" },
        '{"text":"of a stranger"}',
      );
      for (const server of [one, two]) await until(async () => (await texts(server)).length === 3, "all three");
      // What comes after would come after an echo too.
      await publish(one, "end");
      for (const server of [one, two]) await until(async () => (await texts(server)).includes("end"), "the end");
      for (const server of [one, two]) {
        expect((await texts(server)).toSorted()).toEqual(["end", "of a stranger", "of one", "of two"]);
      }
      expect(client.got.map(({ body }) => (body as { text: string }).text).toSorted()).toEqual([
        "end",
        "of a stranger",
        "of one",
        "of two",
      ]);
      // Nothing is kept for what has passed.
      await publish(two, "tidy");
      await until(async () => {
        const { logs } = await two.store.list({ prefix: "bridges/amqp/in/", limit: 9 });
        return logs.every(({ events }) => events === 0);
      }, "the marks to go");
      client.close();
      await Promise.all([one.stop(), two.stop()]);
    });

    test("what an earlier process had begun to take in is finished, and does not go out", async () => {
      const store = memoryStore();
      const first = await shopServer(broker.url, { topics: "*", store });
      const { prefix } = first;
      await first.stop();
      const begun = { key: "half", event: { text: "half" }, principal: "" };
      await store.append("bridges/amqp/in/notes", [{ kind: "item", json: JSON.stringify(begun) }], {
        create: { kind: "bridge" },
      });
      const client = await ear(prefix);
      const second = await shopServer(broker.url, { topics: "*", prefix, store });
      await publish(second, "own");
      await client.send({ exchange: `${prefix}.topics`, routingKey: "notes", messageId: "half" }, '{"text":"half"}');
      await publish(second, "end");
      await until(() => client.got.some(({ body }) => (body as { text: string }).text === "end"));
      expect(client.got.map(({ body }) => (body as { text: string }).text).toSorted()).toEqual(["end", "half", "own"]);
      expect((await texts(second)).toSorted()).toEqual(["end", "half", "own"]);
      client.close();
      await second.stop();
    });
  });
}
