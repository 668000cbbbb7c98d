/** Calls that wait for workers, in one process. Those that are killed are in suites/broker. */
import { afterAll, describe, expect, test } from "bun:test";
import { z } from "zod";
import { noBroker, startBroker } from "../../../suites/broker/broker.ts";
import shop from "../../../suites/broker/service.ts";
import { faultOf, items, page, read, state, until } from "../../../suites/transport/world.ts";
import { bidi, service } from "../../contract/index.ts";
import { Jobs } from "./jobs.ts";
import { shopServer, stranger } from "./testing.ts";
import { startWorker } from "./worker.ts";

const why = noBroker();
if (why) test.skip(`amqp, jobs (${why})`, () => {});
else {
  const broker = await startBroker();
  afterAll(() => broker.stop());
  const worker = (prefix: string, more: object = {}) =>
    startWorker({ url: broker.url, prefix, services: [shop], concurrency: 4, drainMs: 1_000, ...more });

  describe("jobs", () => {
    test("run in a worker: result, items, progress, fault, publishing", async () => {
      const server = await shopServer(broker.url);
      const running = await worker(server.prefix);
      expect(running.methods).toContain("shop/charge");
      expect(await (await server.open("shop/charge", { name: "a" })).result()).toEqual({ name: "a", attempt: 1 });
      const stream = await read(await server.open("shop/render", { name: "r", frames: 100, ms: 0 }));
      expect(items(stream.events)).toEqual(Array.from({ length: 100 }, (_, n) => n));
      expect(stream.events.some(({ kind }) => kind === "progress")).toBe(true);
      const fault = await faultOf(async () => (await server.open("shop/refuses", { name: "x" })).result());
      expect(fault.toJSON()).toEqual({ code: "failed_precondition", message: "not x", retryable: false });
      await (await server.open("shop/announces", { name: "hello" })).result();
      const { events } = await page(await server.open("topics/notes", undefined));
      expect(events.map(({ json }) => JSON.parse(json))).toEqual([{ text: "hello" }]);
      await until(async () => (await server.store.list({ prefix: "jobs/", limit: 9 })).logs.length === 0, "tidiness");
      await running.stop();
      await server.stop();
    });

    test("with the same key are one job", async () => {
      const server = await shopServer(broker.url);
      const running = await worker(server.prefix);
      const results = await Promise.all(
        Array.from({ length: 10 }, async () =>
          (await server.open("shop/charge", { name: "k" }, { key: "k" })).result(),
        ),
      );
      expect(new Set(results.map((each) => JSON.stringify(each))).size).toBe(1);
      await running.stop();
      await server.stop();
    });

    test("wait for a worker; bad input makes none", async () => {
      const server = await shopServer(broker.url);
      const client = await stranger(broker.url);
      await faultOf(() => server.open("shop/charge", { name: 1 }), "invalid_argument");
      const exchange = await server.open("shop/charge", { name: "w" });
      const queue = `${server.prefix}.jobs.shop.charge`;
      await until(async () => (await client.depth(queue)) === 1, "the job");
      const running = await worker(server.prefix);
      expect(await exchange.result()).toEqual({ name: "w", attempt: 1 });
      await until(async () => (await client.depth(queue)) === 0);
      client.close();
      await running.stop();
      await server.stop();
    });

    test("are cancelled while they run, and while they wait", async () => {
      const server = await shopServer(broker.url);
      const waiting = await server.open("shop/stubborn", { name: "never" });
      await waiting.cancel();
      const running = await worker(server.prefix, { concurrency: 1 });
      const exchange = await server.open("shop/stubborn", { name: "runs" });
      await until(
        async () => (await server.store.list({ prefix: `jobs/${exchange.id}`, limit: 1 })).logs[0]?.events === 3,
        "the claim",
      );
      await exchange.cancel();
      expect(await state(exchange)).toMatchObject({ state: "cancelled" });
      // The worker is free again.
      expect(await (await server.open("shop/charge", { name: "next" })).result()).toMatchObject({ name: "next" });
      await running.stop();
      await server.stop();
    });

    test("have a deadline, which reaches the worker", async () => {
      const server = await shopServer(broker.url);
      const running = await worker(server.prefix, { concurrency: 1 });
      const exchange = await server.open("shop/stubborn", { name: "late" }, { deadline: Date.now() + 300 });
      await faultOf(() => exchange.result(), "deadline_exceeded");
      expect(await (await server.open("shop/charge", { name: "next" })).result()).toMatchObject({ name: "next" });
      await running.stop();
      await server.stop();
    });

    test("are no more at once than the worker's concurrency", async () => {
      const server = await shopServer(broker.url);
      const client = await stranger(broker.url);
      const calls = await Promise.all(
        Array.from({ length: 9 }, (_, n) => server.open("shop/charge", { name: String(n), ms: 30 })),
      );
      await until(async () => (await client.depth(`${server.prefix}.jobs.shop.charge`)) === 9, "the jobs");
      const running = await worker(server.prefix, { concurrency: 2 });
      let most = 0;
      const claims = async () => {
        const { logs } = await server.store.list({ prefix: "jobs/", limit: 100 });
        most = Math.max(most, logs.filter(({ last }) => last?.json.includes('"claim"')).length);
      };
      let isOver = false;
      const watching = (async () => {
        while (!isOver) {
          await claims();
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      })();
      await Promise.all(calls.map((call) => call.result()));
      isOver = true;
      await watching;
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(2);
      client.close();
      await running.stop();
      await server.stop();
    });

    test("that wait in a queue which is deleted are published again", async () => {
      const server = await shopServer(broker.url);
      const client = await stranger(broker.url);
      const running = await worker(server.prefix, { concurrency: 1 });
      const busy = await server.open("shop/stubborn", { name: "busy" });
      await until(
        async () => (await server.store.list({ prefix: `jobs/${busy.id}`, limit: 1 })).logs[0]?.events === 3,
        "the claim",
      );
      const waiting = await server.open("shop/charge", { name: "lost" });
      const queue = `${server.prefix}.jobs.shop.charge`;
      await until(
        async () => (await server.store.list({ prefix: `jobs/${waiting.id}`, limit: 1 })).logs[0]?.events === 2,
        "the job",
      );
      await client.channel.queueDelete(queue);
      await busy.cancel();
      expect(await waiting.result()).toMatchObject({ name: "lost" });
      client.close();
      await running.stop();
      await server.stop();
    }, 60_000);

    test("cannot take many inputs", async () => {
      const many = service("many", {
        talk: bidi({ input: z.string(), item: z.string(), queue: true }, async function* (given) {
          yield* given;
        }),
      });
      expect(() => new Jobs().services([many])).toThrow("many inputs");
    });
  });
}
