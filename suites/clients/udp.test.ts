/** The client of examples/clients/udp.py, against a server as `backtalk serve` starts it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { Place, STUDIO } from "../../cli/testing.ts";
import { datagramRelay } from "../transport/relay.ts";
import { tool } from "./setup.ts";

const python = tool("python3");
const script = fileURLToPath(new URL("../../examples/clients/udp.py", import.meta.url));
const place = new Place();
let server: ReturnType<Place["start"]>;
let port = 0;

beforeAll(async () => {
  const ports = ["--port", "0", "--no-tls", "--udp-port", "0"];
  server = place.start(["serve", STUDIO, ...ports, "--store", "memory:", "--json"]);
  const { value } = await server.stdout.getReader().read();
  const said = JSON.parse(new TextDecoder().decode(value)) as { addresses: { via: string; url: string }[] };
  port = Number(new URL(said.addresses.find(({ via }) => via === "udp")!.url).port);
}, 60_000);
afterAll(async () => {
  server.kill();
  await server.exited;
  place.remove();
});

async function run(to: number, ...args: readonly string[]): Promise<{ out: string; error: string; code: number }> {
  const child = Bun.spawn([python!, script, `udp://127.0.0.1:${to}`, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { out, error, code: await child.exited };
}

describe.skipIf(python === undefined)("the client in Python", () => {
  test("calls, with and without a key", async () => {
    expect(await run(port, "studio/isPrime", '{"n":97}')).toEqual({ out: '{"prime": true}\n', error: "", code: 0 });
    for (let n = 0; n < 2; n++) {
      expect((await run(port, "studio/isPrime", '{"n":98}', "a-key")).out).toBe('{"prime": false}\n');
    }
  }, 60_000);

  test("shows faults, of the server and its own", async () => {
    const unknown = await run(port, "studio/isPrim", "{}");
    expect([unknown.code, JSON.parse(unknown.error)]).toEqual([1, expect.objectContaining({ code: "not_found" })]);
    const stream = await run(port, "studio/countdown", '{"from":3}');
    expect(JSON.parse(stream.error)).toMatchObject({ code: "unimplemented" });
    const large = await run(port, "studio/isPrime", JSON.stringify({ n: "9".repeat(1_200) }));
    expect(JSON.parse(large.error)).toMatchObject({ code: "resource_exhausted" });
  }, 60_000);

  test("says how it is used", async () => {
    const { code, out, error } = await run(port, "studio/isPrime");
    expect([code, out, error]).toEqual([2, "", expect.stringContaining("udp.py udp://localhost:4470 studio/isPrime")]);
    expect((await run(port, "studio/isPrime", "{n")).error).not.toContain("Traceback");
  }, 30_000);

  test("asks again when datagrams are lost", async () => {
    const relay = await datagramRelay(port, { seed: 4, loss: 0.2, duplicate: 0.3, delayMs: 20 });
    const runs = Array.from({ length: 4 }, () => run(relay.port, "studio/isPrime", '{"n":97}'));
    for (const each of await Promise.all(runs)) expect(each).toEqual({ out: '{"prime": true}\n', error: "", code: 0 });
    expect(relay.lost).toBeGreaterThan(0);
    relay.close();
  }, 120_000);
});
