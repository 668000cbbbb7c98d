/** 50,000 datagrams that nobody asked for: memory stays, and others are served. */
import { afterEach, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { open, World } from "../../../suites/transport/world.ts";
import { DATAGRAM, encodeDatagram, jsonBytes } from "../../wire/datagram.ts";
import { seeded } from "../../wire/seed.ts";
import { newId, Sender, type UdpLink, udpLink } from "./testing.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

const FLOOD = 50_000;

async function start() {
  const link: UdpLink = udpLink();
  const world = await new World(link, {
    limits: { datagramRecords: 3_000, datagramRecordsPerAddress: 2_000, datagramRecordBytes: 256 * 1024 },
  }).start();
  ending.push(() => world.close());
  const seen = () =>
    [...world.core.metrics.text().matchAll(/backtalk_datagrams_total\{outcome="\w+"\} (\d+)/g)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  return { link, world, seen };
}

/** Sends in bursts that the system's buffers hold, and goes on when the server has looked at each. */
async function flood(port: number, from: readonly string[], seen: () => number, next: (n: number) => Uint8Array) {
  const sockets = await Promise.all(
    from.map(async (address) => {
      const socket = createSocket("udp4");
      socket.on("error", () => {});
      await new Promise<void>((resolve) => socket.bind(0, address, resolve));
      return socket;
    }),
  );
  for (let n = 0; n < FLOOD; ) {
    const before = seen();
    const burst = Math.min(100, FLOOD - n);
    for (const end = n + burst; n < end; n++) sockets[n % sockets.length]!.send(next(n), port, "127.0.0.1");
    for (let turns = 0; seen() < before + burst && turns < 200; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  for (const socket of sockets) socket.close();
}

function heapMb(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed / 2 ** 20;
}

test("garbage, and questions without a token from many ports", async () => {
  const { link, world, seen } = await start();
  const random = seeded(1);
  const peer = world.peer();
  expect(await (await open(peer, "t/echo", { input: "before" })).result()).toBe("before");
  // Ports of many addresses: 127/8 is all of this machine, on Linux.
  const from = Array.from({ length: 200 }, (_, n) => (process.platform === "linux" ? `127.1.0.${n + 1}` : "127.0.0.1"));
  const garbage = () => Uint8Array.from({ length: Math.floor(random() * 200) }, () => random() * 256);
  const unproven = () =>
    encodeDatagram(DATAGRAM.ask, newId(), jsonBytes({ method: "t/echo", input: "x" }), garbage().subarray(0, 32));
  const before = heapMb();
  const ends: unknown[] = [];
  const other = setInterval(() => {
    ends.push(open(peer, "t/echo", { input: "meanwhile" }).then((exchange) => exchange.result()));
  }, 20);
  await flood(link.port, from, seen, (n) => (n % 2 === 0 ? garbage() : unproven()));
  clearInterval(other);
  expect(ends.length).toBeGreaterThan(5);
  expect(new Set(await Promise.all(ends))).toEqual(new Set(["meanwhile"]));
  expect(link.listener.memory.records).toBeLessThanOrEqual(ends.length + 1);
  expect(heapMb() - before).toBeLessThan(20);
}, 120_000);

test("good questions of one address: its answers are bounded, and others are served", async () => {
  const { link, world, seen } = await start();
  const one = await Sender.open(link.port, process.platform === "linux" ? "127.1.0.1" : "127.0.0.1");
  ending.push(() => one.close());
  await one.prove();
  const peer = world.peer();
  const before = heapMb();
  const ends: Promise<unknown>[] = [];
  for (let n = 0; n < FLOOD; ) {
    const was = seen();
    const burst = Math.min(100, FLOOD - n);
    for (const end = n + burst; n < end; n++) {
      void one.raw(
        encodeDatagram(DATAGRAM.ask, newId(), jsonBytes({ method: "t/echo", input: "x".repeat(300) }), one.token),
      );
    }
    for (let turns = 0; seen() < was + burst && turns < 200; turns++)
      await new Promise((resolve) => setImmediate(resolve));
    one.heard.length = 0;
    if (n % 5_000 === 0) ends.push(open(peer, "t/echo", { input: n }).then((exchange) => exchange.result()));
  }
  expect(await Promise.all(ends)).toEqual(Array.from({ length: FLOOD / 5_000 }, (_, n) => (n + 1) * 5_000));
  const { records, bytes } = link.listener.memory;
  expect(records).toBeLessThanOrEqual(2_000 + ends.length);
  expect(records).toBeGreaterThanOrEqual(process.platform === "linux" ? 2_000 : 1);
  expect(bytes).toBeLessThanOrEqual(256 * 1024);
  expect(heapMb() - before).toBeLessThan(30);
}, 120_000);
