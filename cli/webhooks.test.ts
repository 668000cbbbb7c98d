/** Webhooks of the real program: what a `kill -9` must not lose, and what is wrong with a file. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { Place, type Server, STUDIO, serveIn } from "./testing.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

let place: Place;
let server: Server | undefined;
const got: { id: string; key: unknown }[] = [];
let isSilent = false;
let receiver: Bun.Server<undefined>;

beforeEach(async () => {
  got.length = 0;
  isSilent = false;
  place = new Place();
  await place.file("secret", SECRET);
  receiver = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request) {
      const json = new Webhook(SECRET).verify(await request.text(), Object.fromEntries(request.headers)) as {
        data: { result: unknown };
      };
      got.push({ id: request.headers.get("webhook-id")!, key: json.data.result });
      return isSilent ? new Promise<Response>(() => {}) : new Response();
    },
  });
  const endpoint = { name: "hook", url: `http://127.0.0.1:${receiver.port}/`, secrets: ["file:secret"] };
  await place.file("hooks.json", JSON.stringify({ endpoints: [endpoint] }));
});

afterEach(async () => {
  server?.child.kill(9);
  await server?.child.exited;
  server = undefined;
  await receiver.stop(true);
  place.remove();
});

async function serve(): Promise<Server> {
  server = await serveIn(place, undefined, ["--webhooks", "hooks.json", "--webhooks-allow", "loopback"]);
  return server;
}

async function isPrime(http: string, n: number): Promise<string | undefined> {
  const headers = { "content-type": "application/json", "idempotency-key": `n${n}` };
  const response = await fetch(`${http}/studio/isPrime`, {
    method: "POST",
    body: JSON.stringify({ n }),
    headers,
  }).catch(() => undefined);
  await response?.text().catch(() => {});
  return response?.ok ? response.headers.get("location")!.slice("/calls/".length) : undefined;
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not come");
    await Bun.sleep(5);
  }
}

describe("kill -9", () => {
  test("between the end of a call and its delivery: the same message comes after the restart", async () => {
    isSilent = true;
    const { http, child } = await serve();
    const id = await isPrime(http, 7);
    await until(() => got.length === 1);
    child.kill(9);
    await child.exited;
    isSilent = false;
    await serve();
    await until(() => got.length === 2);
    expect(got.map((each) => each.id)).toEqual([got[0]!.id, got[0]!.id]);
    expect(got[0]!.id).toStartWith(`msg_${id}_`);
  }, 60_000);

  test("at any moment: each call that was answered is told of", async () => {
    const answered = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const { http, child } = await serve();
      let n = 1000 * (round + 1);
      const end = performance.now() + 150 + 100 * round;
      const callers = Array.from({ length: 4 }, async () => {
        while (performance.now() < end) {
          const id = await isPrime(http, n++);
          if (id !== undefined) answered.add(id);
        }
      });
      await Bun.sleep(120 + 90 * round);
      child.kill(9);
      await Promise.all([child.exited, ...callers]);
    }
    await serve();
    const told = () => new Set(got.map(({ id }) => id.split("_")[1]!));
    await until(() => told().isSupersetOf(answered));
    expect(answered.size).toBeGreaterThan(10);
  }, 120_000);
});

describe("a file that is wrong", () => {
  const endpoint = { name: "hook", url: "https://a.example/", secrets: ["file:secret"] };
  const cases: readonly (readonly [what: string, json: unknown, says: string])[] = [
    ["no list", {}, "endpoints must be a list"],
    ["an unknown member", { endpoints: [{ ...endpoint, topic: "x" }] }, '"topic"'],
    ["a name twice", { endpoints: [endpoint, endpoint] }, "hook twice"],
    ["no URL", { endpoints: [{ ...endpoint, url: "a.example" }] }, "url must be a URL"],
    ["a password in it", { endpoints: [{ ...endpoint, url: "https://a:b@a.example/" }] }, "without a password"],
    ["another protocol", { endpoints: [{ ...endpoint, url: "file:///etc/passwd" }] }, "http or https"],
    ["a secret in the file", { endpoints: [{ ...endpoint, secrets: [SECRET] }] }, "env:NAME or file:PATH"],
    [
      "an address that is closed",
      { endpoints: [{ ...endpoint, url: "https://10.0.0.1/" }] },
      "--webhooks-allow 10.0.0.1",
    ],
    ["an open address without TLS", { endpoints: [{ ...endpoint, url: "http://8.8.8.8/" }] }, "only https"],
    ["no secret", { endpoints: [{ ...endpoint, secrets: [] }] }, "list with a secret"],
    ["a variable that is not set", { endpoints: [{ ...endpoint, secrets: ["env:NOT_SET"] }] }, "NOT_SET is not set"],
    ["a secret that is none", { endpoints: [{ ...endpoint, secrets: ["file:hooks.json"] }] }, "whsec_ or whsk_"],
    ["a topic that is not there", { endpoints: [{ ...endpoint, topics: ["nothing"] }] }, "nothing"],
  ];
  for (const [what, json, says] of cases) {
    test(what, async () => {
      await place.file("bad.json", JSON.stringify(json));
      const args = ["serve", STUDIO, "--port", "0", "--no-tls", "--store", "memory:"];
      const { code, err } = await place.run([...args, "--webhooks", "bad.json"]);
      expect(code).not.toBe(0);
      expect(err).toContain(says);
      expect(err).not.toContain(SECRET.slice(6));
    });
  }

  test("a range that is none, and one without a file", async () => {
    const serve = ["serve", STUDIO];
    expect((await place.run([...serve, "--webhooks", "hooks.json", "--webhooks-allow", "10.0.0.0/40"])).err).toContain(
      "10.0.0.0/40",
    );
    expect((await place.run([...serve, "--webhooks-allow", "loopback"])).err).toContain("--webhooks");
  });
});
