import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { CallState } from "../../contract/index.ts";
import { CODES, Fault } from "../../log/index.ts";
import { type Served, serve, until } from "./server.fixture.ts";
import { STATUS, statusOf } from "./status.ts";

let lab: Served;
beforeAll(async () => {
  lab = await serve({ http: { origins: ["https://friend.example"], title: "Lab", version: "1.2.3" } });
});
afterAll(() => lab.stop());

const json = async (response: Response) => (await response.json()) as Record<string, unknown>;

async function problem(response: Response | Promise<Response>) {
  const answer = await response;
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  const body = await json(answer);
  expect(body).toMatchObject({
    status: answer.status,
    type: `urn:backtalk:fault:${body["code"]}`,
    title: body["code"],
  });
  return { ...body, status: answer.status, headers: answer.headers } as Record<string, unknown> & { headers: Headers };
}

test("every code of faults has a status", () => {
  expect(Object.keys(STATUS).sort()).toEqual([...CODES].sort());
  expect(statusOf(new Fault("resource_exhausted", "", { limit: "itemBytes" }))).toBe(413);
  expect(statusOf(new Fault("invalid_argument", "", { detail: { key: "reused" } }))).toBe(422);
});

describe("a plain call", () => {
  test("JSON in, JSON out", async () => {
    for (const method of ["double", "later"]) {
      const response = await lab.post(`/lab/${method}`, { n: 21 });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toStartWith("application/json");
      expect(response.headers.get("location")).toBeNull();
      expect(await json(response)).toEqual({ n: 42 });
    }
  });

  test("a body without type is JSON, an absent one is {}", async () => {
    const untyped = await fetch(`${lab.url}/lab/double`, { method: "POST", body: new TextEncoder().encode('{"n":1}') });
    expect(await json(untyped)).toEqual({ n: 2 });
    expect(await (await fetch(`${lab.url}/lab/greet`, { method: "POST" })).json()).toBe("you");
  });

  test("a long body, and one whose length is not announced", async () => {
    const name = "é".repeat(3_000_000);
    expect(await (await lab.post("/lab/greet", { name })).json()).toBe(name);
    const chunks = JSON.stringify({ name }).match(/.{1,100000}/gs)!;
    const body = new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
        controller.close();
      },
    });
    expect(await (await fetch(`${lab.url}/lab/greet`, { method: "POST", body })).json()).toBe(name);
  });

  test("bad input names its fields", async () => {
    const fault = await problem(lab.post("/lab/double", { n: "x" }));
    expect(fault).toMatchObject({ status: 400, code: "invalid_argument", retryable: false });
    expect(fault["fields"]).toEqual([{ path: "n", message: expect.any(String) }]);
  });

  test("a defect of the handler tells nothing of itself", async () => {
    const fault = await problem(lab.post("/lab/broken", {}));
    expect(fault).toMatchObject({ status: 500, code: "internal" });
    expect(JSON.stringify(fault)).not.toContain("secret");
  });

  test("the caller goes away: the handler is told", async () => {
    const before = lab.seen.aborted;
    const abort = new AbortController();
    const called = fetch(`${lab.url}/lab/slow`, { method: "POST", body: '{"gate":"gone"}', signal: abort.signal });
    called.catch(() => {});
    await until(() => lab.gates.has("gone"));
    abort.abort();
    await until(() => lab.seen.aborted === before + 1);
    await lab.release("gone");
  });

  test("Request-Timeout", async () => {
    const fault = await problem(lab.post("/lab/slow", { gate: "late" }, { "request-timeout": "0.05" }));
    expect(fault).toMatchObject({ status: 504, code: "deadline_exceeded" });
    await lab.release("late");
    for (const bad of ["-1", "soon", "0", "1e3"]) {
      expect((await problem(lab.post("/lab/double", { n: 1 }, { "request-timeout": bad }))).status).toBe(400);
    }
  });

  test("traceparent goes through and out, with a span of its own", async () => {
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const called = lab.post("/lab/slow", { gate: "trace" }, { traceparent });
    await lab.release("trace");
    const out = (await called).headers.get("traceparent")!;
    expect(out).toStartWith("00-4bf92f3577b34da6a3ce929d0e0e4736-");
    expect(out).not.toBe(traceparent);
    expect(lab.seen.trace).toBe(out);
  });
});

describe("safe methods", () => {
  test("GET and QUERY with ETag and Cache-Control", async () => {
    const path = `/lab/double?input=${encodeURIComponent('{"n":4}')}`;
    const first = await lab.get(path);
    expect(await json(first)).toEqual({ n: 8 });
    expect(first.headers.get("cache-control")).toBe("no-cache");
    const etag = first.headers.get("etag")!;
    const again = await lab.get(path, { "if-none-match": etag });
    expect([again.status, await again.text()]).toEqual([304, ""]);
    const query = await fetch(`${lab.url}/lab/double`, { method: "QUERY", body: '{"n":4}' });
    expect(query.headers.get("etag")).toBe(etag);
    const head = await fetch(lab.url + path, { method: "HEAD" });
    expect([head.status, head.headers.get("etag"), await head.text()]).toEqual([200, etag, ""]);
    expect((await problem(lab.get("/lab/double?input=%7B"))).status).toBe(400);
    expect((await problem(lab.get("/lab/double"))).status).toBe(400);
  });

  test("other methods are 405 with Allow", async () => {
    const fault = await problem(lab.get("/lab/later"));
    expect([fault.status, fault.headers.get("allow")]).toEqual([405, "POST, OPTIONS"]);
    const put = await problem(fetch(`${lab.url}/lab/double`, { method: "PUT" }));
    expect(put.headers.get("allow")).toBe("POST, GET, QUERY, HEAD, OPTIONS");
  });
});

describe("idempotency", () => {
  test("the same key is the same call, quoted or not; another input is refused", async () => {
    const key = crypto.randomUUID();
    const runs = lab.seen.runs;
    const first = lab.post("/lab/slow", { gate: key }, { "idempotency-key": key });
    await until(() => lab.gates.has(key));
    const second = lab.post("/lab/slow", { gate: key }, { "idempotency-key": `"${key}"` });
    await lab.release(key);
    const [one, two] = await Promise.all([first, second]);
    expect(await one.text()).toBe(await two.text());
    expect(one.headers.get("location")).toBe(two.headers.get("location"));
    expect(one.headers.get("location")).toStartWith("/calls/");
    expect([one.headers.get("idempotency-replayed"), two.headers.get("idempotency-replayed")]).toEqual([null, "true"]);
    expect(lab.seen.runs).toBe(runs + 1);
    const other = await problem(lab.post("/lab/slow", { gate: "x" }, { "idempotency-key": key }));
    expect(other).toMatchObject({ status: 422, code: "invalid_argument", info: { key: "reused" } });
  });

  test("keys that cannot be read or are too long", async () => {
    for (const key of ['"open', "a b", "k".repeat(256)]) {
      expect((await problem(lab.post("/lab/double", { n: 1 }, { "idempotency-key": key }))).status).toBe(400);
    }
  });
});

describe("handles and polling", () => {
  async function start(gate: string) {
    const response = await lab.post("/lab/slow", { gate }, { prefer: "respond-async" });
    expect(response.status).toBe(202);
    expect(response.headers.get("preference-applied")).toBe("respond-async");
    const state = (await json(response)) as unknown as CallState;
    expect(response.headers.get("location")).toBe(`/calls/${state.id}`);
    return state;
  }

  test("started, polled with ETag, finished", async () => {
    const { id } = await start("poll");
    await until(async () => (await json(await lab.get(`/calls/${id}`)))["progress"]);
    const first = await lab.get(`/calls/${id}`);
    expect(first.headers.get("retry-after")).toBe("1");
    expect(first.headers.get("cache-control")).toBe("no-cache, private");
    expect(await json(first)).toMatchObject({ id, method: "lab/slow", state: "running", progress: { n: 1 } });
    const etag = first.headers.get("etag")!;
    expect((await lab.get(`/calls/${id}`, { "if-none-match": etag })).status).toBe(304);
    const held = lab.get(`/calls/${id}`, { "if-none-match": etag, prefer: "wait=30" });
    await until(() => lab.metric("backtalk_held_polls") === 1);
    await lab.release("poll");
    const done = await held;
    expect(done.headers.get("preference-applied")).toBe("wait=30");
    expect(done.headers.get("etag")).not.toBe(etag);
    expect(done.headers.get("retry-after")).toBeNull();
    expect(await json(done)).toMatchObject({ state: "done", result: { n: 42 } });
    expect(lab.metric("backtalk_held_polls")).toBe(0);
  });

  test("a held poll gives up after its time, with 304, and when its caller goes", async () => {
    const { id } = await start("held");
    await until(async () => (await json(await lab.get(`/calls/${id}`)))["progress"]);
    const etag = (await lab.get(`/calls/${id}`)).headers.get("etag")!;
    const late = await lab.get(`/calls/${id}`, { "if-none-match": etag, prefer: "wait=1" });
    expect([late.status, late.headers.get("preference-applied")]).toEqual([304, "wait=1"]);
    const abort = new AbortController();
    const gone = lab.get(`/calls/${id}`, { prefer: "wait=30" }, { signal: abort.signal });
    gone.catch(() => {});
    await until(() => lab.metric("backtalk_held_polls") === 1);
    abort.abort();
    await until(() => lab.metric("backtalk_held_polls") === 0);
    await lab.release("held");
  });

  test("wait=N: the result when it comes in time, else the handle; started once", async () => {
    const runs = lab.seen.runs;
    const prefer = "respond-async, wait=20";
    const quick = lab.post("/lab/slow", { gate: "quick" }, { prefer });
    await lab.release("quick");
    expect((await quick).status).toBe(200);
    expect((await quick).headers.get("location")).toStartWith("/calls/");
    expect(await json(await quick)).toEqual({ n: 42 });
    const slow = await lab.post("/lab/slow", { gate: "not yet" }, { prefer: "respond-async, wait=1" });
    expect([slow.status, slow.headers.get("preference-applied")]).toEqual([202, "respond-async, wait=1"]);
    expect(lab.seen.runs).toBe(runs + 2);
    await lab.release("not yet");
  });

  test("cancel, twice", async () => {
    const { id } = await start("cancel");
    for (let i = 0; i < 2; i++) {
      const response = await fetch(`${lab.url}/calls/${id}`, { method: "DELETE" });
      expect([response.status, (await json(response))["state"]]).toEqual([200, "cancelled"]);
    }
    await lab.release("cancel");
  });

  test("the caller's calls, by pages", async () => {
    const seen: string[] = [];
    let path = "/calls?limit=2&method=lab/slow";
    for (let i = 0; i < 50 && path; i++) {
      const response = await lab.get(path);
      const page = (await response.json()) as { calls: CallState[] };
      seen.push(...page.calls.map(({ id }) => id));
      path = /^<([^>]*)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1] ?? "";
    }
    expect(seen.length).toBeGreaterThan(4);
    expect(new Set(seen).size).toBe(seen.length);
    const { calls } = (await (await lab.get("/calls?state=cancelled")).json()) as { calls: CallState[] };
    expect(calls.map(({ state }) => state)).toEqual(["cancelled"]);
    expect((await problem(lab.get("/calls?limit=many"))).status).toBe(400);
  });

  test("no such call, no such address", async () => {
    for (const path of [
      "/calls/nobody",
      "/calls/nobody/events",
      "/calls/a/b/c",
      "/calls/",
      "/x",
      "/",
      "/lab/double/",
    ]) {
      expect((await problem(lab.get(path))).status).toBe(404);
    }
    const near = await problem(lab.post("/lab/duoble", {}));
    expect(near).toMatchObject({ status: 404, hint: expect.stringContaining("lab/double") });
    expect(await problem(lab.get("/topics/tick"))).toMatchObject({
      status: 404,
      hint: expect.stringContaining("ticks"),
    });
  });
});

describe("browsers of other origins", () => {
  const asked = (origin: string, init: RequestInit = {}) =>
    fetch(`${lab.url}/lab/double`, { method: "POST", body: '{"n":1}', ...init, headers: { origin, ...init.headers } });

  test("the own origin passes, another is refused, an allowed one sees the answer", async () => {
    const own = await asked(lab.url);
    expect([own.status, own.headers.get("access-control-allow-origin")]).toEqual([200, null]);
    for (const origin of ["https://evil.example", "null", `${lab.url}.evil.example`]) {
      expect(await problem(asked(origin))).toMatchObject({ status: 403, code: "permission_denied" });
    }
    const friend = await asked("https://friend.example");
    expect(friend.headers.get("access-control-allow-origin")).toBe("https://friend.example");
    expect(friend.headers.get("vary")).toBe("Origin");
    expect(friend.headers.get("access-control-expose-headers")).toContain("location");
    const fault = await asked("https://friend.example", { body: "{" });
    expect([fault.status, fault.headers.get("access-control-allow-origin")]).toEqual([400, "https://friend.example"]);
  });

  test("preflight", async () => {
    const headers = { "access-control-request-method": "POST" };
    const friend = await asked("https://friend.example", { method: "OPTIONS", headers, body: null });
    expect(friend.status).toBe(204);
    expect(friend.headers.get("access-control-allow-methods")).toContain("POST");
    expect(friend.headers.get("access-control-allow-headers")).toContain("idempotency-key");
    expect((await asked("https://evil.example", { method: "OPTIONS", headers, body: null })).status).toBe(403);
    expect((await fetch(`${lab.url}/lab/double`, { method: "OPTIONS" })).headers.get("allow")).toContain("QUERY");
  });
});

describe("the operator's addresses", () => {
  test("health, readiness, metrics", async () => {
    expect((await lab.get("/healthz")).status).toBe(200);
    expect(await json(await lab.get("/readyz"))).toEqual({ ready: true, reasons: [] });
    const metrics = await lab.get("/metrics");
    expect(metrics.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    expect(await metrics.text()).toContain('backtalk_calls_total{method="lab/double",transport="http",code="ok"}');
  });

  test("the description names every method and topic, and refers to nothing that is not there", async () => {
    const document = await json(await lab.get("/openapi.json"));
    expect(document).toMatchObject({ openapi: "3.1.0", info: { title: "Lab", version: "1.2.3" } });
    const paths = document["paths"] as Record<string, Record<string, unknown>>;
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        "/lab/double",
        "/topics/ticks",
        "/calls",
        "/calls/{id}",
        "/calls/{id}/events",
        "/calls/{id}/items",
      ]),
    );
    expect(Object.keys(paths["/lab/double"]!)).toEqual(["post", "get"]);
    expect(Object.keys(paths["/topics/closed"]!)).toEqual(["get"]);
    expect(paths["/lab/double"]!["post"]).toMatchObject({
      requestBody: { content: { "application/json": { schema: { properties: { n: { type: "number" } } } } } },
    });
    for (const [, target] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const found = target!.split("/").reduce((at: unknown, key) => (at as Record<string, unknown>)?.[key], document);
      expect([target, found === undefined]).toEqual([target, false]);
    }
  });

  test("not ready while draining: 503 with Retry-After, held polls are answered", async () => {
    const other = await serve({ drainMs: 0 });
    const started = await other.post("/lab/slow", { gate: "x" }, { prefer: "respond-async" });
    const { id } = (await started.json()) as CallState;
    const held = other.get(`/calls/${id}`, { prefer: "wait=60" });
    await until(() => other.metric("backtalk_held_polls") === 1);
    void other.core.drain();
    expect((await held).status).toBe(200);
    expect((await other.get("/readyz")).status).toBe(503);
    expect((await other.get("/healthz")).status).toBe(200);
    const refused = await problem(other.post("/lab/double", { n: 1 }));
    expect(refused).toMatchObject({ status: 503, code: "unavailable", retryable: true });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    await other.stop();
  });
});

describe("credentials", () => {
  test("bearer and key; nothing is told without", async () => {
    const secured = await serve({
      authenticate: ({ bearer, apiKey, address }) => {
        expect(address).toBe("127.0.0.1");
        if (bearer === "good") return { id: "ann" };
        if (apiKey === "k") return Promise.resolve({ id: "bob" });
        throw new Fault("unauthenticated", "who are you?");
      },
    });
    const refused = await problem(secured.post("/lab/double", { n: 1 }, { authorization: "Bearer bad" }));
    expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect((await secured.post("/lab/unknown", {})).status).toBe(401);
    const ann = { authorization: "bearer good" };
    expect((await secured.post("/lab/double", { n: 1 }, ann)).status).toBe(200);
    expect((await secured.post("/lab/double", { n: 1 }, { "x-api-key": "k" })).status).toBe(200);
    const call = await secured.post("/lab/greet", { name: "x" }, { ...ann, prefer: "respond-async" });
    const location = call.headers.get("location")!;
    expect((await secured.get(location, ann)).status).toBe(200);
    expect((await secured.get(location, { "x-api-key": "k" })).status).toBe(404);
    expect((await secured.get(`${location}/events`, { "x-api-key": "k" })).status).toBe(404);
    expect((await secured.get("/healthz")).status).toBe(200);
    await secured.stop();
  });
});

test("/ws and further addresses are handed on", async () => {
  const other = await serve({
    http: {
      websocket: () => new Response("upgraded"),
      routes: new Map([["/hello", () => new Response("hi")]]),
    },
  });
  expect(await (await other.get("/hello")).text()).toBe("hi");
  expect((await problem(other.get("/ws"))).status).toBe(426);
  await other.stop();
});

test("a server that has its names answers to no other: a page cannot reach it by a name made to resolve to it", async () => {
  const lab = await serve({ http: { hosts: ["localhost", "127.0.0.1"] } });
  const { port } = new URL(lab.url);
  const as = (host: string) => fetch(`${lab.url}/healthz`, { headers: { host } });
  for (const host of [`127.0.0.1:${port}`, `LOCALHOST:${port}`, `app.localhost:${port}`, `127.0.0.1:${port}`]) {
    expect([host, (await as(host)).status]).toEqual([host, 200]);
  }
  for (const host of ["evil.example", `127.0.0.1.evil.example:${port}`, `localhost.evil:${port}`]) {
    const answer = await as(host);
    expect([host, answer.status]).toEqual([host, 421]);
    expect(((await answer.json()) as { hint: string }).hint).toContain("--name");
  }
  await lab.stop();
});

test("header fields above headerBytes are refused by the name of the limit", async () => {
  const lab = await serve({ limits: { headerBytes: 2_000 } });
  const ask = (chars: number) => fetch(`${lab.url}/healthz`, { headers: { "x-filler": "a".repeat(chars) } });
  expect((await ask(1_000)).status).toBe(200);
  const refused = await ask(2_500);
  expect(refused.status).toBe(431);
  expect(await refused.json()).toMatchObject({ code: "invalid_argument", limit: "headerBytes" });
  await lab.stop();
});

describe("what a caller is told of a call that it holds on to", () => {
  test("a held state answers when items of the caller come: its tag has changed", async () => {
    const opened = await lab.post("/lab/sum", undefined, { prefer: "respond-async" });
    const path = opened.headers.get("location")!;
    const etag = (await lab.get(path)).headers.get("etag")!;
    const held = lab.get(path, { "if-none-match": etag, prefer: "wait=60" });
    await until(() => lab.metric("backtalk_held_polls") === 1);
    expect((await lab.post(`${path}/items`, [{ n: 5 }])).status).toBe(200);
    const answer = await held;
    expect(answer.status).toBe(200);
    expect(answer.headers.get("etag")).not.toBe(etag);
    expect(await answer.json()).toMatchObject({ state: "running", received: { items: 1, ended: false } });
    await lab.post(`${path}/items?end=true`, []);
  });

  test("a fault that came within the wait says where the call is", async () => {
    const answer = await lab.post("/lab/broken", {}, { prefer: "respond-async, wait=30" });
    expect(answer.status).toBe(500);
    expect(answer.headers.get("location")).toMatch(/^\/calls\/c[0-9a-z]{26}$/);
  });

  test("HEAD has the length of what GET answers", async () => {
    const target = `/lab/double?input=${encodeURIComponent('{"n":21}')}`;
    const got = await lab.get(target);
    const head = await lab.get(target, {}, { method: "HEAD" });
    // What a cache keeps of an answer to nobody must not be given to a page.
    expect(got.headers.get("vary")).toBe("Origin");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, got.headers.get("content-length")]);
    expect(await head.text()).toBe("");
  });
});
