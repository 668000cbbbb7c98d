import { describe, expect, test } from "bun:test";
import { PROTOCOL, readIp, readTcp, readUdp, sum, writeChecksums } from "../../src/wire/packet/ip.ts";
import { Drops, parseDrop } from "./drops.ts";
import { Direction, MS } from "./link.ts";
import { NAT_TYPES, type NatType } from "./nat.ts";
import { LINK_BYTES, Router } from "./router.ts";
import { attach, type HostSpec } from "./spec.ts";
import { udpFrame } from "./testing.ts";

describe("a direction of a link", () => {
  test("has the same luck for the n-th packet of a seed, however packets are spaced", () => {
    const how = { loss: 0.2, jitterMs: 5, duplicate: 0.1, reorder: 0.1 };
    const fates = (step: number) => {
      const direction = new Direction(how, 7);
      return Array.from({ length: 500 }, (_, n) => {
        const fate = direction.offer(n * step, 100);
        return fate.drop ?? fate.at.length;
      });
    };
    expect(fates(1)).toEqual(fates(50 * MS));
    expect(fates(1).filter((fate) => fate === "loss").length).toBeWithin(70, 130);
    expect(fates(1)).not.toEqual(Array.from(fates(1), () => 1));
  });

  test("keeps order under jitter, and delays by what it was told", () => {
    const direction = new Direction({ delayMs: 10, jitterMs: 20 }, 1);
    let last = 0;
    for (let n = 0; n < 1_000; n++) {
      const fate = direction.offer(n * MS, 100);
      if (fate.drop !== undefined) throw new Error("dropped");
      expect(fate.at[0]).toBeGreaterThanOrEqual(last);
      expect(fate.at[0]! - n * MS).toBeGreaterThanOrEqual(10 * MS);
      last = fate.at[0]!;
    }
  });

  test("sends at its rate, and drops what its queue has no room for", () => {
    // 8 Mbit/s are 1,000 bytes a millisecond.
    const direction = new Direction({ rateBps: 8e6, queueBytes: 5_000 }, 1);
    const fates = Array.from({ length: 10 }, () => direction.offer(0, 1_000));
    expect(fates.map((fate) => fate.drop ?? fate.at[0]! / MS)).toEqual([1, 2, 3, 4, 5, ...Array(5).fill("queue")]);
    expect(direction.offer(2 * MS, 1_000)).toEqual({ at: [6 * MS] });
  });

  test("loses in bursts as Gilbert and Elliott say", () => {
    const direction = new Direction({ loss: { toBad: 0.01, toGood: 0.25 } }, 3);
    const lost = Array.from({ length: 20_000 }, () => direction.offer(0, 1).drop === "loss");
    const rate = lost.filter(Boolean).length / lost.length;
    const starts = lost.filter((each, n) => each && !lost[n - 1]).length;
    // The stationary share of the bad state is 0.01 / 0.26, and a burst has four packets on average.
    expect(rate).toBeWithin(0.03, 0.047);
    expect(lost.filter(Boolean).length / starts).toBeWithin(3.2, 4.8);
  });
});

describe("targeted drops", () => {
  test("count packets of a class by the host that sends them", () => {
    const drops = new Drops([parseDrop("server data 2-3", ["client", "server"])]);
    const data = udpFrame("10.0.0.2", 1, "10.0.0.1", 2, "x");
    const empty = udpFrame("10.0.0.2", 1, "10.0.0.1", 2, "");
    const of = (host: string, frame: Uint8Array) => drops.isDropped(host, frame, LINK_BYTES);
    expect([of("server", data), of("server", empty), of("client", data)]).toEqual([false, false, false]);
    expect([of("server", data), of("server", data), of("server", data)]).toEqual([true, true, false]);
  });

  test("that cannot be say what can", () => {
    for (const text of [
      "",
      "server",
      "server data",
      "nobody data 1",
      "server dat 1",
      "server data 0",
      "server data 3-2",
    ]) {
      expect(() => parseDrop(text, ["client", "server"])).toThrow(/write it as "HOST CLASS N".*client, server/);
    }
  });
});

describe("the router", () => {
  const frame = udpFrame("10.0.0.1", 1000, "10.0.0.2", 2000, "hello");
  const router = (hosts: Record<string, HostSpec>, seed = 1) => new Router(attach(hosts), { seed });

  test("adds the delays of both links", () => {
    const { deliveries, to } = router({ a: { up: { delayMs: 3 } }, b: { down: { delayMs: 4 } } }).route(
      0,
      0,
      frame.slice(),
    );
    expect([to, deliveries[0]!.at]).toEqual([1, 7 * MS]);
  });

  test("has no way to addresses that nobody has", () => {
    expect(router({ a: {} }).route(0, 0, frame.slice()).drop).toBe("route");
  });

  test("tells the sender of packets that are too large for a link", () => {
    const large = udpFrame("10.0.0.1", 1000, "10.0.0.2", 2000, "x".repeat(1_300));
    const { drop, deliveries } = router({ a: {}, b: { down: { mtu: 1_280 } } }).route(5, 0, large);
    const notice = readIp(deliveries[0]!.bytes, LINK_BYTES)!;
    expect([drop, deliveries[0]!.to, notice.protocol]).toEqual(["mtu", 0, PROTOCOL.icmp]);
    expect([...notice.payload.subarray(0, 2), (notice.payload[6]! << 8) | notice.payload[7]!]).toEqual([3, 4, 1_280]);
    expect([sum(notice.payload), sum(deliveries[0]!.bytes, 14, 34)]).toEqual([0xffff, 0xffff]);
  });

  test("passes nothing while a host is cut off", () => {
    const cut = router({ a: {}, b: {} });
    cut.cut(1, true);
    expect(cut.route(0, 0, frame.slice()).drop).toBe("cut");
    cut.cut(1, false);
    expect(cut.route(0, 0, frame.slice()).deliveries).toHaveLength(1);
  });
});

describe("NAT", () => {
  /** What somebody outside can send back after the inside spoke to `b` port 1 only. */
  const reached: Record<NatType, readonly [sameEndpoint: boolean, samePeerOtherPort: boolean, otherPeer: boolean]> = {
    "full-cone": [true, true, true],
    "address-restricted": [true, true, false],
    "port-restricted": [true, false, false],
    symmetric: [true, false, false],
  };
  for (const [type, expected] of Object.entries(reached) as [NatType, readonly boolean[]][]) {
    test(type, () => {
      const hosts = attach({
        inside: { address: "192.168.1.2", nat: { type, outside: "203.0.113.1" } },
        b: { address: "10.0.0.2" },
        c: { address: "10.0.0.3" },
      });
      const router = new Router(hosts, {});
      const send = (port: number, to: string) => {
        const sent = router.route(0, 0, udpFrame("192.168.1.2", 5000, to, port, "out"));
        const packet = readIp(sent.deliveries[0]!.bytes, LINK_BYTES)!;
        expect(packet.source).toBe("203.0.113.1");
        expect(sum(sent.deliveries[0]!.bytes, 14, 34)).toBe(0xffff);
        return readUdp(packet.payload)!.sourcePort;
      };
      const outside = send(1, "10.0.0.2");
      const isIn = (from: number, address: string, port: number) => {
        const { drop, deliveries } = router.route(0, from, udpFrame(address, port, "203.0.113.1", outside, "in"));
        if (drop !== undefined) return drop === "nat" ? false : drop;
        const packet = readIp(deliveries[0]!.bytes, LINK_BYTES)!;
        expect([packet.destination, readUdp(packet.payload)!.destinationPort]).toEqual(["192.168.1.2", 5000]);
        return true;
      };
      expect([isIn(1, "10.0.0.2", 1), isIn(1, "10.0.0.2", 9), isIn(2, "10.0.0.3", 1)]).toEqual([...expected]);
      expect(send(1, "10.0.0.3") === outside).toBe(type !== "symmetric");
      expect(send(1, "10.0.0.2")).toBe(outside);
      router.rebind(0);
      expect(send(1, "10.0.0.2")).not.toBe(outside);
    });
  }

  test("has a name for each type", () => expect(Object.keys(NAT_TYPES)).toHaveLength(4));
});

describe("packets", () => {
  test("with new checksums read as before", () => {
    const frame = udpFrame("10.0.0.1", 1, "10.0.0.2", 2, "odd");
    const packet = readIp(frame, LINK_BYTES)!;
    const before = frame.slice();
    writeChecksums(frame, packet);
    expect(frame).toEqual(before);
  });

  test("that are cut anywhere read as nothing, and never throw", () => {
    const frame = udpFrame("10.0.0.1", 1, "10.0.0.2", 2, "some text");
    for (let length = 0; length < frame.length; length++)
      expect(readIp(frame.subarray(0, length), LINK_BYTES)).toBeUndefined();
    for (let length = 0; length < 20; length++) expect(readTcp(frame.subarray(0, length))).toBeUndefined();
  });
});
