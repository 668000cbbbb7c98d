import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROTOCOL, readIp, readTcp } from "../../src/wire/packet/ip.ts";
import { availability, type Wire, wire } from "./index.ts";
import { LINK_BYTES } from "./router.ts";
import { checkLink } from "./selfcheck.ts";

const found = availability();
if (!found.isAvailable) {
  if (process.env["CI"]) throw new Error(`${found.why}; ${found.remedy}`);
  console.log(`skipped: ${found.why}`);
}

const PEER = new URL("./testing-peer.ts", import.meta.url);

describe.skipIf(!found.isAvailable)("a network of namespaces", () => {
  let net: Wire;

  beforeAll(async () => {
    net = await wire({
      hosts: {
        client: { up: { delayMs: 20 }, down: { delayMs: 20 } },
        server: {},
        inside: { address: "192.168.1.2", nat: { type: "port-restricted", outside: "203.0.113.1" } },
      },
      seed: 7,
    });
  });
  afterAll(() => net.stop());

  const host = (name: string) => net.hosts[name]!;

  test("has the delay that was asked for", async () => {
    await net.capture();
    const check = await checkLink(host("client"), host("server"));
    expect([check.answered, check.sent]).toEqual([50, 50]);
    expect(check.rttMs).toBeGreaterThanOrEqual(40);
    // By the wire's own clock, and the quickest: a busy machine adds to the others.
    const ways = (await net.capture()).map(({ at, leftAt }) => (leftAt! - at) / 1e6);
    expect(Math.min(...ways)).toBeWithin(20, 21);
  });

  test("carries TCP, and captures it as it was sent", async () => {
    const [server, client] = await Promise.all([host("server").start(PEER), host("client").start(PEER)]);
    await net.capture();
    const port = await server.call<number>("serve", host("server").address);
    const text = "x".repeat(100_000);
    expect(await client.call<string>("echo", host("server").address, port, text)).toBe(text);
    const segments = (await net.capture()).flatMap((seen) => {
      const ip = readIp(seen.bytes, LINK_BYTES)!;
      const tcp = ip.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
      return tcp ? [{ seen, tcp }] : [];
    });
    expect(segments[0]!.tcp.flags).toMatchObject({ syn: true, ack: false });
    expect(segments[1]!.tcp.flags).toMatchObject({ syn: true, ack: true });
    // Not their sum: a busy machine makes TCP send something twice.
    const bytes = (from: number) => {
      const own = segments.filter(({ seen }) => seen.from === from);
      return Math.max(...own.map(({ tcp }) => tcp.sequence + tcp.payload.length)) - own[0]!.tcp.sequence - 1;
    };
    expect([bytes(0), bytes(1)]).toEqual([text.length, text.length]);
    // Without offloads no packet is larger than the link's.
    expect(Math.max(...segments.map(({ seen }) => seen.size))).toBeLessThanOrEqual(1_514);
    await Promise.all([server.stop(), client.stop()]);
  });

  test("translates behind a NAT box, and lets in what was asked for", async () => {
    const [server, client] = await Promise.all([host("server").start(PEER), host("inside").start(PEER)]);
    const port = await server.call<number>("serve", host("server").address);
    expect(await client.call<string>("echo", host("server").address, port, "through")).toBe("through");
    expect(await server.call<string[]>("seen")).toEqual(["203.0.113.1"]);
    await Promise.all([server.stop(), client.stop()]);
  });

  test("drops what a rule names, once", async () => {
    const [server, client] = await Promise.all([host("server").start(PEER), host("client").start(PEER)]);
    const port = await server.call<number>("serve", host("server").address);
    await net.capture();
    await net.setDrops([{ host: "client", of: "data", first: 1, last: 1 }]);
    expect(await client.call<string>("echo", host("server").address, port, "again")).toBe("again");
    const seen = await net.capture();
    expect(seen.filter(({ drop }) => drop !== undefined).map(({ drop }) => drop)).toEqual(["rule"]);
    await net.setDrops([]);
    await Promise.all([server.stop(), client.stop()]);
  });

  test("passes nothing while a host is cut off", async () => {
    await host("server").cut(true);
    expect((await checkLink(host("client"), host("server"), 3)).answered).toBe(0);
    await host("server").cut(false);
    expect((await checkLink(host("client"), host("server"), 3)).answered).toBe(3);
  });
});

describe.skipIf(!found.isAvailable)("when it is over", () => {
  /** Processes whose command line has this text. */
  const processes = (text: string) =>
    spawnSync("ps", ["-eo", "pid,args"], { encoding: "utf8" })
      .stdout.split("\n")
      .filter((line) => line.includes(text) && !line.includes("ps -eo"));

  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    test(`by ${signal}, nothing is left`, async () => {
      const mark = `backtalk-left-${process.pid}-${signal}`;
      const temporary = mkdtempSync(join(tmpdir(), "backtalk-left-"));
      const child = Bun.spawn([process.execPath, new URL("./testing-left.ts", import.meta.url).pathname, mark], {
        env: { ...process.env, TMPDIR: temporary },
        stdout: "pipe",
        stderr: "inherit",
      });
      const { value } = await child.stdout.getReader().read();
      const { daemon, holder } = JSON.parse(new TextDecoder().decode(value)) as Record<string, number>;
      expect(processes(mark).length).toBeGreaterThanOrEqual(2);
      const namespace = spawnSync("readlink", [`/proc/${holder}/ns/net`], { encoding: "utf8" }).stdout;
      expect(namespace).toStartWith("net:");
      expect(readdirSync(temporary)).toEqual([expect.stringMatching(/^backtalk-wire-/)]);
      child.kill(signal);
      await child.exited;
      await until(() => processes(mark).length === 0 && !isAlive(daemon!) && !isAlive(holder!));
      await until(() => readdirSync(temporary).length === 0 && processes(temporary).length === 0);
      rmdirSync(temporary);
    });
  }
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not come to pass in thirty seconds");
    await Bun.sleep(20);
  }
}
