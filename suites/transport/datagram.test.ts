/** A call that was opened by a datagram is read over every other transport, and the other way round. */
import { afterEach, describe, expect, test } from "bun:test";
import { udpPeer } from "../../src/transports/udp/client.ts";
import { udpListener } from "../../src/transports/udp/server.ts";
import { allLinks } from "./links.ts";
import { items, kinds, open, read, state, until, World } from "./world.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

describe("a call opened over UDP", () => {
  for (const [name, link] of Object.entries(allLinks())) {
    test(`is read over ${name}, from its start and from a cursor`, async () => {
      const world = await new World(link).start();
      ending.push(() => world.close());
      const listener = await udpListener(world.core, { hostname: "127.0.0.1", port: 0 });
      const udp = udpPeer({ url: listener.url });
      ending.push(
        () => listener.stop(),
        () => udp.close(),
      );
      const exchange = await open(udp, "t/gate", { input: { source: "u" }, keep: true });
      expect(exchange.id).toMatch(/^c[0-9a-z]{26}$/);
      const source = world.control.source("u");
      source.push({ progress: 1 });
      await until(async () => (await state(exchange)).progress === 1, "the progress");
      // The place of the state holds on the other transport.
      const { cursor } = await state(exchange);
      const other = await world.open(`calls/${exchange.id}`);
      const rest = read(other, cursor);
      source.push({ progress: 2 }, "done");
      expect(kinds((await rest).events)).toEqual(["progress", "end"]);
      const { events, verdict } = await read(other);
      expect(verdict.verdict).toBe("recovered");
      expect(kinds(events)).toEqual(["open", "progress", "progress", "end"]);
      expect(await exchange.result()).toBe("done");
      expect((await state(exchange)).cursor).toBe(events.at(-1)!.cursor);
    });

    test(`with a result that fits no datagram gives it over ${name}`, async () => {
      const world = await new World(link).start();
      ending.push(() => world.close());
      const listener = await udpListener(world.core, { hostname: "127.0.0.1", port: 0 });
      const udp = udpPeer({ url: listener.url });
      ending.push(
        () => listener.stop(),
        () => udp.close(),
      );
      const stream = await world.open("t/big", { input: { items: 3, bytes: 900 }, keep: true });
      expect(items((await read(stream)).events)).toHaveLength(3);
      // One that was opened there is seen here.
      expect(await state(await open(udp, `calls/${stream.id}`))).toMatchObject({ state: "done", method: "t/big" });
      const exchange = await open(udp, "t/gate", { input: { source: "l" }, key: "large" });
      const text = "x".repeat(5_000);
      world.control.source("l").push(text);
      const fault = await Promise.resolve(exchange.result()).then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(fault).toMatchObject({
        code: "resource_exhausted",
        limit: "datagramBytes",
        detail: { call: exchange.id },
      });
      expect(await (await world.open(`calls/${exchange.id}`)).result()).toBe(text);
    });
  }
});
