/** Breaks at every byte, and at random ones by seed: everything comes once and in order, and nothing is done twice. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientOver } from "./client.ts";
import { type Cuts, cutting, type Sample, type Served, serve } from "./testing/server.ts";
import { fastEnvironment, seeded } from "./testing/tools.ts";
import type { Client, ClientOptions } from "./types.ts";

let server: Served;
beforeAll(async () => {
  server = await serve();
});
afterAll(() => server.stop());

function clientCut(cuts: Cuts, options: Partial<ClientOptions> = {}): Client<Sample> {
  const environment = fastEnvironment(() => 0.05, 100);
  return clientOver<Sample>("http://server", {
    fetch: cutting(server.fetch, cuts),
    environment,
    waitMs: 1000,
    pollMs: 500,
    ...options,
  });
}

/** Cuts most answers somewhere, some before their header; now and then one comes whole. */
function randomCuts(random: () => number): Cuts {
  return {
    next() {
      const kind = random();
      if (kind < 0.15) return -1;
      return kind < 0.8 ? Math.floor(random() ** 2 * 1500) : undefined;
    },
  };
}

async function list<T>(items: AsyncIterable<T>, most = Number.POSITIVE_INFINITY): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) if (all.push(item) >= most) break;
  return all;
}

const upTo = (to: number) => Array.from({ length: to }, (_, i) => i + 1);

for (const transport of ["sse", "long-poll", "poll"] as const) {
  test(`${transport}: a stream whose answer is cut at every byte`, async () => {
    let isCut = true;
    for (let cut = -1; isCut; cut++) {
      isCut = false;
      let answers = 0;
      // The first answer that has events.
      const first = transport === "sse" ? 1 : 2;
      const cuts = {
        next() {
          return ++answers === first ? cut : undefined;
        },
      };
      const client = clientCut(cuts, { transport, onRetry: () => (isCut = true) });
      const before = server.runs.count;
      expect((await list(client.sample.count({ to: 3 }))).map(({ n }) => n)).toEqual(upTo(3));
      expect(server.runs.count - before).toBe(1);
      client.close();
    }
  }, 60_000);

  describe(`${transport}: everything cut by seed`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      test(`seed ${seed}`, async () => {
        const client = clientCut(randomCuts(seeded(seed)), { transport, attempts: 100 });
        const { runs } = server;
        const before = { ...runs };
        const name = `${transport}${seed}`;
        expect((await list(client.sample.count({ to: 60 }))).map(({ n }) => n)).toEqual(upTo(60));
        expect(runs.count - before.count).toBe(1);
        expect(await client.sample.add({}, { retry: true })).toEqual({ runs: before.add + 1 });
        async function* numbers() {
          for (const n of upTo(150)) yield n;
        }
        expect(await client.sample.sum(numbers())).toEqual({ sum: 11_325, items: 150 });
        async function* texts() {
          for (const n of upTo(30)) yield { text: `t${n}` };
        }
        const echoes = await list(client.sample.echo(texts()));
        expect(echoes).toEqual(upTo(30).map((n) => ({ text: `T${n}`, n: n - 1 })));
        const call = await client.sample.slow.start({ gate: name });
        server.gate(name).resolve();
        expect(await call.result).toEqual({ ok: true });
        expect((await list(call.events)).map(({ kind }) => kind)).toEqual(["open", "progress", "progress", "end"]);
        const start = await client.topics.news.publish({ n: 0 });
        const reading = list(client.topics.news.subscribe({ after: start.cursor }), 20);
        for (const n of upTo(20)) await client.topics.news.publish({ n });
        expect((await reading).map(({ data }) => data.n)).toEqual(upTo(20));
        client.close();
      }, 60_000);
    }
  });
}
