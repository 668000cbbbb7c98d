import { afterEach, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { createServer, type Socket } from "node:net";
import { LIMITS } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import { makeCertificate } from "./certificate.ts";
import { checkCertificate, listenFault } from "./faults.ts";
import { choosesAlpn, speaksH2c, speaksQuic } from "./probe.ts";
import { type Served, type ServeOptions, serve } from "./serve.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0)) await end();
});

const certificate = makeCertificate(["localhost", "127.0.0.1"], Date.now());

async function start(options: Partial<ServeOptions<undefined>> = {}): Promise<Served> {
  const served = await serve<undefined>({
    hostname: "127.0.0.1",
    fetch: (request) => new Response(`hello ${new URL(request.url).pathname}`),
    limits: LIMITS,
    ...options,
  });
  ending.push(() => served.stop());
  return served;
}

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("no fault came");
}

/** A server of plain TCP that says this to whoever connects. */
async function plain(says: string): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.end(says);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ending.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

describe("what listens", () => {
  test("every version of HTTP that is said to be there answers", async () => {
    const { listeners } = await start({ port: 0, tls: { ...certificate, port: 0 } });
    expect(listeners.map(({ protocols, missing }) => [protocols, missing])).toEqual([
      [["http/1.1", "h2c"], []],
      [["http/1.1", "h2", "h3"], []],
    ]);
    const [http, https] = listeners as [(typeof listeners)[0], (typeof listeners)[0]];
    expect(await (await fetch(`${http.url}/a`)).text()).toBe("hello /a");
    for (const protocol of ["http1.1", "http2", "http3"]) {
      const tls = protocol === "http3" ? { rejectUnauthorized: false } : { ca: certificate.cert };
      const answer = await fetch(`${https.url}/b`, { protocol, tls } as RequestInit);
      expect(await answer.text()).toBe("hello /b");
    }
  });

  test("a WebSocket handler is hosted on both", async () => {
    const { listeners } = await start({
      port: 0,
      tls: { ...certificate, port: 0 },
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no")),
      websocket: { message: (ws, message) => void ws.send(message) },
    });
    for (const { url } of listeners) {
      const options = { tls: { ca: certificate.cert } } as never;
      const ws = new WebSocket(url.replace("http", "ws"), options);
      const echo = await new Promise((resolve, reject) => {
        ws.onopen = () => ws.send("x");
        ws.onmessage = ({ data }) => resolve(data);
        ws.onerror = reject;
      });
      expect(echo).toBe("x");
      ws.close();
    }
  });

  test("what answers otherwise, or not at all, does not count", async () => {
    const port = await plain("HTTP/1.1 400 Bad Request\r\n\r\n");
    const address = { host: "127.0.0.1", port };
    expect(await speaksH2c(address, 300)).toBe(false);
    expect(await choosesAlpn(address, "h2", 300)).toBe(false);
    expect(await speaksQuic(address, 100)).toBe(false);
    const { listeners } = await start({ port: 0 });
    expect(await speaksQuic({ host: "127.0.0.1", port: listeners[0]!.port }, 100)).toBe(false);
  });

  test("a body above all limits is refused by the listener, an error of the handler shows nothing", async () => {
    const { listeners } = await start({
      port: 0,
      limits: { bodyBytes: 1_000, callBytes: 2_000 },
      fetch: async (request) => {
        if (request.url.endsWith("/defect")) throw new Error("secret");
        return new Response(String((await request.text()).length));
      },
    });
    const { url } = listeners[0]!;
    expect(await (await fetch(url, { method: "POST", body: "x".repeat(2_500) })).text()).toBe("2500");
    expect((await fetch(url, { method: "POST", body: "x".repeat(5_000) })).status).toBe(413);
    const defect = await fetch(`${url}/defect`);
    expect([defect.status, await defect.text()]).toEqual([500, ""]);
  });
});

describe("what cannot listen says why, and nothing is left", () => {
  test("a port that is in use: which one, and how to choose another", async () => {
    const { listeners } = await start({ port: 0 });
    const { port } = listeners[0]!;
    const fault = await faultOf(start({ port }));
    expect(fault).toMatchObject({ code: "unavailable", retryable: false, detail: { port } });
    expect(fault.message).toContain(String(port));
    expect(fault.hint).toContain("--port");
    const second = await faultOf(start({ port: 0, tls: { ...certificate, port } }));
    expect(second.hint).toContain("--tls-port");
    expect(await (await fetch(`${listeners[0]!.url}/still`)).text()).toBe("hello /still");
  });

  test("a port that is free for TCP and in use for UDP, where HTTP/3 goes", async () => {
    const seen: string[] = [];
    // The same number may be in use for TCP too: then it is that which is told, and another is tried.
    while (!seen.some((message) => message.includes("UDP")) && seen.length < 50) {
      const udp = createSocket("udp4");
      await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve));
      ending.push(() => udp.close());
      const fault = await faultOf(start({ tls: { ...certificate, port: udp.address().port } }));
      expect(fault.code).toBe("unavailable");
      seen.push(fault.message);
    }
    expect(seen.at(-1)).toContain("UDP");
  });

  test("the first listener is closed when the second one fails", async () => {
    const taken = await plain("");
    const free = await plain("");
    for (const end of ending.splice(-1)) await end();
    await faultOf(start({ port: free, tls: { ...certificate, port: taken } }));
    await start({ port: free });
  });

  test("an address of another machine, and what is no port", async () => {
    expect(await faultOf(start({ port: 0, hostname: "203.0.113.9" }))).toMatchObject({ code: "invalid_argument" });
    expect(await faultOf(start({ port: 70_000 }))).toMatchObject({ code: "invalid_argument" });
    expect(await faultOf(start())).toMatchObject({ code: "invalid_argument" });
  });

  test("a port that needs a right", () => {
    const thrown = Object.assign(new Error("x"), { code: "EACCES" });
    const fault = listenFault(thrown, { hostname: "0.0.0.0", port: 443, option: "--tls-port" });
    expect(fault).toMatchObject({ code: "permission_denied", hint: expect.stringContaining("--tls-port") });
    expect(listenFault(new Error("odd"), { hostname: "h", port: 1, option: "o" }).message).toContain("odd");
  });

  test("a certificate that is unreadable, of another key, or over", () => {
    const other = makeCertificate(["localhost"], Date.now());
    const thrown = (given: { cert: string; key: string }, now = Date.now()) => {
      try {
        checkCertificate(given, now);
      } catch (fault) {
        return fault;
      }
      return undefined;
    };
    expect(thrown(certificate)).toBeUndefined();
    expect(thrown({ ...certificate, cert: "x" })).toMatchObject({ code: "invalid_argument" });
    expect(thrown({ ...certificate, key: "x" })).toMatchObject({ code: "invalid_argument" });
    expect(thrown({ ...certificate, key: other.key })).toMatchObject({ message: expect.stringContaining("key") });
    expect(thrown(certificate, Date.now() + 91 * 86_400_000)).toMatchObject({ code: "failed_precondition" });
  });
});

describe("stopping", () => {
  test("waits for what is under way, and takes nothing new", async () => {
    const [entered, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { listeners, stop } = await start({
      port: 0,
      fetch: async () => {
        entered.resolve();
        await gate.promise;
        return new Response("finished");
      },
    });
    const { url } = listeners[0]!;
    const answer = fetch(url);
    await entered.promise;
    const stopped = stop(30_000);
    expect(
      await fetch(url).then(
        () => "answered",
        () => "refused",
      ),
    ).toBe("refused");
    gate.resolve();
    expect(await (await answer).text()).toBe("finished");
    await stopped;
  });

  test("cuts what takes too long, and can be asked for twice", async () => {
    const entered = Promise.withResolvers<void>();
    const { listeners, stop } = await start({
      port: 0,
      fetch: () => {
        entered.resolve();
        return new Promise<Response>(() => {});
      },
    });
    const answer = fetch(listeners[0]!.url).then(
      () => "answered",
      () => "cut",
    );
    await entered.promise;
    await stop(20);
    await stop();
    expect(await answer).toBe("cut");
  });
});
