/** UDP on the command line. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { Place, STUDIO, takeLines } from "./testing.ts";

const place = new Place();
let server: ReturnType<Place["start"]>;
let http = "";
let udp = "";

const run = (...args: string[]) => place.run(args, "");

beforeAll(async () => {
  const keys = await place.file("keys.json", '{"secret-1":"ada"}');
  const more = ["--store", "memory:", "--api-keys", keys, "--no-tls", "--json", "--drain", "1"];
  server = place.start(["serve", STUDIO, "--port", "0", "--udp-port", "0", ...more]);
  const [line] = await takeLines(server.stdout.getReader(), 1);
  const said = JSON.parse(line!) as { listeners: { url: string }[]; addresses: { via: string; url: string }[] };
  http = said.listeners[0]!.url;
  udp = said.addresses.find(({ via }) => via === "udp")!.url;
}, 60_000);
afterAll(async () => {
  server.kill();
  await server.exited;
  place.remove();
});

describe("UDP", () => {
  test("calls: the address says the way, and the answer is printed", async () => {
    expect(udp).toMatch(/^udp:\/\/127\.0\.0\.1:\d+$/);
    const key = ["--api-key", "secret-1"];
    expect((await run("call", udp, "studio.isPrime", '{"n":97}', ...key)).json).toEqual([{ prime: true }]);
    expect((await run("call", udp, "studio.isPrime", '{"n":97}', ...key, "--via", "udp", "--key", "k")).json).toEqual([
      { prime: true },
    ]);
    expect((await run("call", udp, "studio.isPrime", '{"n":97}')).err).toContain("unauthenticated");
    const traced = await run("call", udp, "studio.isPrime", '{"n":97}', ...key, "--trace");
    expect(traced.err).toMatch(/> ask [0-9a-f]{16} without a token/);
    expect(traced.err).toMatch(/< retry [0-9a-f]{16}/);
    expect(traced.err).not.toContain("secret-1");
  }, 60_000);

  test("a call that is not waited for is read over another transport", async () => {
    const key = ["--api-key", "secret-1"];
    const started = await run("call", udp, "studio.isPrime", '{"n":97}', ...key, "--async");
    expect(started.out.trim()).toStartWith(`${udp}/calls/c`);
    const attached = await run("attach", started.out.trim().replace(udp, http), ...key);
    expect(attached.json).toEqual([{ prime: true }]);
    const here = await run("attach", started.out.trim(), ...key);
    expect(here.err).toContain("events are not read over UDP");
    expect(here.err).toContain("another transport");
  }, 60_000);

  test("what is wrong is told", async () => {
    const stream = await run("call", udp, "studio.countdown", '{"from":3}', "--api-key", "secret-1");
    expect(stream.err).toContain("unimplemented: studio/countdown is a stream");
    const key = ["--api-key", "secret-1"];
    const events = await run("call", udp, "studio.isPrime", '{"n":97}', ...key, "--events");
    expect(events.err).toContain("events are not read over UDP");
    const items = await run("call", udp, "studio.chat", '[{"text":"a"}]', ...key, "--items");
    expect(items.err).toContain("is a stream, and UDP carries unary calls only");
    expect((await run("call", "udp://h:1/path", "studio.isPrime")).code).toBe(2);
    expect((await run("call", http, "studio.isPrime", "--via", "udp")).err).toContain("udp://host:port");
    expect((await run("serve", STUDIO, "--no-udp", "--udp-port", "1")).err).toContain("cannot be used together");
    const busy = createSocket("udp4");
    await new Promise<void>((resolve) => busy.bind(0, "127.0.0.1", resolve));
    const { port } = busy.address();
    const more = ["--store", "memory:", "--no-tls", "--port", "0"];
    const taken = await run("serve", STUDIO, ...more, "--udp-port", `${port}`);
    busy.close();
    expect(taken.err).toContain(`port ${port} of 127.0.0.1 is in use`);
    expect(taken.err).toContain("--udp-port");
    expect(taken.code).not.toBe(0);
  }, 60_000);
});
