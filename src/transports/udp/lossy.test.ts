/** A network that loses, doubles and reorders; servers that are restarted under it. Time runs faster here. */
import { afterEach, describe, expect, test } from "bun:test";
import { z } from "zod";
import { datagramRelay, type RelayOptions } from "../../../suites/transport/relay.ts";
import { faultOf, open, until } from "../../../suites/transport/world.ts";
import { service, unary } from "../../contract/index.ts";
import { Fault, type Store } from "../../log/index.ts";
import { createCore, memoryStore } from "../../server.ts";
import { seeded } from "../../wire/seed.ts";
import { type Clock, udpPeer } from "./client.ts";
import { type UdpListener, udpListener } from "./server.ts";

const FASTER = 40;
const now = () => performance.now() * FASTER;
const clock: Clock = {
  now,
  after(ms, run) {
    const timer = setTimeout(run, ms / FASTER);
    return () => clearTimeout(timer);
  },
};

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

/** Counts how often each number was run, through restarts. */
class Counted {
  readonly runs = new Map<number, number>();
  readonly store: Store = memoryStore();
  port = 0;
  #stop: () => Promise<void> = async () => {};
  listener: UdpListener | undefined;

  async start(): Promise<this> {
    const counted = service("c", {
      add: unary({ input: z.object({ n: z.number(), ms: z.number() }), output: z.number() }, async ({ n, ms }) => {
        this.runs.set(n, (this.runs.get(n) ?? 0) + 1);
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
        return n * 2;
      }),
    });
    const core = createCore(counted, { store: this.store, drainMs: 50 });
    await core.start();
    const listener = await udpListener(core, { hostname: "127.0.0.1", port: this.port, now });
    this.listener = listener;
    this.port = listener.port;
    this.#stop = async () => {
      await core.drain();
      await listener.stop();
    };
    return this;
  }

  async stop(): Promise<void> {
    await this.#stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}

async function world(options: RelayOptions) {
  const server = await new Counted().start();
  const relay = await datagramRelay(server.port, options);
  const peer = () => {
    const made = udpPeer({ url: `udp://127.0.0.1:${relay.port}`, clock, random: seeded(options.seed) });
    ending.push(() => made.close());
    return made;
  };
  ending.push(
    () => server.store.close(),
    () => server.stop(),
    () => relay.close(),
  );
  return { server, relay, peer };
}

describe("over a bad network", () => {
  for (const seed of [1, 2, 3]) {
    test(`each call is run once and answered: 30% lost, 20% double, reordered, seed ${seed}`, async () => {
      const { server, relay, peer } = await world({ seed, loss: 0.3, duplicate: 0.2, delayMs: 5 });
      const random = seeded(seed);
      const peers = [peer(), peer(), peer()];
      const numbers = Array.from({ length: 100 }, (_, n) => n);
      const results = await Promise.allSettled(
        numbers.map(async (n) => {
          const input = { n, ms: random() < 0.2 ? Math.floor(random() * 40) : 0 };
          return (await open(peers[n % 3]!, "c/add", { input })).result();
        }),
      );
      // Six times lost in a row happens too: then the call is reported as unknown, and is not run twice either.
      const failed = results.filter(({ status }) => status === "rejected");
      expect(failed.length).toBeLessThanOrEqual(numbers.length * 0.1);
      for (const [n, result] of results.entries()) {
        if (result.status === "fulfilled") expect([n, result.value, server.runs.get(n)]).toEqual([n, n * 2, 1]);
        else expect(result.reason).toMatchObject({ code: "unavailable", retryable: true });
        expect(server.runs.get(n) ?? 0).toBeLessThanOrEqual(1);
      }
      expect(relay.lost).toBeGreaterThan(40);
      expect(relay.doubled).toBeGreaterThan(20);
    }, 60_000);
  }

  test("with 10% lost all are answered", async () => {
    const { server, peer } = await world({ seed: 9, loss: 0.1, duplicate: 0.3, delayMs: 4 });
    const one = peer();
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    const results = await Promise.all(
      numbers.map(async (n) => (await open(one, "c/add", { input: { n, ms: 0 } })).result()),
    );
    expect(results).toEqual(numbers.map((n) => 2 * n));
    expect([...new Set(server.runs.values())]).toEqual([1]);
    expect(server.runs.size).toBe(200);
  }, 60_000);
});

describe("a server that is restarted", () => {
  for (const seed of [1, 2, 3, 4]) {
    test(`runs no call twice, and with a key each once, seed ${seed}`, async () => {
      const { server, peer } = await world({ seed, loss: 0.2, duplicate: 0.3, delayMs: 30 });
      const random = seeded(seed + 100);
      const peers = [peer(), peer(), peer(), peer()];
      let isDone = false;
      const restarts = (async () => {
        for (let n = 0; n < 6 && !isDone; n++) {
          await new Promise((resolve) => setTimeout(resolve, 40 + random() * 120));
          await server.restart();
        }
      })();
      const ends = await Promise.all(
        Array.from({ length: 160 }, async (_, n) => {
          const key = n % 2 === 0 ? { key: `k${n}` } : {};
          await new Promise((resolve) => setTimeout(resolve, random() * 900));
          try {
            const input = { n, ms: n % 3 === 0 ? 15 : 0 };
            const result = await (await open(peers[n % 4]!, "c/add", { input, ...key })).result();
            return result === n * 2 ? "ok" : "wrong";
          } catch (thrown) {
            return thrown instanceof Fault ? thrown.code : "defect";
          }
        }),
      );
      isDone = true;
      await restarts;
      // That the test does something: most are answered, and none in another way than these.
      expect(ends.filter((end) => end === "ok").length).toBeGreaterThan(80);
      expect(ends.filter((end) => end !== "ok" && end !== "unavailable")).toEqual([]);
      for (const [n, runs] of server.runs) expect([n, runs]).toEqual([n, 1]);
      for (const [n, end] of ends.entries()) if (end === "ok") expect([n, server.runs.get(n)]).toEqual([n, 1]);
    }, 60_000);
  }

  test("says that nobody knows whether a call without a key ran; one with a key is replayed", async () => {
    const { server } = await world({ seed: 1 });
    // All answers are lost from some time on.
    let isDeaf = false;
    const direct = await deafRelay(server.port, () => isDeaf);
    ending.push(() => direct.close());
    const peer = udpPeer({ url: `udp://127.0.0.1:${direct.port}`, clock, random: seeded(1) });
    ending.push(() => peer.close());
    await (await open(peer, "c/add", { input: { n: 0, ms: 0 } })).result();
    isDeaf = true;
    const plain = faultOf(async () => (await open(peer, "c/add", { input: { n: 1, ms: 0 } })).result());
    const keyed = open(peer, "c/add", { input: { n: 2, ms: 0 }, key: "two" }).then((exchange) => exchange.result());
    await until(() => server.runs.size === 3, "both to run");
    await server.restart();
    isDeaf = false;
    const fault = await plain;
    expect(fault).toMatchObject({ code: "unavailable", retryable: true });
    expect(fault.message).toContain("restarted");
    expect(fault.detail?.["sent"]).toBeUndefined();
    expect(await keyed).toBe(4);
    expect([...server.runs]).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
  });

  test("takes what an idle client asks first after it, at once", async () => {
    const { server, peer } = await world({ seed: 1 });
    const one = peer();
    const ask = async (n: number) => (await open(one, "c/add", { input: { n, ms: 0 } })).result();
    await ask(1);
    await server.restart();
    // The server must have been up for longer than a datagram takes to vouch that it has not come before.
    const restartedAt = now();
    await until(() => now() > restartedAt + 1_000, "a second of the clock of this test");
    expect(await ask(2)).toBe(4);
  });
});

/** Passes datagrams both ways; answers are lost while `isDeaf`. */
async function deafRelay(target: number, isDeaf: () => boolean) {
  const { createSocket } = await import("node:dgram");
  const [near, far] = [createSocket("udp4"), createSocket("udp4")];
  let client = 0;
  for (const socket of [near, far]) {
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  }
  near.on("message", (bytes, { port }) => {
    client = port;
    far.send(bytes, target, "127.0.0.1");
  });
  far.on("message", (bytes) => {
    if (!isDeaf()) near.send(bytes, client, "127.0.0.1");
  });
  return {
    port: near.address().port,
    close() {
      near.close();
      far.close();
    },
  };
}
