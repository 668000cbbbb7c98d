/** The client half alone, against answers written out here as PROTOCOL.md §2 has them. */
import { describe, expect, test } from "bun:test";
import { ANONYMOUS, type Call } from "../../contract/index.ts";
import { type Cursor, Fault, type Page } from "../../log/index.ts";
import { type HttpMode, type HttpPeerOptions, httpPeer } from "./client.ts";
import { type Clock, Linked, neverSent, retryAfter, systemClock } from "./client-request.ts";

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

const cursor = (n: number) => `abcd1234-a${n}` as Cursor;
const ends: readonly ["item" | "end", number, unknown][] = [
  ["item", 2, { n: 1 }],
  ["item", 3, { n: 2 }],
  ["end", 4, {}],
];
const sse = `retry: 700\n\nid: ${cursor(1)}\nevent: verdict\ndata: {"verdict":"recovered","from":"start","to":"${cursor(1)}"}\n\n${ends
  .map(([kind, n, data]) => `id: ${cursor(n)}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`)
  .join("")}`;
const ndjson = `{"verdict":"recovered","from":"start","to":"${cursor(1)}"}\n\n${ends
  .map(([kind, n, data]) => `${JSON.stringify({ cursor: cursor(n), kind, at: 5, data })}\n`)
  .join("")}`;

/** Each answer is used once; the last one again and again. */
function setup(
  mode: HttpMode,
  answers: (Response | (() => Response | Promise<Response>))[],
  options: Partial<HttpPeerOptions> = {},
) {
  const sent: Sent[] = [];
  const pauses: number[] = [];
  const peer = httpPeer({
    url: "http://server/base/",
    mode,
    fetch: async (url, { method, headers, body }) => {
      sent.push({ method: method!, url, headers: headers as Record<string, string>, body: body as string | undefined });
      const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
      return typeof answer === "function" ? answer() : answer;
    },
    pause: async (ms) => {
      pauses.push(ms);
    },
    ...options,
  });
  return { peer, sent, pauses };
}

const call = (to: string, rest: Partial<Call> = {}): Call => ({ to, principal: ANONYMOUS, via: "test", ...rest });
const json = (value: unknown, init?: ResponseInit) => Response.json(value, init);
const stream = (text: string, type: string, headers = {}) =>
  new Response(text, { headers: { "content-type": type, ...headers } });
const problem = (status: number, more: object, headers = {}) =>
  new Response(JSON.stringify({ type: "urn:backtalk:fault:x", status, ...more }), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
const state = (name: string, more = {}) => ({
  id: "c1",
  method: "s/m",
  state: name,
  attempt: 1,
  openedAt: 0,
  cursor: cursor(1),
  ...more,
});

async function all(pages: AsyncIterable<Page>): Promise<Page[]> {
  const list: Page[] = [];
  for await (const page of pages) list.push(page);
  return list;
}

async function faultOf(promise: unknown): Promise<Fault> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("it did not fail");
}

describe("calling", () => {
  test("a plain call is one POST", async () => {
    const { peer, sent } = setup("sse", [json({ prime: true })]);
    const exchange = await peer(call("s/isPrime", { input: { n: 7 } }));
    expect(await exchange.result()).toEqual({ prime: true });
    expect(exchange.id).toBeUndefined();
    expect(sent).toEqual([
      {
        method: "POST",
        url: "http://server/base/s/isPrime",
        headers: { accept: "application/json", "content-type": "application/json" },
        body: '{"n":7}',
      },
    ]);
  });

  test("what a call carries becomes header fields", async () => {
    const { peer, sent } = setup("sse", [json(1)], {
      token: async () => "secret",
      headers: { "x-api-key": "k" },
      waitMs: 9000,
    });
    const trace = { traceparent: "00-1-2-01", tracestate: "a=b" };
    const exchange = await peer(call("s/m", { input: {}, key: "my key", deadline: Date.now() + 2000, trace }));
    await exchange.result();
    const { "request-timeout": timeout, ...headers } = sent[0]!.headers;
    expect(headers).toEqual({
      accept: "application/json",
      authorization: "Bearer secret",
      "content-type": "application/json",
      "idempotency-key": '"my key"',
      prefer: "respond-async, wait=9",
      tracestate: "a=b",
      traceparent: "00-1-2-01",
      "x-api-key": "k",
    });
    expect(Number(timeout)).toBeGreaterThan(1);
    expect(Number(timeout)).toBeLessThanOrEqual(2);
  });

  test("a key that a header field cannot carry is refused", async () => {
    for (const key of ["é", "a\nb", ""]) {
      const { peer, sent } = setup("sse", [json(1)]);
      const exchange = await peer(call("s/m", { key }));
      expect((await faultOf(exchange.result())).code).toBe("invalid_argument");
      expect(sent).toEqual([]);
    }
  });

  test("a kept call is opened at once, and its result waited for", async () => {
    const { peer, sent } = setup("long-poll", [
      json(state("running"), { status: 202, headers: { location: "/calls/c%201" } }),
      json(state("running"), { headers: { etag: '"1"' } }),
      json(state("done", { result: [1] })),
    ]);
    const exchange = await peer(call("s/m", { input: {}, keep: true, key: "k" }));
    expect(exchange.id).toBe("c 1");
    expect(await exchange.result()).toEqual([1]);
    expect(sent.map(({ method, url, headers }) => [method, url, headers["prefer"]])).toEqual([
      ["POST", "http://server/base/s/m", "respond-async"],
      ["GET", "http://server/base/calls/c%201", "wait=25"],
      ["GET", "http://server/base/calls/c%201", "wait=25"],
    ]);
  });

  test("in the mode poll nothing is held: the state is asked for at the server's pace", async () => {
    const { peer, sent, pauses } = setup("poll", [
      json(state("running"), { headers: { "retry-after": "3" } }),
      json(state("running")),
      json(state("failed", { fault: { code: "aborted", message: "no", retryable: true } })),
    ]);
    const exchange = await peer(call("calls/c1"));
    expect(await faultOf(exchange.result())).toMatchObject({ code: "aborted", message: "no" });
    expect(sent.every(({ headers }) => headers["prefer"] === undefined)).toBe(true);
    expect(pauses).toEqual([3000, 1000]);
  });

  test("the state is asked for by its ETag, and a 304 is the same state", async () => {
    let now = 0;
    const { peer, sent } = setup(
      "long-poll",
      [
        json(state("running"), { headers: { etag: '"t1"' } }),
        () => {
          now += 5000;
          return new Response(null, { status: 304 });
        },
      ],
      { clock: { now: () => now, after: () => () => {} } },
    );
    const exchange = await peer(call("calls/c1"));
    const first = await exchange.state();
    const second = await exchange.state({ after: first.cursor, waitMs: 5000 });
    expect(second).toBe(first);
    expect(sent[1]!.headers).toMatchObject({ "if-none-match": '"t1"', prefer: "wait=5" });
  });

  test("items go in numbered batches, events one by one", async () => {
    const { peer, sent } = setup("sse", [
      json({ next: 5, cursor: cursor(5) }),
      json({ cursor: cursor(9), duplicate: true }),
    ]);
    const items = await peer(call("calls/c1"));
    expect(await items.append({ items: [1, 2], seq: 3, end: true })).toEqual({
      next: 5,
      cursor: cursor(5),
      duplicate: false,
    });
    const topic = await peer(call("topics/news"));
    expect(await topic.append({ items: [{ a: 1 }], key: "k" })).toEqual({
      next: 0,
      cursor: cursor(9),
      duplicate: true,
    });
    expect(sent.map(({ method, url, body }) => [method, url, body])).toEqual([
      ["POST", "http://server/base/calls/c1/items?seq=3&end=true", "[1,2]"],
      ["POST", "http://server/base/topics/news", '{"a":1}'],
    ]);
    expect(sent[1]!.headers["idempotency-key"]).toBe('"k"');
    expect((await faultOf(topic.append({ items: [1, 2] }))).code).toBe("invalid_argument");
  });

  test("a method with client streaming is opened without a body", async () => {
    const { peer, sent } = setup("sse", [json(state("running"), { status: 202, headers: { location: "/calls/c1" } })]);
    const exchange = await peer(call("s/digest", { keep: true, key: "k" }));
    expect(exchange.id).toBe("c1");
    expect(sent[0]!.body).toBeUndefined();
    expect(sent[0]!.headers["content-type"]).toBeUndefined();
  });

  test("cancel: a recorded call by DELETE, any other by closing the connection", async () => {
    const { peer, sent } = setup("sse", [json(state("cancelled"))]);
    await (await peer(call("calls/c1"))).cancel();
    expect(sent[0]).toMatchObject({ method: "DELETE", url: "http://server/base/calls/c1" });
    const fetch = (_: string, { signal }: RequestInit) =>
      new Promise<Response>((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason)));
    const plain = await httpPeer({ url: "http://server", mode: "sse", fetch })(call("s/m"));
    const result = plain.result();
    await plain.cancel();
    expect(await faultOf(result)).toMatchObject({ code: "cancelled" });
  });
});

describe("faults", () => {
  test("problem details become the fault that was sent", async () => {
    const fields = [{ path: "n", message: "no" }];
    const info = { next: 4 };
    const { peer } = setup("sse", [
      problem(
        409,
        {
          title: "aborted",
          detail: "not now",
          retryable: true,
          hint: "h",
          retryAfterMs: 250,
          fields,
          limit: "l",
          info,
        },
        { "retry-after": "1" },
      ),
    ]);
    const fault = await faultOf((await peer(call("s/m"))).result());
    expect(fault.toJSON()).toEqual({
      code: "aborted",
      message: "not now",
      retryable: true,
      hint: "h",
      retryAfterMs: 250,
      fields,
      limit: "l",
      detail: info,
    });
  });

  for (const [status, code, retryable] of [
    [400, "invalid_argument", false],
    [401, "unauthenticated", false],
    [404, "not_found", false],
    [408, "unavailable", true],
    [429, "resource_exhausted", true],
    [502, "unavailable", true],
    [504, "unavailable", true],
    [418, "unknown", false],
  ] as const) {
    test(`${status} of somebody on the way is ${code}`, async () => {
      const { peer } = setup("sse", [new Response("<html>", { status, headers: { "retry-after": "2" } })]);
      const fault = await faultOf((await peer(call("s/m"))).result());
      expect(fault).toMatchObject({ code, retryable, retryAfterMs: 2000 });
    });
  }

  test("a fault tells the id of the call, when it is recorded", async () => {
    const { peer } = setup("sse", [
      problem(503, { title: "unavailable", detail: "busy" }),
      problem(503, { title: "unavailable", detail: "of the handler" }, { location: "/calls/c9" }),
    ]);
    const exchange = await peer(call("s/m", { key: "k" }));
    await faultOf(exchange.result());
    expect(exchange.id).toBeUndefined();
    await faultOf(exchange.result());
    expect(exchange.id).toBe("c9");
  });

  test("a broken connection and an answer that is cut off are unavailable, and can be tried again", async () => {
    for (const answer of [() => Promise.reject(new TypeError("failed")), new Response('{"a":')]) {
      const { peer } = setup("sse", [answer]);
      expect(await faultOf((await peer(call("s/m"))).result())).toMatchObject({ code: "unavailable", retryable: true });
    }
  });

  test.each([200, 404])("an answer without an end is not read on for ever (%d)", async (status) => {
    let pulls = 0;
    let isCancelled = false;
    const piece = new Uint8Array(1024 * 1024).fill(32);
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulls++;
        controller.enqueue(piece);
      },
      cancel() {
        isCancelled = true;
      },
    });
    const headers = { "content-type": status === 200 ? "application/json" : "application/problem+json" };
    const { peer } = setup("sse", [new Response(endless, { status, headers })]);
    const exchange = await peer(call("s/m", { input: {} }));
    const fault = await (async () => exchange.result())().catch((thrown: unknown) => thrown);
    expect(fault).toMatchObject({ code: status === 200 ? "data_loss" : "not_found", retryable: false });
    expect(isCancelled).toBe(true);
    expect(pulls).toBeLessThan(70);
  });

  test("an abort is the caller's: its reason when that is a fault", async () => {
    const hang = (_: string, { signal }: RequestInit) =>
      new Promise<Response>((_, reject) => {
        if (signal!.aborted) reject(signal!.reason);
        signal!.addEventListener("abort", () => reject(signal!.reason));
      });
    const codeOf = async (signal: AbortSignal) =>
      (await faultOf((await httpPeer({ url: "http://s", mode: "sse", fetch: hang })(call("s/m", { signal }))).result()))
        .code;
    expect(await codeOf(AbortSignal.abort())).toBe("cancelled");
    expect(await codeOf(AbortSignal.abort(new Fault("out_of_range", "mine")))).toBe("out_of_range");
    expect(await codeOf(AbortSignal.timeout(1))).toBe("deadline_exceeded");
  });

  test("what certainly was never sent is told from what may have been", async () => {
    const refused = await faultOf((await httpPeer({ url: "http://127.0.0.1:9", mode: "sse" })(call("s/m"))).result());
    expect(refused.code).toBe("unavailable");
    expect(neverSent(refused)).toBe(true);
    const inNode = new TypeError("fetch failed", {
      cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }),
    });
    expect(neverSent(new Fault("unavailable", "", { cause: inNode }))).toBe(true);
    expect(neverSent(new Fault("unavailable", "", { cause: new TypeError("Failed to fetch") }))).toBe(false);
    expect(neverSent(new Fault("unavailable", ""))).toBe(false);
  });

  test("Retry-After in both its forms", () => {
    const at = (value: string) => retryAfter(new Headers({ "retry-after": value }), Date.parse("2026-01-01T00:00:00Z"));
    expect(at("7")).toBe(7000);
    expect(at("Thu, 01 Jan 2026 00:00:10 GMT")).toBe(10_000);
    expect(at("Thu, 01 Jan 2025 00:00:10 GMT")).toBe(0);
    expect(at("soon")).toBeUndefined();
  });

  test("a wait of years is no wait of nothing", async () => {
    let isOver = false;
    const stop = systemClock.after(retryAfter(new Headers({ "retry-after": "99999999999" }), 0)!, () => {
      isOver = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    stop();
    expect(isOver).toBe(false);
  });

  test("a redirect is told of, and not followed: credentials would go with it", async () => {
    const inits: RequestInit[] = [];
    const elsewhere = { status: 307, headers: { location: "http://other/" } };
    const fetch = async (_: string, init: RequestInit) => {
      inits.push(init);
      return new Response(null, elsewhere);
    };
    const peer = httpPeer({ url: "http://s", mode: "sse", fetch });
    const fault = await faultOf((await peer(call("s/m"))).result());
    expect(fault).toMatchObject({ code: "failed_precondition", retryable: false });
    expect(fault.message).toContain("http://other/");
    expect(inits.map(({ redirect }) => redirect)).toEqual(["manual"]);
  });
});

describe("reading", () => {
  for (const [mode, text, type] of [
    ["sse", sse, "text/event-stream"],
    ["ndjson", ndjson, "application/x-ndjson"],
  ] as const) {
    test(`${mode}: the call itself answers with its events, cut anywhere`, async () => {
      const bytes = new TextEncoder().encode(text);
      for (let cut = 0; cut <= bytes.length; cut++) {
        const body = new ReadableStream({
          start(controller) {
            if (cut > 0) controller.enqueue(bytes.subarray(0, cut));
            if (cut < bytes.length) controller.enqueue(bytes.subarray(cut));
            controller.close();
          },
        });
        const answer = new Response(body, { headers: { "content-type": type, location: "/calls/c1" } });
        const { peer, sent } = setup(mode, [answer]);
        const exchange = await peer(call("s/tell", { input: {}, key: "k" }));
        const pages = await all(exchange.read({ from: "start", follow: true }));
        expect(pages[0]!.verdict).toEqual({ verdict: "recovered", from: "start", to: cursor(1) });
        const events = pages.flatMap((page) => page.events);
        expect(events.map((event) => [event.kind, event.cursor, JSON.parse(event.json)])).toEqual(
          ends.map(([kind, n, data]) => [kind, cursor(n), data]),
        );
        expect(pages.at(-1)).toMatchObject({ ended: true, cursor: cursor(4) });
        expect(exchange.id).toBe("c1");
        expect(sent).toHaveLength(1);
        expect(sent[0]!.headers["accept"]).toBe(type);
      }
    });

    test(`${mode}: a response that ends before the log is a break, wherever`, async () => {
      const bytes = new TextEncoder().encode(text);
      for (let cut = 0; cut < bytes.length; cut++) {
        const { peer } = setup(mode, [new Response(bytes.subarray(0, cut), { headers: { "content-type": type } })]);
        const pages: Page[] = [];
        const reading = (async () => {
          for await (const page of (await peer(call("calls/c1"))).read({ from: "start", follow: true }))
            pages.push(page);
        })();
        expect(await faultOf(reading)).toMatchObject({ code: "unavailable", retryable: true });
        expect(pages.some((page) => page.ended)).toBe(false);
      }
    });
  }

  test("from another place it is asked for there", async () => {
    const { peer, sent } = setup("sse", [stream(sse, "text/event-stream")]);
    await all((await peer(call("topics/news"))).read({ from: cursor(1), follow: true }));
    expect(sent[0]).toMatchObject({ method: "GET", url: `http://server/base/topics/news?after=${cursor(1)}` });
  });

  test("a new call that is read from a cursor is opened first", async () => {
    const { peer, sent } = setup("sse", [
      json(state("running"), { status: 202, headers: { location: "/calls/c1" } }),
      stream(sse, "text/event-stream"),
    ]);
    await all((await peer(call("s/tell", { input: {} }))).read({ from: cursor(2), follow: true }));
    expect(sent.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "POST http://server/base/s/tell",
      `GET http://server/base/calls/c1/events?after=${cursor(2)}`,
    ]);
  });

  test("nothing is left: 204", async () => {
    for (const mode of ["sse", "poll"] as const) {
      const { peer } = setup(mode, [new Response(null, { status: 204 })]);
      const pages = await all((await peer(call("calls/c1"))).read({ from: cursor(4), follow: true }));
      const verdict = { verdict: "recovered", from: cursor(4), to: cursor(4) } as const;
      expect(pages).toEqual([{ verdict, events: [], cursor: cursor(4), more: false, ended: true }]);
    }
  });

  test("the server says that it goes, and when to come back", async () => {
    const close = 'event: close\ndata: {"reason":"drain","retryAfterMs":1234}\n\n';
    const { peer } = setup("sse", [
      stream(sse.slice(0, sse.indexOf("event: end") - `id: ${cursor(4)}\n`.length) + close, "text/event-stream"),
    ]);
    const events: string[] = [];
    const fault = await faultOf(
      (async () => {
        for await (const page of (await peer(call("calls/c1"))).read({ from: "start", follow: true })) {
          for (const event of page.events) events.push(event.cursor);
        }
      })(),
    );
    expect(events).toEqual([cursor(2), cursor(3)]);
    expect(fault).toMatchObject({
      code: "unavailable",
      retryable: true,
      retryAfterMs: 1234,
      detail: { close: "drain" },
    });
  });

  test("a reading that failed on the server says so", async () => {
    const close =
      '{"close":{"reason":"fault","retryAfterMs":0,"fault":{"code":"not_found","message":"gone","retryable":false}}}\n';
    const { peer } = setup("ndjson", [stream(close, "application/x-ndjson")]);
    const fault = await faultOf(all((await peer(call("calls/c1"))).read({ from: "start", follow: true })));
    expect(fault).toMatchObject({ code: "not_found", message: "gone" });
  });

  test("a break waits as the server's `retry` says", async () => {
    const { peer } = setup("sse", [stream("retry: 4321\n\n", "text/event-stream")]);
    expect(await faultOf(all((await peer(call("calls/c1"))).read({ from: "start", follow: true })))).toMatchObject({
      retryAfterMs: 4321,
    });
  });

  test("what is not an event stream is not read as one", async () => {
    const { peer } = setup("sse", [stream("<html>", "text/html")]);
    expect(await faultOf(all((await peer(call("calls/c1"))).read({ from: "start", follow: true })))).toMatchObject({
      code: "unavailable",
    });
  });

  for (const [name, first, ms] of [
    ["before it begins", "", 10_000],
    ["after it began", sse.slice(0, 150), 30_000],
  ] as const) {
    test(`silence ${name} is a break after ${ms} ms`, async () => {
      const timers = new Map<object, { ms: number; run: () => void }>();
      const clock: Clock = {
        now: () => 0,
        after(ms, run) {
          const timer = {};
          timers.set(timer, { ms, run });
          return () => void timers.delete(timer);
        },
      };
      const fetch = async (_: string, { signal }: RequestInit) => {
        const body = new ReadableStream({
          start(controller) {
            if (first !== "") controller.enqueue(new TextEncoder().encode(first));
            signal!.addEventListener("abort", () => controller.error(signal!.reason));
          },
        });
        return new Response(body, { headers: { "content-type": "text/event-stream" } });
      };
      const reading = faultOf(
        all(
          (await httpPeer({ url: "http://s", mode: "sse", fetch, clock })(call("calls/c1"))).read({
            from: "start",
            follow: true,
          }),
        ),
      );
      const due = () => [...timers.values()].find((timer) => timer.ms === ms && timers.size === 1);
      while (!due()) await new Promise((resolve) => setImmediate(resolve));
      if (first === "") await new Promise((resolve) => setImmediate(resolve));
      due()!.run();
      expect(await reading).toMatchObject({ code: "unavailable", detail: { stalled: first === "" } });
    });
  }

  const page = (events: [string, number][], more = false, ended = false, headers = {}) =>
    json(
      {
        verdict: { verdict: "recovered", from: "start", to: cursor(1) },
        events: events.map(([kind, n]) => ({ cursor: cursor(n), kind, at: n, data: { n } })),
        cursor: cursor(events.at(-1)?.[1] ?? 1),
        more,
        ended,
      },
      { headers },
    );

  test("long-poll: the first page at once, the next ones held", async () => {
    const { peer, sent, pauses } = setup("long-poll", [
      page([["item", 2]], true),
      page([["item", 3]]),
      page([]),
      page([["end", 4]], false, true),
    ]);
    const pages = await all((await peer(call("calls/c1"))).read({ from: "start", follow: true }));
    expect(pages.map((page) => page.events.map((event) => event.cursor))).toEqual([
      [cursor(2)],
      [cursor(3)],
      [cursor(4)],
    ]);
    expect(pages.map((page) => page.verdict?.verdict)).toEqual(["recovered", undefined, undefined]);
    expect(sent.map(({ url, headers }) => [url.split("after=")[1], headers["prefer"]])).toEqual([
      ["start", undefined],
      [cursor(2), "wait=25"],
      [cursor(3), "wait=25"],
      [cursor(1), "wait=25"],
    ]);
    // Not held although asked: the third keeps its distance.
    expect(pauses).toEqual([0, 1500]);
  });

  test("poll: at the server's pace, or slower and slower while nothing is new", async () => {
    const { peer, sent, pauses } = setup("poll", [
      page([["item", 2]]),
      page([]),
      page([]),
      page([], false, false, { "retry-after": "9" }),
      page([["item", 3]]),
      page([["end", 4]], false, true),
    ]);
    await all((await peer(call("calls/c1"))).read({ from: "start", follow: true }));
    expect(pauses).toEqual([1000, 1500, 2250, 9000, 1000]);
    expect(sent.every(({ headers }) => headers["prefer"] === undefined)).toBe(true);
  });

  test("without following it is one page, in every mode", async () => {
    for (const mode of ["sse", "ndjson", "long-poll", "poll"] as const) {
      const { peer, sent } = setup(mode, [page([["item", 2]])]);
      expect(await all((await peer(call("calls/c1"))).read({ from: "start", follow: false }))).toHaveLength(1);
      expect(sent).toHaveLength(1);
    }
  });

  test("a later gap is told, a later `recovered` is not", async () => {
    const gap = json({
      verdict: { verdict: "gap", from: cursor(2), to: cursor(5), state: { sum: 1 } },
      events: [],
      cursor: cursor(5),
      more: false,
      ended: true,
    });
    const { peer } = setup("poll", [page([["item", 2]]), gap]);
    const pages = await all((await peer(call("topics/news"))).read({ from: "start", follow: true }));
    expect(pages[1]!.verdict).toEqual({ verdict: "gap", from: cursor(2), to: cursor(5), state: '{"sum":1}' });
  });

  test("the reader's abort ends a reading without an error, and without a listener left behind", async () => {
    const abort = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    abort.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(abort.signal, args);
    };
    abort.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(abort.signal, args);
    };
    const { peer } = setup("sse", [() => stream(sse, "text/event-stream")]);
    const exchange = await peer(call("calls/c1"));
    for (let i = 0; i < 100; i++) await all(exchange.read({ from: "start", follow: true, signal: abort.signal }));
    expect(listeners).toBe(0);
    for await (const _ of exchange.read({ from: "start", follow: true, signal: abort.signal })) abort.abort();
    expect(await all(exchange.read({ from: "start", follow: true, signal: abort.signal }))).toEqual([]);
  });
});

test("Linked: any of its signals aborts it, with the reason", () => {
  const [a, b] = [new AbortController(), new AbortController()];
  const linked = new Linked(a.signal, undefined, b.signal);
  linked.release();
  a.abort("unheard");
  expect(linked.signal.aborted).toBe(false);
  linked.hold();
  expect(linked.signal.reason).toBe("unheard");
});

test("fetch is told what only some platforms can do", async () => {
  const inits: (RequestInit & { protocol?: string; tls?: object })[] = [];
  const fetch = async (_: string, init: RequestInit) => {
    inits.push(init);
    return json(1);
  };
  const tls = { rejectUnauthorized: false };
  await (await httpPeer({ url: "http://s", mode: "sse", fetch, protocol: "http3", tls })(call("s/m"))).result();
  await (await httpPeer({ url: "http://s", mode: "sse", fetch })(call("s/m"))).result();
  expect(inits[0]).toMatchObject({ protocol: "http3", tls });
  expect(inits[1]).not.toHaveProperty("protocol");
});

test("the trace shows what goes over the wire, and no credentials", async () => {
  const lines: string[] = [];
  const { peer } = setup("sse", [json({ a: 1 })], {
    token: "secret",
    trace: (direction, text) => lines.push(`${direction} ${text}`),
  });
  await (await peer(call("s/m", { input: { n: 1 } }))).result();
  expect(lines).toContain("> POST http://server/base/s/m");
  expect(lines).toContain('> {"n":1}');
  expect(lines).toContain("< content-type: application/json;charset=utf-8");
  expect(lines).toContain('< {"a":1}');
  expect(lines.join()).not.toContain("secret");
});
