/** What is found out of servers of others: nginx (OpenSSL) and Caddy (the TLS and the QUIC of Go). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Place, probed } from "./testing.ts";
import { Authority, type Chain, caddy, has, nginx } from "./testing-servers.ts";

const place = new Place();
afterAll(() => place.close());
const hasOpenssl = has("openssl");
const hasNginx = has("nginx") && hasOpenssl;
const hasCaddy = has("caddy") && hasOpenssl;
/** A machine that is busy has its time. */
const MOST_MS = 60_000;

let ca = "";
let rsa: Chain;
let ec: Chain;
let old: Chain;
let other: Chain;
beforeAll(async () => {
  if (!hasNginx && !hasCaddy) return;
  const [one, two] = [await Authority.of(place, "rsa"), await Authority.of(place, "ec")];
  ca = `${one.root}${two.root}`;
  rsa = await one.chain("leaf");
  ec = await two.chain("leaf");
  old = await two.chain("old", undefined, ["20240101000000Z", "20240401000000Z"]);
  other = await two.chain("other", "DNS:other.example");
}, MOST_MS);

describe.skipIf(!hasNginx)("nginx", () => {
  const text = "many words, ".repeat(50);
  const with_ = ({ cert, key }: Pick<Chain, "cert" | "key">) => `ssl_certificate ${cert}; ssl_certificate_key ${key};`;
  const answer = `location = / { return 200 "${text}"; } location / { return 404; }`;
  const ports: Record<string, number> = {};
  beforeAll(async () => {
    const servers = {
      plain: `listen PORT; keepalive_timeout 1s; gzip on; ${answer}`,
      redirect: "listen PORT; return 301 https://elsewhere.example$request_uri;",
      ids: `listen PORT ssl; ssl_protocols TLSv1.2; ssl_session_tickets off; ${with_(rsa)} ${answer}`,
      bare: `listen PORT ssl; ssl_protocols TLSv1.2; ssl_session_tickets off; ssl_session_cache off; ${with_(ec)} ${answer}`,
      both: `listen PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ${with_(rsa)} ${with_(ec)} ${answer}`,
      newest: `listen PORT ssl; ssl_protocols TLSv1.3; ${with_(ec)} ${answer}`,
      early: `listen PORT ssl; ssl_protocols TLSv1.3; ssl_early_data on; ${with_(ec)} ${answer}`,
      tooEarly: `listen PORT ssl; ssl_protocols TLSv1.3; ssl_early_data on; ${with_(ec)} location / { if ($ssl_early_data) { return 425; } return 200 "hi"; }`,
      old: `listen PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ${with_(old)} ${answer}`,
      other: `listen PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ${with_(other)} ${answer}`,
      alone: `listen PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ${with_({ cert: ec.leaf, key: ec.key })} ${answer}`,
      clients: `listen PORT ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client on; ssl_client_certificate ${ec.cert}; ${with_(ec)} ${answer}`,
    };
    const list = await nginx(place, Object.values(servers));
    for (const [at, name] of Object.keys(servers).entries()) ports[name] = list[at]!;
  }, MOST_MS);
  const at = (name: string, scheme = "https") => `${scheme}://localhost:${ports[name]}`;
  const sizesOf = ({ cert }: Chain) =>
    readFileSync(cert, "utf8")
      .match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)!
      .map((pem) => new X509Certificate(pem).raw.length);
  const earlyOf = (name: string) =>
    readFileSync(join(place.directory, "access.log"), "utf8")
      .split("\n")
      .filter((line) => line.startsWith(`${ports[name]} `) && line.endsWith("early=1"))
      .map((line) => line.split(" ")[1]);

  test("of TLS 1.2, RSA, and sessions by their ids", async () => {
    const { of, says } = await probed(at("ids"), { ca });
    expect([says("tls1.2"), says("certificate"), says("h1"), says("tls1.2-resumption")]).toEqual(Array(4).fill("yes"));
    expect(says("tls1.3")).toBe("tls_alert(protocol_version)");
    expect(of("tls1.2-resumption").facts).toMatchObject({ by: "session id", roundTrips: 1 });
    expect(of("certificate").facts).toMatchObject({ key: "RSA 2048", sizes: sizesOf(rsa) });
    expect(of("h1").phases!.roundTrips).toBe(4);
  });

  test("that resumes nothing gives neither a ticket nor an id", async () => {
    const { of, says } = await probed(at("bare"), { ca });
    expect(says("tls1.2-resumption")).toBe("not_offered");
    expect(of("tls1.2-resumption").text).toBe("neither a ticket nor a session id came");
  });

  test("with two certificates: each version has its own", async () => {
    const { of } = await probed(at("both"), { ca });
    expect(of("certificate").facts).toMatchObject({ key: "EC P-256", sizes: sizesOf(ec) });
    // Which one TLS 1.2 shows is a matter of the order of algorithms of the client.
    const shown = of("tls1.2").facts!["cipher"] as string;
    expect(of("certificate").text.endsWith("TLS 1.2 shows another one: RSA 2048")).toBe(shown.includes("_RSA_"));
    expect(of("tls1.2-resumption").facts).toMatchObject({ by: "ticket" });
  });

  test("of TLS 1.3 sends the chain, and no root", async () => {
    const { of, says } = await probed(at("newest"), { ca });
    expect([says("tls1.3"), says("tls1.3-resumption"), says("h1")]).toEqual(["yes", "yes", "yes"]);
    expect(says("tls1.2")).toBe("tls_alert(protocol_version)");
    expect(of("certificate").facts!["sizes"]).toEqual(sizesOf(ec));
  });

  test("takes early data when it is told to, as it says itself", async () => {
    const on = await probed(at("early"), { ca });
    expect(on.says("0rtt-tcp")).toBe("yes");
    expect(on.of("0rtt-tcp").facts).toMatchObject({ status: 200, isAnsweredBeforeFinished: true });
    expect(earlyOf("early")).toEqual(["200"]);
    expect((await probed(at("tooEarly"), { ca })).says("0rtt-tcp")).toBe("http_status(425)");
    expect(earlyOf("tooEarly")).toEqual(["425"]);
    expect((await probed(at("newest"), { ca })).says("0rtt-tcp")).toBe("not_offered");
    expect(earlyOf("newest")).toEqual([]);
  });

  test("with a certificate that is wrong: what is wrong is told, TLS is looked at, and --insecure goes on", async () => {
    const faults = {
      old: "certificate(expired on 2024-04-01)",
      other: "certificate(it is not for localhost)",
      alone: "certificate(its issuer is not known here, and was not sent)",
    };
    for (const [name, fault] of Object.entries(faults)) {
      const { says, report, requests } = await probed(at(name), { ca });
      expect([says("certificate"), says("h1")]).toEqual([fault, fault]);
      expect([says("tls1.2"), says("tls1.3"), says("tls1.3-resumption")]).toEqual(["yes", "yes", "yes"]);
      expect([report.reason?.code, requests.length]).toEqual(["certificate", 0]);
      const insecure = await probed(at(name), { ca, isInsecure: true });
      expect([insecure.says("certificate"), insecure.says("h1"), insecure.says("gzip")]).toEqual([
        fault,
        "yes",
        "not_offered",
      ]);
    }
  });

  test("that wants a certificate of the client says so in its handshake", async () => {
    const { of } = await probed(at("clients"), { ca });
    for (const name of ["tls1.2", "tls1.3"] as const) {
      expect(of(name).facts).toMatchObject({ asksClientCertificate: true });
      expect(of(name).text).toEndWith("asks for a client certificate");
    }
    expect(of("h1").facts).toMatchObject({ status: 400 });
    expect((await probed(at("newest"), { ca })).of("tls1.3").facts).toMatchObject({ asksClientCertificate: false });
  });

  test("keeps a connection for keepalive_timeout; it is watched for no longer than was asked for", async () => {
    const { of, report } = await probed(at("plain", "http"), { idleMs: 30_000 });
    expect(of("idle").facts).toMatchObject({ isStillOpen: false });
    expect(of("idle").facts!["seconds"]).toBeWithin(0.8, 6);
    expect(report.durationMs).toBeLessThan(15_000);
    expect((await probed(at("plain", "http"), { idleMs: 300 })).says("idle")).toBe("yes");
  });

  test("compresses, and redirects to where nothing is sent", async () => {
    const plain = await probed(at("plain", "http"));
    expect([plain.says("gzip"), plain.says("br"), plain.says("keep-alive")]).toEqual(["yes", "not_offered", "yes"]);
    expect(plain.of("gzip").facts).toMatchObject({ plainBytes: text.length });
    const { of, requests } = await probed(at("redirect", "http"));
    expect(of("h1").facts).toMatchObject({ status: 301, location: "https://elsewhere.example/" });
    expect(requests.every(({ url }) => url.startsWith("http://localhost:"))).toBe(true);
  });

  test("asked in plain words at its port of TLS says so", async () => {
    const { of, report } = await probed(at("newest", "http"));
    expect(of("h1").text).toEndWith("it says that TLS is spoken here");
    expect(report.target.speaks).toBe("plain");
    expect((await probed(`localhost:${ports["newest"]}`, { ca })).report.target.speaks).toBe("tls");
  });
});

describe.skipIf(!hasCaddy)("Caddy", () => {
  let all = 0;
  let quicOnly = 0;
  beforeAll(async () => {
    [all, quicOnly] = (await caddy(
      place,
      2,
      `{
  admin off
  auto_https off
  servers :PORT0 {
    protocols h1 h2 h3
  }
  servers :PORT1 {
    protocols h3
  }
}
https://localhost:PORT0, https://localhost:PORT1 {
  tls ${ec.cert} ${ec.key}
  encode zstd gzip
  header Content-Type text/html
  respond "${"many words, ".repeat(100)}"
}
`,
    )) as [number, number];
  }, MOST_MS);

  test("speaks HTTP/1.1, 2 and 3, and sends its tickets with the first flight", async () => {
    const { of, says } = await probed(`https://localhost:${all}`, { ca });
    const names = ["h1", "h2", "h3", "alt-svc", "tls1.2-resumption", "tls1.3-resumption", "gzip", "zstd"] as const;
    expect(names.map(says)).toEqual(Array(names.length).fill("yes"));
    expect([says("quic-resumption"), says("0rtt-quic"), says("0rtt-tcp")]).toEqual(["yes", "yes", "not_offered"]);
    expect(of("certificate").facts).toMatchObject({ key: "EC P-256", isTrusted: true });
  });

  test("of HTTP/3 alone is not down, and its certificate is told", async () => {
    const { of, says, report } = await probed(`https://localhost:${quicOnly}`, { ca, timeoutMs: 1_500 });
    expect([says("h1"), says("h3"), says("certificate"), says("hsts")]).toEqual([
      "timeout",
      "yes",
      "yes",
      "not_offered",
    ]);
    expect(of("certificate").facts).toMatchObject({ isTrusted: true, names: ["localhost", "127.0.0.1"] });
    expect(report.spoke).toBe(true);
  });
});
