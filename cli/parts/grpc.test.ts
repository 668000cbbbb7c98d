/** gRPC, gRPC-Web and Connect from the command line, both sides. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server as NetServer } from "node:net";
import { Place, type Server, STUDIO, serveIn } from "../testing.ts";

const place = new Place();
let server: Server;
const QUIET = ["--no-tcp", "--no-udp"];

beforeAll(async () => {
  server = await serveIn(place, STUDIO, QUIET);
}, 60_000);

afterAll(async () => {
  server.child.kill("SIGKILL");
  await server.child.exited;
  place.remove();
});

const of = (via: string, start: string) =>
  server.addresses.find((each) => each.via === via && each.url.startsWith(start))!.url;

describe("each address", () => {
  for (const [via, start, given] of [
    ["grpc", "grpc://", []],
    ["grpc", "grpcs://", []],
    ["grpc-web", "http://", ["--via", "grpc-web"]],
    ["grpc-web", "https://", ["--via", "grpc-web"]],
    ["connect", "http://", ["--via", "connect"]],
    ["connect", "https://", ["--via", "connect"]],
  ] as const) {
    test(`${start} by ${via}: calls, streams, handles`, async () => {
      const url = of(via, start);
      const prime = await place.run(["call", url, "studio.isPrime", '{"n":97}', "--plain", ...given]);
      expect([prime.code, prime.err, prime.json]).toEqual([0, "", [{ prime: true }]]);
      const countdown = await place.run(["call", url, "studio.countdown", '{"from":3,"intervalMs":1}', ...given]);
      expect([countdown.code, countdown.json]).toEqual([0, [{ n: 3 }, { n: 2 }, { n: 1 }, { n: 0 }]]);
      const bad = await place.run(["call", url, "studio.isPrime", '{"n":"x"}', ...given]);
      expect(bad.code).not.toBe(0);
      expect(bad.err).toContain("n: ");
    }, 60_000);
  }
});

test("--trace shows the messages, and no credentials", async () => {
  const { err } = await place.run([
    "call",
    of("grpc", "grpc://"),
    "studio.isPrime",
    '{"n":7}',
    "--trace",
    "--token",
    "s3cret",
  ]);
  expect(err).toContain("Open");
  expect(err).toContain("studio/isPrime");
  expect(err).not.toContain("s3cret");
});

test("host:port with --via grpc, and addresses that cannot be", async () => {
  const address = of("grpc", "grpc://").slice("grpc://".length);
  const { code, json } = await place.run(["call", address, "studio.isPrime", '{"n":7}', "--via", "grpc", "--plain"]);
  expect([code, json]).toEqual([0, [{ prime: true }]]);
  const wrong = await place.run(["call", "grpc://localhost:1", "studio.isPrime", "{}", "--via", "connect"]);
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("connect is not spoken at")]);
  // The listener of HTTP says where gRPC is.
  const http = await place.run(["call", server.http, "studio.isPrime", '{"n":7}', "--via", "grpc", "--plain"]);
  expect(http.code).not.toBe(0);
});

test("options that contradict each other, and none of it", async () => {
  const other = new Place();
  try {
    const both = await other.run(["serve", STUDIO, "--no-grpc", "--grpc-port", "1"]);
    expect([both.code, both.err]).toEqual([2, expect.stringContaining("--no-grpc and --grpc-port")]);
    const plain = await other.run(["serve", STUDIO, "--no-tls", "--grpc-tls-port", "1"]);
    expect([plain.code, plain.err]).toEqual([2, expect.stringContaining("--no-tls and --grpc-tls-port")]);
    const without = await serveIn(other, STUDIO, [...QUIET, "--no-grpc"]);
    expect(without.addresses).toEqual([]);
    const answer = await fetch(`${without.http}/studio.Studio/IsPrime`, { method: "POST", body: '{"n":7}' });
    expect(answer.status).toBe(404);
    without.child.kill("SIGKILL");
    await without.child.exited;
  } finally {
    other.remove();
  }
}, 60_000);

test("a port that was asked for and is taken is an error", async () => {
  const taken: NetServer = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  const other = new Place();
  try {
    const ports = ["--port", "0", "--tls-port", "0", "--grpc-port", String(port), "--grpc-tls-port", "0"];
    const refused = await other.run(["serve", STUDIO, ...ports, ...QUIET]);
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain(`port ${port} of 127.0.0.1 is in use`);
  } finally {
    taken.close();
    other.remove();
  }
}, 60_000);
