/** Calls from queues, by a client that knows nothing of Backtalk. */
import { afterAll, describe, expect, test } from "bun:test";
import { noBroker, startBroker } from "../../../suites/broker/broker.ts";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import { faultOf, until } from "../../../suites/transport/world.ts";
import { Fault, type Page } from "../../log/index.ts";
import { checkBroker } from "./check.ts";
import { amqpPeer } from "./client.ts";
import { parseUrl } from "./names.ts";
import { shopServer, stranger } from "./testing.ts";

const why = noBroker();
if (why) test.skip(`amqp, the server (${why})`, () => {});
else {
  const certificate = testCertificate();
  const broker = await startBroker({ tls: certificate });
  afterAll(() => broker.stop());

  describe("plain messages", () => {
    test("are answered to reply_to with their correlation_id, by type and by routing key", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const queue = `${server.prefix}.calls.shop`;
      for (const envelope of [
        { routingKey: queue, type: "shop/sum" },
        { routingKey: queue, type: "shop.sum" },
        { exchange: `${server.prefix}.calls`, routingKey: "shop.sum" },
      ]) {
        const [answer, ...more] = await client.ask(
          { ...envelope, correlationId: crypto.randomUUID() },
          '{"a":1,"b":2}',
        );
        expect(answer).toMatchObject({ type: "result", body: 3 });
        expect(more).toEqual([]);
      }
      await until(async () => (await client.depth(queue)) === 0);
      client.close();
      await server.stop();
    });

    test("are answered by direct reply-to", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      await client.listen("amq.rabbitmq.reply-to");
      const [answer] = await client.ask(
        { exchange: `${server.prefix}.calls`, routingKey: "shop.sum", replyTo: "amq.rabbitmq.reply-to" },
        '{"a":20,"b":22}',
      );
      expect(answer).toMatchObject({ type: "result", body: 42 });
      client.close();
      await server.stop();
    });

    test("that ask for a stream get its items in order, then its end", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const answers = await client.ask({ exchange: `${server.prefix}.calls`, routingKey: "shop.count" }, '{"to":700}');
      expect(answers.slice(0, -1).map(({ body }) => body)).toEqual(Array.from({ length: 700 }, (_, n) => n + 1));
      expect(answers.at(-1)).toMatchObject({ type: "result" });
      const cursors = answers.slice(0, -1).map(({ headers }) => headers["backtalk-cursor"] as string);
      expect(cursors).toEqual(cursors.toSorted());
      client.close();
      await server.stop();
    });

    test("with the same message_id are one call, with another input they are refused", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const envelope = { exchange: `${server.prefix}.calls`, routingKey: "shop.once", messageId: "m1" };
      const [first] = await client.ask(envelope, '{"name":"a"}');
      const [again] = await client.ask(envelope, '{"name":"a"}');
      expect(again).toMatchObject({ type: "result", body: "a" });
      expect(again!.headers["backtalk-call"]).toBe(first!.headers["backtalk-call"]);
      const [other] = await client.ask(envelope, '{"name":"b"}');
      expect(other).toMatchObject({ type: "fault", body: { code: "invalid_argument", detail: { key: "reused" } } });
      client.close();
      await server.stop();
    });

    test("that are bad are answered by a fault, kept as dead letters, and not delivered again", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const to = (type: string) => ({ routingKey: `${server.prefix}.calls.shop`, type });
      const bad: readonly [object, string, string][] = [
        [to("shop.sum"), "{not json", "invalid_argument"],
        [to("shop.sum"), '{"a":"x"}', "invalid_argument"],
        [to("shop.nothing"), "{}", "not_found"],
        [{ ...to("shop.sum"), contentType: "application/octet-stream" }, "\xff", "invalid_argument"],
        [to("backtalk.v1"), '{"type":"call"', "invalid_argument"],
        [to("shop.sum"), "[".repeat(200_000), "invalid_argument"],
      ];
      for (const [envelope, body, code] of bad) {
        const correlationId = crypto.randomUUID();
        const bytes = body === "\xff" ? new Uint8Array([0xff, 0xfe]) : body;
        await client.send({ replyTo: client.queue, correlationId, ...envelope }, bytes);
        await until(() => client.got.some((each) => each.correlationId === correlationId), "the fault");
        const got = client.got.find((each) => each.correlationId === correlationId)!;
        expect(JSON.stringify(got.body)).toContain(code);
      }
      await client.send(to("shop.sum"), "nobody hears of it");
      const dead = `${server.prefix}.dead`;
      await until(async () => (await client.depth(dead)) === bad.length + 1, "the dead letters");
      expect(await client.depth(`${server.prefix}.calls.shop`)).toBe(0);
      const [good] = await client.ask(to("shop.sum"), '{"a":1,"b":1}');
      expect(good).toMatchObject({ body: 2 });
      client.close();
      await server.stop();
    });

    test("that want their answer in a queue of the server's are not run, and answered nowhere", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const { prefix } = server;
      const dead = `${prefix}.dead`;
      const queues = [`${prefix}.calls.shop`, dead, `${prefix}.jobs.shop.count`];
      for (const replyTo of queues) {
        const envelope = { exchange: `${prefix}.calls`, routingKey: "shop.count", replyTo, correlationId: "1" };
        await client.send(envelope, '{"to":50}');
      }
      await until(async () => (await client.depth(dead)) === queues.length, "the dead letters");
      const [good] = await client.ask({ exchange: `${prefix}.calls`, routingKey: "shop.sum" }, '{"a":1,"b":1}');
      expect(good).toMatchObject({ body: 2 });
      expect(await client.depth(dead)).toBe(queues.length);
      expect(await client.depth(`${prefix}.calls.shop`)).toBe(0);
      client.close();
      await server.stop();
    });

    test("show their credentials in a header, or by a user_id that the broker has checked", async () => {
      const authenticate = ({ bearer }: { bearer?: string }) => {
        if (bearer === "ann's") return { id: "ann" };
        throw new Fault("unauthenticated", "who is it?");
      };
      const server = await shopServer(broker.url, { trustUsers: true, core: { authenticate } });
      const client = await stranger(broker.url);
      const envelope = { exchange: `${server.prefix}.calls`, routingKey: "shop.sum" };
      const input = '{"a":1,"b":1}';
      expect((await client.ask(envelope, input))[0]).toMatchObject({ body: { code: "unauthenticated" } });
      const headers = { authorization: "Bearer ann's" };
      expect((await client.ask({ ...envelope, headers }, input))[0]).toMatchObject({ body: 2 });
      expect((await client.ask({ ...envelope, userId: "guest" } as object, input))[0]).toMatchObject({ body: 2 });
      client.close();
      await server.stop();
    });

    test("wait for a server, and no more than prefetch are worked on at once", async () => {
      const first = await shopServer(broker.url);
      const { prefix } = first;
      await first.stop();
      const client = await stranger(broker.url);
      const ids = Array.from({ length: 12 }, (_, n) => `wait ${n}`);
      for (const id of ids) {
        const envelope = { exchange: `${prefix}.calls`, routingKey: "shop.once", messageId: id, replyTo: client.queue };
        await client.send({ ...envelope, correlationId: id }, JSON.stringify({ name: id, ms: 40 }));
      }
      const server = await shopServer(broker.url, { prefix, prefetch: 3 });
      let most = 0;
      await until(async () => {
        const { logs } = await server.store.list({ prefix: "calls/", state: "open", limit: 100 });
        most = Math.max(most, logs.length);
        return client.got.filter(({ type }) => type === "result").length === ids.length;
      }, "all answers");
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(3);
      client.close();
      await server.stop();
    });
  });

  describe("the broker", () => {
    test("is asked for its version, and what is none is refused", async () => {
      expect(await checkBroker(broker.url, undefined, 5_000)).toMatchObject({ product: "RabbitMQ" });
      const http = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("no") });
      const fault = await faultOf(() => checkBroker(`amqp://127.0.0.1:${http.port}`, undefined, 5_000));
      expect(["failed_precondition", "unavailable"]).toContain(fault.code);
      await http.stop(true);
      await faultOf(() => checkBroker("amqp://127.0.0.1:1", undefined, 5_000), "unavailable");
    });

    test("that refuses the credentials is told of at once, without them", async () => {
      const url = broker.url.replace("guest:guest", "guest:hunter2");
      const fault = await faultOf(() => shopServer(url), "permission_denied");
      expect(JSON.stringify([fault, fault.message, String(fault.cause)])).not.toContain("hunter2");
      expect(parseUrl(url).shown).not.toContain("hunter2");
    });

    test("with a queue of the same name and other settings is refused with a hint", async () => {
      const client = await stranger(broker.url);
      await client.channel.queueDeclare({ queue: "odd.calls.shop", durable: true });
      const fault = await faultOf(() => shopServer(broker.url, { prefix: "odd" }), "failed_precondition");
      expect(fault.hint).toContain("prefix");
      client.close();
    });

    test("is reached over TLS, and not with a certificate that nobody trusts", async () => {
      const url = `amqps://guest:guest@localhost:${broker.tlsPort}`;
      await faultOf(() => shopServer(url), "unavailable");
      const server = await shopServer(url, { tls: { ca: certificate.cert } });
      const peer = amqpPeer({ url, prefix: server.prefix, tls: { ca: certificate.cert } });
      const exchange = await peer({ to: "shop/sum", input: { a: 2, b: 3 }, principal: { id: "" }, via: "test" });
      expect(await exchange.result()).toBe(5);
      await peer.close();
      await server.stop();
    });

    test("that loses a queue gets it back, which the operator is told", async () => {
      const [server, client] = await Promise.all([shopServer(broker.url), stranger(broker.url)]);
      const queue = `${server.prefix}.calls.shop`;
      await client.channel.queueDelete(queue);
      await until(() => server.notes.some((note) => note.includes("deleted")), "the note");
      await until(() => server.started.unready().length === 0, "the queue");
      const [answer] = await client.ask(
        { exchange: `${server.prefix}.calls`, routingKey: "shop.sum" },
        '{"a":1,"b":2}',
      );
      expect(answer).toMatchObject({ body: 3 });
      client.close();
      await server.stop();
    });

    test("that restarts while a request is worked on brings it again, and it is answered once", async () => {
      const server = await shopServer(broker.url);
      const before = await stranger(broker.url);
      const replies = `${server.prefix}.replies`;
      await before.channel.queueDeclare({ queue: replies, durable: true, arguments: { "x-queue-type": "quorum" } });
      const to = { exchange: `${server.prefix}.calls`, replyTo: replies, routingKey: "shop.once" };
      await before.send({ ...to, messageId: "m", correlationId: "first" }, '{"name":"slow","ms":3000}');
      await until(async () => (await server.store.list({ prefix: "calls/", limit: 9 })).logs.length === 1, "the call");
      before.close();
      await broker.restart();
      await until(() => server.started.unready().length === 0, "the connection", 20);
      const after = await stranger(broker.url);
      await after.listen(replies);
      await until(() => after.got.length > 0, "the answer", 20);
      // What comes after would come after a second answer too.
      await after.ask({ ...to, messageId: "n", correlationId: "last" }, '{"name":"quick"}');
      expect(after.got.map(({ correlationId }) => correlationId)).toEqual(["first", "last"]);
      expect((await server.store.list({ prefix: "calls/", limit: 9 })).logs).toHaveLength(2);
      after.close();
      await server.stop();
    }, 60_000);

    test("that restarts is seen in readiness; readers come back and miss nothing", async () => {
      const server = await shopServer(broker.url);
      const peer = amqpPeer({ url: broker.url, prefix: server.prefix });
      const call = { to: "topics/notes", principal: { id: "" }, via: "test" };
      const topic = await server.core.peer(call);
      const seen: string[] = [];
      let from: "start" | Page["cursor"] = "start";
      const reading = (async () => {
        while (seen.length < 30) {
          try {
            for await (const page of (await peer(call)).read({ from, follow: true })) {
              seen.push(...page.events.map(({ json }) => (JSON.parse(json) as { text: string }).text));
              from = page.cursor;
              if (seen.length >= 30) return;
            }
          } catch (thrown) {
            expect(thrown).toMatchObject({ retryable: true });
          }
        }
      })();
      let isEnough = false;
      const restarted = broker.restart().finally(() => {
        isEnough = true;
      });
      await until(() => server.started.unready().length > 0, "the loss");
      for (let n = 0; n < 30; n++) {
        await topic.append({ items: [{ text: String(n) }] });
        if (!isEnough) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await restarted;
      await reading;
      expect(seen).toEqual(Array.from({ length: 30 }, (_, n) => String(n)));
      await until(() => server.started.unready().length === 0, "the connection");
      await peer.close();
      await server.stop();
    }, 90_000);
  });
}
