/** `ratePerSecond`: each request counts once for its caller, whichever part of the server answers it. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { describeProto } from "../../src/describe/proto/index.ts";
import { type Authenticate, Fault, service, topic, unary, upload, withUpload } from "../../src/index.ts";
import {
  createCore,
  descriptions,
  durableStreamsPart,
  httpHandler,
  memoryStore,
  rpcHandlers,
  rpcMount,
  uploads,
} from "../../src/server.ts";
import { webhooksMount } from "../../src/webhooks/mount.ts";
import { seeded } from "../../src/wire/seed.ts";

const RATE = 4;
const folder = mkdtempSync(join(tmpdir(), "backtalk-rate-test-"));
const ends: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const end of ends) await end();
  rmSync(folder, { recursive: true, force: true });
});

const NAMES: Authenticate = ({ bearer }) => ({ id: bearer ?? "" });
const JSON_TYPE = { "content-type": "application/json" };

/** Requests of each kind, whose answers differ; that of a rate is 429 or says so. */
const REQUESTS: Readonly<Record<string, () => [path: string, init?: RequestInit]>> = {
  "a call": () => ["/s/double", { method: "POST", body: "2", headers: JSON_TYPE }],
  "a recorded call": () => [
    "/s/double",
    { method: "POST", body: "2", headers: { ...JSON_TYPE, prefer: "respond-async" } },
  ],
  "a body that cannot be read": () => ["/s/double", { method: "POST", body: "{", headers: JSON_TYPE }],
  "an unknown method": () => ["/s/nothing", { method: "POST", body: "2", headers: JSON_TYPE }],
  calls: () => ["/calls"],
  "a topic": () => ["/topics/news", { method: "POST", body: "[1]", headers: JSON_TYPE }],
  OpenAPI: () => ["/openapi.json"],
  AsyncAPI: () => ["/asyncapi.json"],
  "a .proto file": () => ["/contract/s.proto"],
  "an upload": () => ["/uploads", { method: "POST", body: "bytes" }],
  "an upload that is a call": () => [
    "/s/size",
    { method: "POST", body: "bytes", headers: { "content-type": "text/plain" } },
  ],
  "the offset of an upload": () => [`/uploads/u${"0".repeat(26)}`, { method: "HEAD" }],
  "a stream": () => [`/streams/${crypto.randomUUID()}`, { method: "PUT", headers: { "content-type": "text/plain" } }],
  "a topic as a stream": () => ["/streams/news?offset=-1"],
  webhooks: () => ["/webhooks", { headers: { authorization: "Bearer operator" } }],
  Connect: () => ["/s.S/Double", { method: "POST", body: '{"value":2}', headers: JSON_TYPE }],
};
const BY_ADDRESS = new Set(["OpenAPI", "AsyncAPI", "a .proto file", "webhooks"]);

async function serve(authenticate?: Authenticate) {
  const seen = service("s", {
    double: unary({ input: z.int(), output: z.int() }, (n) => 2 * n),
    size: unary({ input: withUpload(z.object({}), { file: upload() }), output: z.int() }, ({ file }) => file.size),
    news: topic({ event: z.int() }),
  });
  const store = memoryStore();
  const files = uploads({ directory: mkdtempSync(join(folder, "uploads-")) });
  const streams = durableStreamsPart({ store, create: true });
  const core = createCore(files.services([seen]), {
    store,
    layers: [files.layer],
    limits: { ratePerSecond: RATE },
    now: () => 1_700_000_000_000,
    ...(authenticate && { authenticate }),
  });
  await core.start();
  const { limits, contract } = core;
  const handler = httpHandler(core, {
    mounts: [
      ...files.mounts(core),
      ...streams.mounts(core),
      rpcMount(rpcHandlers(core, describeProto(contract)), { limits }),
      descriptions(contract, { title: "t", version: "0", isAnonymous: core.anonymous }),
      webhooksMount("operator", new Map()),
    ],
  });
  const started = [await files.start(core), await streams.start()];
  ends.push(async () => {
    for (const { stop } of started) await stop();
    await core.close();
    await store.close();
  });
  /** Whether it was refused for its rate. */
  return async (what: string, address: string, user?: string): Promise<boolean> => {
    const [path, init] = REQUESTS[what]?.() ?? [what];
    const headers = new Headers(init?.headers);
    if (user !== undefined && !headers.has("authorization")) headers.set("authorization", `Bearer ${user}`);
    const server = { requestIP: () => ({ address }), timeout() {} };
    const request = new Request(`http://localhost${path}`, { ...init, headers });
    const response = (await handler(request, server))!;
    if (response.status === 429 && request.method !== "HEAD")
      expect(await response.text()).toMatch(/(requests|refused) a second/);
    else await response.arrayBuffer();
    expect([what, response.status]).not.toEqual([what, 500]);
    return response.status === 429;
  };
}

describe("requests a second", () => {
  const ask = serve();
  const known = serve(NAMES);

  for (const what of Object.keys(REQUESTS)) {
    test(`${what} counts once, for its address`, async () => {
      const send = await ask;
      const address = `192.0.2.${Object.keys(REQUESTS).indexOf(what)}`;
      const refused: boolean[] = [];
      for (let n = 0; n < RATE + 2; n++) refused.push(await send(what, address));
      expect(refused).toEqual([false, false, false, false, true, true]);
    });
  }

  test("all kinds together count for one caller", async () => {
    const send = await ask;
    const random = seeded(4);
    const kinds = Object.keys(REQUESTS);
    for (let round = 0; round < 40; round++) {
      const sent = Array.from({ length: RATE + 1 }, () => kinds[Math.floor(random() * kinds.length)]!);
      const refused: boolean[] = [];
      for (const what of sent) refused.push(await send(what, `198.51.100.${round}`));
      expect([sent, refused]).toEqual([sent, [false, false, false, false, true]]);
    }
  });

  test("who has said who it is has a rate of its own, from any address", async () => {
    const send = await known;
    let n = 0;
    for (const what of Object.keys(REQUESTS).filter((each) => !BY_ADDRESS.has(each))) {
      const user = `user${n++}`;
      for (let i = 0; i < RATE; i++) expect([what, await send(what, `203.0.113.${i}`, user)]).toEqual([what, false]);
      expect([what, await send(what, "203.0.113.99", user)]).toEqual([what, true]);
      expect(await send("a call", "203.0.113.99", `${user}b`)).toBe(false);
    }
  });

  test("credentials cannot be guessed faster, and who knows one is not hindered elsewhere", async () => {
    let checks = 0;
    const send = await serve(({ bearer }) => {
      checks++;
      if (bearer === "good") return { id: "good" };
      throw new Fault("unauthenticated", "the API key is not known");
    });
    const kinds = Object.keys(REQUESTS).filter((each) => !BY_ADDRESS.has(each));
    const refused: boolean[] = [];
    for (const what of kinds) refused.push(await send(what, "203.0.113.1", "bad"));
    expect(refused).toEqual(kinds.map((_, n) => n >= RATE));
    expect(checks).toBe(RATE);
    // Nor is the right one found then.
    expect(await send("a call", "203.0.113.1", "good")).toBe(true);
    for (let i = 0; i < RATE; i++) expect(await send("a call", "203.0.113.2", "good")).toBe(false);
  });

  test("an address of IPv6 is its first 64 bits", async () => {
    const send = await ask;
    for (let i = 0; i < RATE; i++) expect(await send("a call", `2001:db8:1:2::${i}`)).toBe(false);
    expect(await send("OpenAPI", "2001:db8:1:2:ffff::1")).toBe(true);
    expect(await send("a call", "2001:db8:1:3::1")).toBe(false);
  });

  test("who watches over the server is never refused", async () => {
    const send = await ask;
    for (let i = 0; i < RATE; i++) await send("a call", "192.0.2.200");
    expect(await send("a call", "192.0.2.200")).toBe(true);
    for (const path of ["/healthz", "/readyz", "/metrics"])
      expect([path, await send(path, "192.0.2.200")]).toEqual([path, false]);
  });
});
