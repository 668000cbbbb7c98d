/** Each claim, and each reason, against a real server that is good or bad in just that. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import type { Certificate } from "../../src/net/certificate.ts";
import { TRIED_NAMES } from "./finding.ts";
import { Place, probed } from "./testing.ts";

const place = new Place();
let good: Certificate;
const hi = () => new Response("hi");
const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) {
  if (process.env["CI"]) throw new Error("the tests of the probe need the program openssl");
  console.log("skipped: no openssl here to probe servers of one version of TLS");
}

beforeAll(async () => {
  good = await place.certificate();
});
afterAll(() => place.close());

const tls = () => ({ tls: { cert: good.cert, key: good.key } });

describe("a server of HTTP/1.1, 2 and 3", () => {
  test("is seen to speak all of them, with the time of each phase", async () => {
    const port = place.bun({ ...tls(), http2: true, http3: true, fetch: hi });
    const { report, of, says } = await probed(`https://localhost:${port}`, { ca: good.cert });
    expect(["h1", "h2", "h3", "alt-svc", "tls1.2", "tls1.3", "certificate"].map((name) => says(name as "h1"))).toEqual(
      Array(7).fill("yes"),
    );
    expect([says("tls1.0"), says("tls1.1")]).toEqual(Array(2).fill("tls_alert(protocol_version)"));
    expect(report.findings.map(({ name }) => name)).toEqual([...TRIED_NAMES]);
    expect(report.spoke).toBe(true);
    expect(report.target.speaks).toBe("tls");
    for (const name of ["h1", "h2"] as const) {
      const { namelookup, connect, appconnect, starttransfer, total, roundTrips } = of(name).phases!;
      const order = [namelookup, connect!, appconnect!, starttransfer!, total!];
      expect(order).toEqual(order.toSorted((a, b) => a - b));
      // TCP, TLS 1.3, the request.
      expect(roundTrips).toBe(3);
    }
    expect(of("h3").phases).toMatchObject({ appconnect: expect.any(Number), starttransfer: expect.any(Number) });
    expect(of("h3").phases!.connect).toBeUndefined();
  });

  test("chooses the post-quantum group, and says so in its ServerHello", async () => {
    const port = place.bun({ ...tls(), fetch: hi });
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(says("post-quantum")).toBe("yes");
    expect(of("tls1.3").facts).toMatchObject({ group: "X25519MLKEM768", hasHelloRetry: false, roundTrips: 1 });
    expect(of("tls1.2").facts).toMatchObject({ group: "X25519", roundTrips: 2 });
  });

  test("without TLS, and without a scheme", async () => {
    const port = place.bun({ http2: true, fetch: hi });
    const { report, of, says } = await probed(`127.0.0.1:${port}`);
    expect(report.target.speaks).toBe("plain");
    expect([says("h1"), says("h2c"), says("h3"), says("keep-alive")]).toEqual(["yes", "yes", "refused", "yes"]);
    expect([says("tls1.3"), says("h2")]).toEqual(Array(2).fill("not_tried(no TLS is spoken here)"));
    expect(of("h1").phases!.roundTrips).toBe(2);
  });

  test("without a scheme, with TLS", async () => {
    const port = place.bun({ ...tls(), fetch: hi });
    const { report, says } = await probed(`localhost:${port}`, { ca: good.cert });
    expect(report.target.speaks).toBe("tls");
    expect([says("h1"), says("h3")]).toEqual(["yes", "refused"]);
    expect(says("h2")).toMatch(/^(alpn_other|tls_alert)/);
  });

  test("over IPv6", async () => {
    const port = place.bun({ ...tls(), http2: true, http3: true, fetch: hi }, "::1");
    const { says, report } = await probed(`https://[::1]:${port}`, { isInsecure: true });
    expect([says("h1"), says("h2"), says("h3")]).toEqual(["yes", "yes", "yes"]);
    expect(report.target.addresses).toEqual(["::1"]);
  });
});

describe("TLS", () => {
  test.skipIf(!hasOpenssl)("1.2 alone", async () => {
    const port = await place.openssl(good, ["-tls1_2"]);
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect([says("tls1.2"), says("h1"), says("tls1.2-resumption")]).toEqual(["yes", "yes", "yes"]);
    expect([says("tls1.3"), says("post-quantum"), says("0rtt-tcp"), says("tls1.3-resumption")]).toEqual(
      Array(4).fill("tls_alert(protocol_version)"),
    );
    expect(of("h1").phases!.roundTrips).toBe(4);
    expect(of("tls1.2-resumption").facts!["roundTrips"]).toBe(1);
  });

  test.skipIf(!hasOpenssl)("1.3 alone, without ALPN and the post-quantum group", async () => {
    const port = await place.openssl(good, ["-tls1_3", "-groups", "X25519"]);
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect([says("tls1.3"), says("h1"), says("tls1.3-resumption")]).toEqual(["yes", "yes", "yes"]);
    expect(says("tls1.2")).toBe("tls_alert(protocol_version)");
    expect(says("h2")).toBe("alpn_other(none chosen)");
    expect(says("post-quantum")).toBe("not_offered");
    expect(of("tls1.3").facts).toMatchObject({ group: "X25519", alpn: null });
    expect(says("0rtt-tcp")).toBe("not_offered");
  });

  test.skipIf(!hasOpenssl)("with a HelloRetryRequest: one more round trip", async () => {
    const port = await place.openssl(good, ["-tls1_3", "-groups", "P-384"]);
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(of("tls1.3").facts).toMatchObject({ group: "P-384", hasHelloRetry: true, roundTrips: 2 });
    expect(of("h1").phases!.roundTrips).toBe(4);
    expect([says("0rtt-tcp"), says("tls1.3-resumption")]).toEqual(["not_offered", "yes"]);
  });

  test.skipIf(!hasOpenssl)("1.0 is found out by a handshake", async () => {
    const port = await place.openssl(good, ["-tls1", "-cipher", "ALL:@SECLEVEL=0"]);
    const { of, says, report } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect([says("tls1.0"), says("tls1.1"), says("tls1.2"), says("h1")]).toEqual([
      "yes",
      "not_offered(it chose TLS 1.0)",
      "not_offered(it chose TLS 1.0)",
      "tls_alert(protocol_version)",
    ]);
    expect(of("tls1.0").facts!["cipher"]).toContain("_CBC_SHA");
    expect(report.spoke).toBe(true);
  });

  test.skipIf(!hasOpenssl)("without tickets nothing is resumed", async () => {
    const port = await place.openssl(good, ["-tls1_3", "-num_tickets", "0"]);
    const { says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(says("tls1.3-resumption")).toBe("not_offered");
  });

  test("over a port of plain HTTP is not there", async () => {
    const port = place.bun({ fetch: hi });
    const { report, says } = await probed(`https://localhost:${port}`);
    expect(says("tls1.3")).toStartWith("malformed(no TLS: it answers HTTP/1.1 400");
    expect(report.reason?.code).toBe("malformed");
    expect([says("h2c"), says("tcp")]).toEqual(["not_tried(the address is https://)", "yes"]);
  });
});

describe("certificates", () => {
  test("that nobody vouches for are a reason, and --insecure goes on", async () => {
    let asked = 0;
    const fetch = () => {
      asked++;
      return hi();
    };
    const port = place.bun({ ...tls(), http2: true, http3: true, fetch });
    const { report, of, says } = await probed(`https://localhost:${port}`);
    expect(asked).toBe(0);
    expect(says("certificate")).toStartWith("certificate(");
    expect(["h1", "h2", "h3"].map((name) => of(name as "h1").reason?.code)).toEqual(Array(3).fill("certificate"));
    expect(says("websocket")).toStartWith("not_tried(the certificate is not trusted");
    expect([report.spoke, report.reason?.code]).toEqual([false, "certificate"]);
    const insecure = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(insecure.says("certificate")).toStartWith("certificate(");
    expect([insecure.says("h1"), insecure.says("h3"), insecure.report.spoke]).toEqual(["yes", "yes", true]);
  });

  test("that have expired", async () => {
    const old = await place.certificate("old", () => Date.parse("2020-01-01"));
    const port = place.bun({ tls: { cert: old.cert, key: old.key }, fetch: hi });
    const { says, of } = await probed(`https://localhost:${port}`, { ca: old.cert });
    expect(says("certificate")).toStartWith("certificate(expired on 2020-03-3");
    expect(of("h1").reason?.code).toBe("certificate");
    expect(of("certificate").facts).toMatchObject({ isTrusted: false, names: expect.arrayContaining(["localhost"]) });
  });

  test("that are for another name", async () => {
    const port = place.bun({ ...tls(), http2: true, http3: true, fetch: hi }, "127.0.0.2");
    const { says } = await probed(`https://127.0.0.2:${port}`, { ca: good.cert });
    const fault = "certificate(it is not for 127.0.0.2)";
    expect([says("certificate"), says("h1"), says("h2"), says("h3")]).toEqual(Array(4).fill(fault));
  });

  test("with a long chain cost QUIC a round trip", async () => {
    const others = await Promise.all(Array.from({ length: 10 }, (_, n) => place.certificate(`other${n}`)));
    const cert = [good, ...others].map((each) => each.cert).join("\n");
    const port = place.bun({ tls: { cert, key: good.key }, http2: true, http3: true, fetch: hi });
    const { of } = await probed(`https://localhost:${port}`, { ca: good.cert });
    const { sizes, chainBytes, flightBytes, quicExtraRoundTrips } = of("certificate").facts as Record<
      string,
      number
    > & {
      sizes: number[];
    };
    expect(sizes.length).toBe(11);
    expect(chainBytes).toBeGreaterThan(3_600);
    expect(flightBytes).toBeGreaterThan(chainBytes!);
    expect(quicExtraRoundTrips).toBe(1);
    // And it is so: seen over a path that is long beside what a busy machine adds.
    const oneWayMs = 100;
    const far = await probed(`https://127.0.0.1:${await place.delayed(port, oneWayMs)}`, { isInsecure: true });
    expect(far.of("h3").phases!.roundTrips).toBe(3);
    const near = await place.delayed(place.bun({ ...tls(), http2: true, http3: true, fetch: hi }), oneWayMs);
    const usual = await probed(`https://127.0.0.1:${near}`, { isInsecure: true });
    expect(usual.of("h3").phases!.roundTrips).toBe(2);
    const short = await probed(`https://localhost:${place.bun({ ...tls(), fetch: hi })}`, { ca: good.cert });
    expect(short.of("certificate").facts!["quicExtraRoundTrips"]).toBe(0);
  });
});

describe("0-RTT over TCP", () => {
  test("is proven: answered before this side had ended the handshake", async () => {
    const port = await place.early(good);
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(says("0rtt-tcp")).toBe("yes");
    expect(of("0rtt-tcp").facts).toEqual({ maxEarlyData: 16_384, status: 200, isAnsweredBeforeFinished: true });
    expect(of("0rtt-tcp").phases!.roundTrips).toBe(2);
  });

  test("that is taken and answered later is told apart", async () => {
    const port = await place.early(good, { waits: true });
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(says("0rtt-tcp")).toBe("yes");
    expect(of("0rtt-tcp").facts!["isAnsweredBeforeFinished"]).toBe(false);
  });

  test("that a ticket claims and the server refuses is not there", async () => {
    const port = await place.early(good, { refuses: true });
    const { of, says } = await probed(`https://localhost:${port}`, { isInsecure: true });
    expect(says("0rtt-tcp")).toBe("rejected");
    expect(of("0rtt-tcp").facts).toEqual({ maxEarlyData: 16_384, isResumed: true });
  });

  test("that is answered by 425 is not there for requests", async () => {
    const port = await place.early(good, { status: "425 Too Early" });
    expect((await probed(`https://localhost:${port}`, { isInsecure: true })).says("0rtt-tcp")).toBe("http_status(425)");
  });
});

describe("HTTP/3", () => {
  /** An h3 server of UDP alone. @returns its port */
  async function h3Only(options: object = {}): Promise<number> {
    const quic = await import("node:quic");
    const endpoint = await quic.listen(
      ((session: { onstream: unknown }) => {
        session.onstream = (stream: { onheaders: unknown; sendHeaders(fields: object, how: object): void }) => {
          stream.onheaders = () => stream.sendHeaders({ ":status": "200" }, { terminal: true });
        };
      }) as never,
      {
        endpoint: { address: "127.0.0.1:0" },
        alpn: ["h3"],
        sni: { "*": { keys: [createPrivateKey(good.key)], certs: [Buffer.from(good.cert)] } },
        ...options,
      } as never,
    );
    place.onClose(() => endpoint.destroy());
    return endpoint.address!.port;
  }

  test("alone is not down; early data over QUIC is proven", async () => {
    const { report, says } = await probed(`https://127.0.0.1:${await h3Only()}`, { isInsecure: true });
    expect([says("tcp"), says("h1"), says("h2")]).toEqual(Array(3).fill("refused"));
    expect([says("h3"), says("quic-resumption"), says("0rtt-quic")]).toEqual(["yes", "yes", "yes"]);
    expect([report.spoke, report.reason]).toEqual([true, undefined]);
  });

  test("alone, with a certificate that is trusted, which is told", async () => {
    const { of, says } = await probed(`https://localhost:${await h3Only()}`, { ca: good.cert });
    expect([says("h3"), says("certificate"), says("hsts")]).toEqual(["yes", "yes", "not_offered"]);
    expect(of("certificate").facts).toMatchObject({ key: "EC P-256", isTrusted: true });
  });

  test("with early data that the server does not take", async () => {
    const { says } = await probed(`https://127.0.0.1:${await h3Only({ enableEarlyData: false })}`, {
      isInsecure: true,
    });
    expect(says("h3")).toBe("yes");
    expect(says("0rtt-quic")).toMatch(/^(rejected|not_offered)$/);
  });

  test("that Alt-Svc claims and nobody speaks", async () => {
    const fetch = (request: Request) =>
      new Response("hi", { headers: { "alt-svc": `h3=":${new URL(request.url).port}"; ma=60` } });
    const port = place.bun({ ...tls(), fetch });
    const { says, of } = await probed(`https://localhost:${port}`, { ca: good.cert });
    expect([says("h3"), says("alt-svc")]).toEqual(["refused", "refused"]);
    expect(of("alt-svc").facts).toMatchObject({ port });
  });

  test("that Alt-Svc claims at another port is not tried: nothing goes there", async () => {
    let datagrams = 0;
    const there = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { data: () => void datagrams++ } });
    place.onClose(() => there.close());
    const fetch = () => new Response("hi", { headers: { "alt-svc": `h3=":${there.port}"` } });
    const { says } = await probed(`https://localhost:${place.bun({ ...tls(), fetch })}`, { ca: good.cert });
    expect(says("alt-svc")).toBe(`not_tried(Alt-Svc names another port, ${there.port})`);
    expect(datagrams).toBe(0);
  });

  test("that Alt-Svc claims at another host is not tried", async () => {
    const fetch = () => new Response("hi", { headers: { "alt-svc": 'h3="other.example:443"' } });
    const { says } = await probed(`https://localhost:${place.bun({ ...tls(), fetch })}`, { ca: good.cert });
    expect(says("alt-svc")).toBe("not_tried(Alt-Svc names another host, other.example)");
  });

  test("where datagrams get no answer is a timeout, in the time of one try", async () => {
    const silent = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { data() {} } });
    place.onClose(() => silent.close());
    const { says, report } = await probed(`https://127.0.0.1:${silent.port}`, { timeoutMs: 600 });
    expect([says("tcp"), says("h3")]).toEqual(["refused", "timeout"]);
    expect(report.durationMs).toBeLessThan(3_000);
  });
});

describe("a port", () => {
  test("that is closed", async () => {
    const { report, says } = await probed(`127.0.0.1:${await place.closedPort()}`);
    expect([says("tcp"), says("h1"), says("h3"), says("websocket")]).toEqual([
      "refused",
      "refused",
      "refused",
      "not_tried(nothing is spoken over TCP)",
    ]);
    expect([report.spoke, report.reason]).toEqual([false, { code: "refused" }]);
  });

  test("that takes connections and says nothing", async () => {
    const port = await place.tcp((socket) => socket.resume());
    const { report, says } = await probed(`127.0.0.1:${port}`, { timeoutMs: 500 });
    expect([says("tcp"), says("h1"), says("tls1.3")]).toEqual(["yes", "timeout", "timeout"]);
    expect(report.reason).toEqual({ code: "timeout" });
    expect(report.durationMs).toBeLessThan(3_000);
  });

  test("that answers something else", async () => {
    const port = await place.tcp((socket) => socket.once("data", () => socket.end("\x00\x01nonsense\r\n\r\n")));
    const { report } = await probed(`127.0.0.1:${port}`);
    expect(report.reason?.code).toBe("malformed");
  });

  test("that greets as SSH does", async () => {
    const port = await place.tcp((socket) => socket.write("SSH-2.0-OpenSSH_9.2\r\n"));
    const { report } = await probed(`127.0.0.1:${port}`);
    expect(report.reason).toEqual({ code: "malformed", detail: "it answers SSH (SSH-2.0-OpenSSH_9.2)" });
  });

  test("that closes at once, and one that cuts", async () => {
    const closes = await place.tcp((socket) => socket.once("data", () => socket.end()));
    expect((await probed(`http://127.0.0.1:${closes}`)).report.reason?.code).toBe("closed");
    const cuts = await place.tcp((socket) => socket.once("data", () => socket.resetAndDestroy()));
    expect((await probed(`http://127.0.0.1:${cuts}`)).report.reason?.code).toMatch(/^(reset|closed)$/);
  });

  test("of a name that there is not", async () => {
    const { report, says } = await probed("http://no-such-name.invalid:80");
    expect([says("dns"), report.reason?.code]).toEqual(["dns_failed", "dns_failed"]);
    expect(report.cost.tcpConnections).toBe(0);
  });
});
