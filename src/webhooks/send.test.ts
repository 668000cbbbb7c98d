/** One attempt: where it may go, and what a receiver can do to it. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { developmentCertificate } from "../net/certificate.ts";
import { Addresses, isOpenPort } from "./address.ts";
import { type Resolved, type SendOptions, send } from "./send.ts";

const directory = mkdtempSync(join(tmpdir(), "backtalk-send-"));
const servers: { stop(): unknown }[] = [];
afterAll(async () => {
  for (const server of servers) await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

const LOCAL: Resolved = { address: "127.0.0.1", family: 4 };

function options(more: Partial<SendOptions> = {}): SendOptions {
  const resolve = async () => [LOCAL];
  return { addresses: new Addresses(["loopback"]), resolve, timeoutMs: 5000, now: Date.now, ...more };
}

function receive(fetch: (request: Request) => Response | Promise<Response>): number {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", idleTimeout: 0, fetch });
  servers.push({ stop: () => server.stop(true) });
  return server.port!;
}

describe("addresses", () => {
  test("are those of the internet", () => {
    const addresses = new Addresses();
    const closed = [
      "0.0.0.0",
      "0.1.2.3",
      "10.0.0.1",
      "100.64.0.1",
      "127.0.0.1",
      "127.255.255.255",
      "169.254.169.254",
      "172.16.0.1",
      "172.31.255.255",
      "192.0.0.8",
      "192.168.1.1",
      "198.18.0.1",
      "224.0.0.1",
      "239.255.255.255",
      "240.0.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "::127.0.0.1",
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "0:0:0:0:0:ffff:a00:1",
      "64:ff9b::a00:1",
      "fc00::1",
      "fd00:ec2::254",
      "fe80::1",
      "fe80::1%eth0",
      "fec0::1",
      "ff02::1",
      "2001:db8::1",
      "2002:7f00:1::",
      "2001::1",
      "",
      "localhost",
      "127.1",
      "0x7f000001",
      "2130706433",
    ];
    for (const address of closed) expect([address, addresses.isOpen(address)]).toEqual([address, false]);
    for (const address of ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]) {
      expect([address, addresses.isOpen(address)]).toEqual([address, true]);
    }
  });

  test("are also those that the operator allows, and no more", () => {
    const addresses = new Addresses(["10.1.0.0/16", "::1"]);
    expect(["10.1.2.3", "::ffff:10.1.2.3", "::1"].map((each) => addresses.isOpen(each))).toEqual([true, true, true]);
    expect(["10.2.0.1", "127.0.0.1"].map((each) => addresses.isOpen(each))).toEqual([false, false]);
    for (const bad of ["10.0.0.0/33", "10.0.0", "x", "10.0.0.0/", "::/129"])
      expect(() => new Addresses([bad])).toThrow(bad);
  });

  test("of other protocols' ports are closed", () => {
    expect([22, 25, 6667, 6379, 443, 8443].map(isOpenPort)).toEqual([false, false, false, true, true, true]);
  });
});

describe("an attempt", () => {
  test("is refused for an address of this network, however it is written", async () => {
    let asked = 0;
    const port = receive(() => {
      asked++;
      return new Response();
    });
    const strict = options({ addresses: new Addresses() });
    for (const host of [
      "127.0.0.1",
      "[::1]",
      "[::ffff:127.0.0.1]",
      "0.0.0.0",
      "2130706433",
      "0x7f.1",
      "name.example",
    ]) {
      const outcome = await send(new URL(`http://${host}:${port}/`), {}, "{}", strict);
      expect([host, outcome]).toEqual([host, { kind: "failed", why: expect.stringContaining("not of the internet") }]);
    }
    expect(asked).toBe(0);
  });

  test("goes to the address that was checked, whatever the name says a moment later", async () => {
    let asked = 0;
    const port = receive(() => {
      asked++;
      return new Response();
    });
    let questions = 0;
    // First an address of the internet, then this machine: a name that is made to rebind.
    const resolve = async () => [questions++ === 0 ? { address: "203.0.114.1", family: 4 } : LOCAL];
    const outcome = await send(
      new URL(`https://rebind.example:${port}/`),
      {},
      "{}",
      options({ resolve, addresses: new Addresses(), timeoutMs: 300 }),
    );
    expect(outcome.kind).toBe("failed");
    expect([questions, asked]).toEqual([1, 0]);
    // Of several addresses those that may not be sent to are not tried.
    const mixed = async () => [{ address: "10.0.0.1", family: 4 }, LOCAL];
    expect(await send(new URL(`http://mixed.example:${port}/`), {}, "{}", options({ resolve: mixed }))).toEqual({
      kind: "delivered",
      status: 200,
    });
    expect(asked).toBe(1);
  });

  test("keeps the name for TLS and Host, and checks the certificate", async () => {
    const certificate = await developmentCertificate({ directory, names: ["hook.example"] });
    let host: string | null = null;
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: certificate.cert, key: certificate.key },
      fetch: (request) => {
        host = request.headers.get("host");
        return new Response();
      },
    });
    servers.push({ stop: () => server.stop(true) });
    const ca = certificate.cert;
    const to = (name: string) => new URL(`https://${name}:${server.port}/`);
    expect(await send(to("hook.example"), {}, "{}", options({ ca }))).toEqual({ kind: "delivered", status: 200 });
    expect(host!).toBe(`hook.example:${server.port}`);
    expect((await send(to("wrong.example"), {}, "{}", options({ ca }))).kind).toBe("failed");
    expect((await send(to("hook.example"), {}, "{}", options())).kind).toBe("failed");
  });

  test("without TLS goes only where the operator allows it", async () => {
    const resolve = async () => [{ address: "203.0.114.1", family: 4 }];
    const outcome = await send(new URL("http://plain.example/"), {}, "{}", options({ resolve }));
    expect(outcome).toEqual({ kind: "failed", why: "only https is sent to the internet" });
    const port = await send(new URL("https://mail.example:25/"), {}, "{}", options({ resolve }));
    expect(port).toEqual({ kind: "failed", why: "port 25 is not for webhooks" });
  });

  test("does not follow a redirect", async () => {
    let asked = 0;
    const secret = receive(() => {
      asked++;
      return new Response();
    });
    for (const status of [301, 302, 307, 308]) {
      const port = receive(() => new Response(null, { status, headers: { location: `http://127.0.0.1:${secret}/` } }));
      expect(await send(new URL(`http://127.0.0.1:${port}/`), {}, "{}", options())).toMatchObject({
        kind: "failed",
        status,
      });
    }
    expect(asked).toBe(0);
  });

  test("reads little of an answer, and waits only so long for one", async () => {
    const giant = receive(() => {
      const stream = new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(65_536)) });
      return new Response(stream);
    });
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 5; i++) {
      expect(await send(new URL(`http://127.0.0.1:${giant}/`), {}, "{}", options())).toEqual({
        kind: "delivered",
        status: 200,
      });
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    const silent = receive(() => new Promise<Response>(() => {}));
    const began = performance.now();
    const outcome = await send(new URL(`http://127.0.0.1:${silent}/`), {}, "{}", options({ timeoutMs: 200 }));
    expect(outcome).toEqual({ kind: "failed", why: "no answer within 200 ms" });
    expect(performance.now() - began).toBeLessThan(20_000);
    const slowName = () => new Promise<never>(() => {});
    expect(
      (await send(new URL("https://slow.example/"), {}, "{}", options({ resolve: slowName, timeoutMs: 50 }))).kind,
    ).toBe("failed");
  });

  test("survives receivers that speak no HTTP", async () => {
    for (const reply of ["", "nonsense\r\n\r\n", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(200_000)}`]) {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        socket.end(reply);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      servers.push({ stop: () => server.close() });
      const { port } = server.address() as { port: number };
      expect((await send(new URL(`http://127.0.0.1:${port}/`), {}, "{}", options({ timeoutMs: 1000 }))).kind).toBe(
        "failed",
      );
    }
  });

  test("ends in time for a receiver that answers with another protocol, and that connection too", async () => {
    let isClosed = false;
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("close", () => {
        isClosed = true;
      });
      socket.resume();
      socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    servers.push({ stop: () => server.close() });
    const { port } = server.address() as { port: number };
    const outcome = await send(new URL(`http://127.0.0.1:${port}/`), {}, "{}", options({ timeoutMs: 500 }));
    expect(outcome.kind).toBe("failed");
    while (!isClosed) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  test("counts the status of an answer whose rest comes drop by drop", async () => {
    const dripping = receive(() => {
      const body = new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          controller.enqueue(new Uint8Array(1));
        },
      });
      return new Response(body);
    });
    expect(await send(new URL(`http://127.0.0.1:${dripping}/`), {}, "{}", options({ timeoutMs: 10_000 }))).toEqual({
      kind: "delivered",
      status: 200,
    });
  });

  test("says how long a receiver asks to wait", async () => {
    for (const [header, ms] of [
      ["120", 120_000],
      [new Date(1_800_000_060_000).toUTCString(), 60_000],
      ["x", undefined],
    ] as const) {
      const port = receive(() => new Response(null, { status: 503, headers: { "retry-after": header } }));
      const outcome = await send(
        new URL(`http://127.0.0.1:${port}/`),
        {},
        "{}",
        options({ now: () => 1_800_000_000_000 }),
      );
      expect([header, "retryAfterMs" in outcome ? outcome.retryAfterMs : undefined]).toEqual([header, ms]);
    }
  });
});
