import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { CallState } from "../../contract/index.ts";
import { SseDecoder, type SseOutput } from "../../wire/sse.ts";
import { rawSocket, reading, type Served, serve, until } from "./server.fixture.ts";

let lab: Served;
beforeAll(async () => {
  lab = await serve();
});
afterAll(() => lab.stop());

const SSE = { accept: "text/event-stream" };
const NDJSON = { accept: "application/x-ndjson" };
const events = (text: string) => new SseDecoder().feed(text).filter((each) => each.type === "event");
const names = (outputs: readonly SseOutput[]) =>
  outputs.map((each) => (each.type === "event" ? each.event : each.type));
const lines = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

async function count(to: number, size = 0): Promise<string> {
  const response = await lab.post("/lab/count", { to, size }, { prefer: "respond-async, wait=10" });
  expect(response.status).toBe(200);
  return response.headers.get("location")!;
}

describe("SSE", () => {
  test("a stream: retry, verdict, events with ids, the end", async () => {
    const response = await lab.post("/lab/count", { to: 2 }, SSE);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    expect(response.headers.get("backtalk-verdict")).toBe("recovered");
    expect(response.headers.get("location")).toStartWith("/calls/");
    const text = await response.text();
    expect(text).toStartWith("retry: 1000\n\nid: ");
    const all = events(text);
    expect(names(all)).toEqual(["verdict", "open", "item", "item", "end"]);
    expect(all.map(({ data }) => data).slice(2)).toEqual(['{"n":1}', '{"n":2}', "{}"]);
    const ids = all.map(({ id }) => id);
    expect([...ids].sort()).toEqual(ids);
  });

  test("a unary call as its events", async () => {
    const text = await (await lab.post("/lab/double", { n: 2 }, SSE)).text();
    expect(names(events(text))).toEqual(["verdict", "open", "end"]);
  });

  test("resumed after an id; at the end 204", async () => {
    const location = await count(3);
    const all = events(await (await lab.get(`${location}/events`, SSE)).text());
    const second = all.find(({ data }) => data === '{"n":2}')!;
    const rest = events(await (await lab.get(`${location}/events`, { ...SSE, "last-event-id": second.id })).text());
    expect(names(rest)).toEqual(["verdict", "item", "end"]);
    expect(JSON.parse(rest[0]!.data)).toEqual({ verdict: "recovered", from: second.id, to: second.id });
    const over = await lab.get(`${location}/events?after=${all.at(-1)!.id}`, SSE);
    expect(over.status).toBe(204);
    const reset = await lab.get(`${location}/events?after=zzzzzzzz-a1`, SSE);
    expect(reset.headers.get("backtalk-verdict")).toBe("reset");
    expect(names(events(await reset.text())).length).toBe(6);
    expect((await lab.get(`${location}/events?after=nonsense`, SSE)).status).toBe(400);
  });

  test("a large log comes whole and in order, through many pages", async () => {
    const location = await count(3000, 1000);
    const got = events(await (await lab.get(`${location}/events`, SSE)).text());
    const items = got.filter(({ event }) => event === "item").map(({ data }) => (JSON.parse(data) as { n: number }).n);
    expect(items).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
  });

  test("comments in silence; a rotation says so and loses nothing", async () => {
    const quick = await serve({ timing: { commentMs: 40, rotateMs: 400, retryMs: 7 } });
    const got = reading(await quick.get("/topics/ticks", SSE));
    await until(() => got.text.includes(":\n\n:\n\n"));
    await until(() => got.done);
    expect(got.text).toStartWith("retry: 7\n\n");
    const last = events(got.text).at(-1)!;
    expect([last.event, JSON.parse(last.data)]).toEqual(["close", { reason: "rotate", retryAfterMs: 0 }]);
    await quick.post("/topics/ticks", { n: 5 });
    const resumed = reading(await quick.get("/topics/ticks", { ...SSE, "last-event-id": last.id }));
    await until(() => resumed.text.includes('data: {"n":5}'));
    await resumed.cancel();
    await quick.stop();
  });

  test("a drain tells the readers to come back, spread", async () => {
    const other = await serve({ drainMs: 0, timing: { spreadMs: 5000 } });
    const all = await Promise.all(
      Array.from({ length: 20 }, async () => reading(await other.get("/topics/ticks", SSE))),
    );
    await until(() => all.every(({ text }) => text.includes("verdict")));
    void other.core.drain();
    await until(() => all.every(({ done }) => done));
    const closes = all.map(
      ({ text }) => JSON.parse(events(text).at(-1)!.data) as { reason: string; retryAfterMs: number },
    );
    expect(new Set(closes.map(({ reason }) => reason))).toEqual(new Set(["drain"]));
    expect(new Set(closes.map(({ retryAfterMs }) => retryAfterMs)).size).toBeGreaterThan(10);
    await other.stop();
  });

  test("a credential that expires closes the stream", async () => {
    const expiresAt = Date.now() + 150;
    const other = await serve({ authenticate: () => ({ id: "ann", expiresAt }), timing: { commentMs: 100 } });
    const got = reading(await other.get("/topics/ticks", SSE));
    await until(() => got.done);
    expect(got.text).toContain('event: close\ndata: {"reason":"expired"');
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt);
    await other.stop();
  });

  test("too many streams", async () => {
    const other = await serve({ limits: { connections: 2 } });
    const open = [await other.get("/topics/ticks", SSE), await other.get("/topics/ticks", NDJSON)].map(reading);
    const refused = await other.get("/topics/ticks", SSE);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ code: "resource_exhausted", limit: "connections" });
    await open[0]!.cancel();
    await until(() => other.metric('backtalk_connections{transport="sse"}') === 0);
    const again = reading(await other.get("/topics/ticks", SSE));
    await until(() => again.text.includes("verdict"));
    await Promise.all([again.cancel(), open[1]!.cancel()]);
    await other.stop();
  });
});

describe("NDJSON", () => {
  test("a stream back is NDJSON when nothing else is asked for; JSON alone is 406", async () => {
    const response = await lab.post("/lab/count", { to: 2 });
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    const all = lines(await response.text());
    expect(all[0]).toMatchObject({ verdict: "recovered", from: "start" });
    expect(all.slice(1).map(({ kind }) => kind)).toEqual(["open", "item", "item", "end"]);
    expect(all[2]).toEqual({ cursor: expect.any(String), kind: "item", at: expect.any(Number), data: { n: 1 } });
    const refused = await lab.post("/lab/count", { to: 2 }, { accept: "application/json" });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([406, "unimplemented"]);
  });

  test("items come when they are made", async () => {
    const got = reading(await lab.post("/lab/drip", { gate: "drip" }, NDJSON));
    await until(() => got.text.includes('"data":{"n":1}'));
    expect(got.text).not.toContain('"data":{"n":2}');
    await lab.release("drip");
    await until(() => got.done);
    expect(lines(got.text).at(-1)).toMatchObject({ kind: "end" });
  });
});

describe("pages of JSON", () => {
  interface Page {
    verdict: { verdict: string };
    events: { kind: string; data: { n: number } }[];
    cursor: string;
    more: boolean;
    ended: boolean;
  }

  test("page after page to the end", async () => {
    const location = await count(700);
    const items: number[] = [];
    let after = "start";
    for (let pages = 0; ; pages++) {
      expect(pages).toBeLessThan(10);
      const page = (await (await lab.get(`${location}/events?after=${after}`)).json()) as Page;
      expect(page.events.length).toBeLessThanOrEqual(300);
      items.push(...page.events.filter(({ kind }) => kind === "item").map(({ data }) => data.n));
      after = page.cursor;
      expect(page.more).toBe(!page.ended);
      if (page.ended) break;
    }
    expect(items).toEqual(Array.from({ length: 700 }, (_, i) => i + 1));
    const last = await lab.get(`${location}/events?after=${after}`);
    const etag = last.headers.get("etag")!;
    expect((await last.json()) as Page).toMatchObject({ events: [], ended: true });
    expect((await lab.get(`${location}/events?after=${after}`, { "if-none-match": etag })).status).toBe(304);
  });

  test("an empty page is held until there is something", async () => {
    const now = (await (await lab.get("/topics/ticks")).json()) as Page;
    expect(now).toMatchObject({ verdict: { verdict: "recovered" }, events: [], ended: false });
    const held = lab.get(`/topics/ticks?after=${now.cursor}`, { prefer: "wait=30" });
    await until(() => lab.metric("backtalk_held_polls") === 1);
    await lab.post("/topics/ticks", { n: 7 });
    const response = await held;
    expect(response.headers.get("preference-applied")).toBe("wait=30");
    expect((await response.json()) as Page).toMatchObject({
      verdict: { verdict: "recovered", from: now.cursor },
      events: [{ kind: "item", data: { n: 7 } }],
    });
    const head = await fetch(`${lab.url}/topics/ticks`, { method: "HEAD", headers: SSE });
    expect([head.status, head.headers.get("backtalk-verdict")]).toEqual([200, "recovered"]);
  });

  test("held polls have a limit", async () => {
    const other = await serve({ limits: { heldPolls: 1 } });
    const abort = new AbortController();
    other.get("/topics/ticks", { prefer: "wait=30" }, { signal: abort.signal }).catch(() => {});
    await until(() => other.metric("backtalk_held_polls") === 1);
    const refused = await other.get("/topics/ticks", { prefer: "wait=30" });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await refused.json()).toMatchObject({ limit: "heldPolls" });
    abort.abort();
    await until(() => other.metric("backtalk_held_polls") === 0);
    await other.stop();
  });
});

describe("topics", () => {
  test("published once for a key", async () => {
    const first = await lab.post("/topics/ticks", { n: 1 }, { "idempotency-key": "once" });
    const again = await lab.post("/topics/ticks", { n: 1 }, { "idempotency-key": '"once"' });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    const [one, two] = [await first.json(), await again.json()] as { cursor: string; duplicate: boolean }[];
    expect(two).toEqual({ cursor: one!.cursor, duplicate: true });
    expect((await lab.post("/topics/ticks", { n: 2 }, { "idempotency-key": "once" })).status).toBe(422);
    expect((await lab.post("/topics/ticks", { n: "x" })).status).toBe(400);
    expect((await lab.post("/topics/ticks")).status).toBe(400);
    expect((await lab.post("/topics/closed", { n: 1 })).status).toBe(403);
  });

  test("many readers get the same events in the same order", async () => {
    const readers = await Promise.all(
      Array.from({ length: 30 }, async () => reading(await lab.get("/topics/ticks", SSE))),
    );
    await until(() => readers.every(({ text }) => text.includes("verdict")));
    for (let n = 100; n < 120; n++) await lab.post("/topics/ticks", { n });
    await until(() => readers.every(({ text }) => text.includes('{"n":119}')));
    const texts = new Set(readers.map(({ text }) => JSON.stringify(events(text).slice(1))));
    expect(texts.size).toBe(1);
    await Promise.all(readers.map((each) => each.cancel()));
    await until(() => lab.metric('backtalk_connections{transport="sse"}') === 0);
  });
});

describe("a caller that streams", () => {
  const ndjson = { "content-type": "application/x-ndjson" };
  const items = (...ns: number[]) => ns.map((n) => `${JSON.stringify({ n })}\n`).join("");

  test("all in one body, as lines or as an array", async () => {
    const response = await lab.post("/lab/sum", items(1, 2, 3), ndjson);
    expect(await response.json()).toEqual({ n: 6 });
    expect(response.headers.get("location")).toStartWith("/calls/");
    expect(await (await lab.post("/lab/sum", [{ n: 4 }, { n: 5 }])).json()).toEqual({ n: 9 });
    expect(await (await lab.post("/lab/sum", '{"n":1}\n{"n":2}', ndjson)).json()).toEqual({ n: 3 });
    expect(await (await lab.post("/lab/sum")).json()).toEqual({ n: 0 });
  });

  test("a body that is sent again in many pieces keeps the numbers of its items", async () => {
    const opened = await lab.post("/lab/sum", undefined, { prefer: "respond-async", ...ndjson });
    const { id } = (await opened.json()) as CallState;
    // More than are stored at once.
    const all = items(...Array.from({ length: 600 }, () => 1));
    for (const end of [false, true]) {
      const sent = await lab.post(`/calls/${id}/items?seq=0&end=${end}`, all, ndjson);
      expect(await sent.json()).toMatchObject({ next: 600 });
    }
    const done = await lab.get(`/calls/${id}`, { prefer: "wait=10" });
    expect(await done.json()).toMatchObject({ state: "done", result: { n: 600 } });
  });

  test("a handle first, then items by number; what came before is skipped", async () => {
    const opened = await lab.post("/lab/sum", undefined, { prefer: "respond-async", ...ndjson });
    expect(opened.status).toBe(202);
    const { id, received } = (await opened.json()) as CallState;
    expect(received).toEqual({ items: 0, ended: false });
    const path = `/calls/${id}/items`;
    expect(await (await lab.post(`${path}?seq=0`, items(1, 2), ndjson)).json()).toMatchObject({ next: 2 });
    const tag = (await lab.get(`/calls/${id}`)).headers.get("etag");
    expect(await (await lab.post(`${path}?seq=1`, items(2, 3), ndjson)).json()).toMatchObject({ next: 3 });
    expect((await lab.get(`/calls/${id}`)).headers.get("etag")).not.toBe(tag);
    const ahead = await lab.post(`${path}?seq=9`, items(9), ndjson);
    expect([ahead.status, await ahead.json()]).toEqual([
      409,
      expect.objectContaining({ code: "aborted", info: { next: 3 } }),
    ]);
    const bad = await lab.post(path, '{"n":4}\n{"n":"x"}\n', ndjson);
    expect(bad.status).toBe(400);
    for (const query of ["seq=-1", "end=maybe"])
      expect((await lab.post(`${path}?${query}`, "", ndjson)).status).toBe(400);
    const { received: now } = (await (await lab.get(`/calls/${id}`)).json()) as CallState;
    expect(await (await lab.post(`${path}?seq=${now!.items}&end=true`, [{ n: 10 }])).json()).toMatchObject({
      next: now!.items + 1,
    });
    const done = await lab.get(`/calls/${id}`, { prefer: "wait=10" });
    expect(await done.json()).toMatchObject({ state: "done", result: { n: now!.items === 3 ? 16 : 20 } });
  });

  test("a result before the end of the items: the rest is not read", async () => {
    const { got, send, end } = await rawSocket(lab.port);
    send(
      "POST /lab/first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n",
    );
    send(`8\r\n${items(5)}\r\n`);
    await until(() => got.text.includes('{"n":5}'));
    expect(got.text).toStartWith("HTTP/1.1 200");
    end();
  });

  test("both ways at once", async () => {
    let feed: ReadableStreamDefaultController<Uint8Array>;
    const send = (n: number) => feed.enqueue(new TextEncoder().encode(items(n)));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        feed = controller;
        send(1);
      },
    });
    const got = reading(await fetch(`${lab.url}/lab/echo`, { method: "POST", headers: ndjson, body }));
    await until(() => got.text.includes('{"n":-1}'));
    send(2);
    await until(() => got.text.includes('{"n":-2}'));
    feed!.close();
    await until(() => got.done);
    expect(lines(got.text).at(-1)).toMatchObject({ kind: "end" });
  });

  test("an item that is refused is told of in the stream", async () => {
    const response = await lab.post("/lab/echo", '{"n":1}\n{"n":"x"}\n', ndjson);
    expect(response.status).toBe(200);
    const close = lines(await response.text()).at(-1);
    expect(close).toMatchObject({ close: { reason: "fault", fault: { code: "invalid_argument" } } });
  });
});
