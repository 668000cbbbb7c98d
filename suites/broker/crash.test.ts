/**
 * Server, workers and broker are killed while jobs run. Every call has one end, every stream each of its items
 * once; what must not run twice does not, and what may goes on where it was.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { toolsOf } from "../store/case.ts";
import { until } from "../transport/world.ts";
import { noBroker, startBroker } from "./broker.ts";
import { Site } from "./site.ts";

const why = noBroker();
if (why) test.skip(`jobs that are interrupted (${why})`, () => {});
else {
  const broker = await startBroker();
  afterAll(() => broker.stop());

  /** Once at the right time; the moment is the seed's. */
  const scenario = async (seed: number, victim: "server" | "worker" | "broker"): Promise<void> => {
    const { random } = toolsOf(seed);
    const site = new Site(broker, victim === "broker" ? 10_000 : 2_000);
    try {
      await site.serve();
      await site.work();
      await site.work();
      if (victim === "broker") await broker.restart();
      const charges = await Promise.all(
        Array.from({ length: 10 }, (_, n) => site.open("shop/charge", { name: `c${n}`, ms: 400 })),
      );
      const renders = await Promise.all(
        Array.from({ length: 4 }, (_, n) => site.open("shop/render", { name: `r${n}`, frames: 20, ms: 60 })),
      );
      const lines = 1 + Math.floor(random() * 8);
      await until(() => site.lines().length >= lines, "the work", 5);
      if (victim === "server") {
        await site.killServer();
        await site.serve();
      } else if (victim === "worker") await site.workers.shift()!.kill();
      else {
        await broker.kill();
        await broker.start();
      }
      for (const [n, exchange] of charges.entries()) {
        const { state, events } = await site.ended(exchange);
        expect(events.filter(({ kind }) => kind === "end" || kind === "fail")).toHaveLength(1);
        const ran = site.count(`charge c${n} `);
        if (victim !== "worker") expect(state).toMatchObject({ state: "done", result: { name: `c${n}`, attempt: 1 } });
        // Of a worker that was lost nobody knows how far it was: then it is not run again.
        else if (state.state === "failed") expect(state.fault?.code).toBe("unavailable");
        else expect(state.state).toBe("done");
        expect([n, ran]).toEqual([n, state.state === "done" || ran > 0 ? 1 : 0]);
      }
      for (const [n, exchange] of renders.entries()) {
        const { state, events } = await site.ended(exchange);
        expect([n, state.state]).toEqual([n, "done"]);
        const said = events.filter(({ kind }) => kind === "item").map(({ json }) => Number(json));
        expect(said).toEqual(Array.from({ length: 20 }, (_, frame) => frame));
        if (victim !== "worker") expect(site.count(`render r${n} `)).toBe(1);
      }
    } finally {
      await site.close();
    }
  };

  describe("jobs go on", () => {
    for (const seed of [1, 2, 3]) {
      test(`when the server is killed, seed ${seed}`, () => scenario(seed, "server"), 60_000);
      test(`when a worker is killed, seed ${seed}`, () => scenario(seed, "worker"), 60_000);
    }
    for (const seed of [1, 2, 3])
      test(`when the broker is killed, seed ${seed}`, () => scenario(seed, "broker"), 90_000);
  });

  test("a job that ends each of its workers ends too, and is kept as a dead letter", async () => {
    const site = new Site(broker);
    try {
      await site.serve();
      const exchange = await site.open("shop/poison", { name: "p" });
      // Whoever runs them starts them again.
      for (let n = 0; n < 3; n++) await site.work(1).catch(() => {});
      const { state } = await site.ended(exchange);
      expect(state).toMatchObject({ state: "failed", fault: { code: "unavailable", limit: "maxAttempts" } });
      expect(site.count("poison p")).toBe(2);
      const { stranger } = await import("../../src/transports/amqp/testing.ts");
      const client = await stranger(broker.url);
      await until(async () => (await client.depth(`${site.prefix}.dead`)) === 1, "the dead letter", 50);
      client.close();
    } finally {
      await site.close();
    }
  }, 60_000);

  test("what a worker says while there is no server is there for the next one", async () => {
    const site = new Site(broker);
    try {
      await site.serve();
      await site.work();
      const exchange = await site.open("shop/charge", { name: "alone", ms: 500 });
      await until(() => site.count("charge alone") === 1, "the work", 5);
      await site.killServer();
      await until(() => site.count("charged alone") === 1, "its end", 5);
      // The worker goes too: only the broker knows.
      await site.workers[0]!.stop();
      await site.serve();
      await site.work();
      expect((await site.ended(exchange)).state).toMatchObject({ state: "done", result: { attempt: 1 } });
      expect(site.count("charge alone")).toBe(1);
    } finally {
      await site.close();
    }
  }, 60_000);
}
