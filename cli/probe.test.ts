/** `backtalk probe` as a program, against `backtalk serve`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Report } from "../lab/probe/finding.ts";
import { Place, type Server, serveIn } from "./testing.ts";

const place = new Place();
let server: Server;
let grpc: string;

beforeAll(async () => {
  server = await serveIn(place, undefined, ["--grpc-port", "0"]);
  grpc = server.addresses.find(({ url }) => url.startsWith("grpc:"))!.url;
});
afterAll(async () => {
  server.child.kill("SIGKILL");
  await server.child.exited;
  place.remove();
});

const present = ({ findings }: Report) => findings.filter(({ isPresent }) => isPresent).map(({ name }) => name);

describe("backtalk probe", () => {
  test("finds all that `backtalk serve` speaks, with its development certificate", async () => {
    const { code, json, err } = await place.run(["probe", server.https, "--json", "--har", "probe.har"]);
    const report = json[0] as Report;
    expect([code, err]).toEqual([0, ""]);
    expect(report.schema).toBe("backtalk.probe/1");
    const all = [
      "h1",
      "h2",
      "h3",
      "alt-svc",
      "tls1.3",
      "certificate",
      "keep-alive",
      "websocket",
      "connect",
      "backtalk",
    ];
    expect(present(report)).toEqual(expect.arrayContaining(all));
    const socket = report.findings.find(({ name }) => name === "websocket")!;
    expect(socket.facts).toMatchObject({ path: "/ws", subprotocol: "backtalk.v1" });
    // There is nothing at /: all of it is asked of what is there.
    const of = (name: string) => report.findings.find((each) => each.name === name)!;
    expect(["h1", "h2", "h3"].map((name) => of(name).facts!["status"])).toEqual([200, 200, 200]);
    expect(of("h1").text).toContain("at /openapi.json");
    expect(of("sse")).toMatchObject({ isPresent: true, text: expect.stringMatching(/^\/topics\/\w+: /) });
    expect(of("gzip").text).toContain("application/json");
    const har = await Bun.file(`${place.directory}/probe.har`).json();
    expect(har.log.entries.length).toBeGreaterThan(5);
  });

  test("finds gRPC at its own port, with health and reflection", async () => {
    const { code, json } = await place.run([
      "probe",
      grpc,
      "--json",
      "--expect",
      "h2c,grpc,grpc-health,grpc-reflection",
    ]);
    const report = json[0] as Report;
    expect(code).toBe(0);
    const listed = report.findings.find(({ name }) => name === "grpc-reflection")!.facts!["services"];
    expect(listed).toEqual(expect.arrayContaining(["studio.Studio", "grpc.health.v1.Health"]));
  });

  test("finds gRPC over TLS, where HTTP/2 alone is spoken", async () => {
    const grpcs = server.addresses.find(({ url }) => url.startsWith("grpcs:"))!.url;
    const { code, json } = await place.run(["probe", grpcs, "--json", "--expect", "h2,grpc,grpc-reflection,tls1.3"]);
    expect(code).toBe(0);
    const reason = (name: string) => (json[0] as Report).findings.find((each) => each.name === name)!.reason;
    expect(reason("h1")).toEqual({ code: "tls_alert", detail: "no_application_protocol" });
    expect(reason("0rtt-tcp")?.code).toBe("not_tried");
    expect(reason("tls1.3-resumption")?.code ?? "yes").toMatch(/^(yes|not_offered|rejected)$/);
  });

  test("without a scheme finds out that it is plain HTTP", async () => {
    const { code, out } = await place.run(["probe", server.http.replace("http://", "")]);
    expect(code).toBe(0);
    expect(out).toContain("not tried, because no TLS is spoken here: tls1.0");
    expect(out).toMatch(/^h1 +\d+\.\d+ +\d+\.\d+ +\d+\.\d+ +\d+\.\d+ +2$/m);
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test("ends with 1 when what is expected is missing, and names it", async () => {
    const { code, err } = await place.run(["probe", server.http, "--expect", "h1,h3,websocket"]);
    expect(code).toBe(1);
    expect(err).toContain("expected h3, and it is missing: not_tried(the address is http://)");
    expect(err).not.toContain("expected h1");
  });

  test("ends with the code of the reason when nothing is spoken", async () => {
    const other = new Place();
    try {
      const untrusted = await other.run(["probe", server.https, "--cacert", await other.file("ca.pem", OTHER_CA)]);
      expect(untrusted.code).toBe(60);
      expect(untrusted.out).toContain("its certificate is not trusted: its issuer is");
      expect((await other.run(["probe", server.https, "--insecure"])).code).toBe(0);
      expect((await other.run(["probe", "127.0.0.1:1"])).code).toBe(7);
      expect((await other.run(["probe", "no-such-name.invalid:80"])).code).toBe(6);
    } finally {
      other.remove();
    }
  });

  test("says what is written wrong, before anything is sent", async () => {
    for (const [args, words] of [
      [["probe", "ftp://x"], "ftp:// is not probed"],
      [["probe", "x:1", "--expect", "h4"], 'nothing is called "h4"'],
      [["probe", "x:1", "--idle", "1h"], "--idle: not a time"],
      [["probe", "x:1", "--timeout", "10000s"], "--timeout is more than 0 and at most 60 s"],
    ] as const) {
      const { code, err } = await place.run(args);
      expect([code, err]).toEqual([2, expect.stringContaining(words)]);
    }
  });
});

/** Some certificate that has nothing to do with it. */
const OTHER_CA = (await import("node:tls")).rootCertificates[0]!;
