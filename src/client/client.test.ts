import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Layer } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import type { Fetch } from "../transports/http/client-request.ts";
import { clientOver } from "./client.ts";
import { type Sample, type Served, serve } from "./testing/server.ts";
import { fastEnvironment, ManualEnvironment, seeded, turns, until } from "./testing/tools.ts";
import type { Client, ClientOptions, ReadVerdict, Retry } from "./types.ts";

let server: Served;
let client: Client<Sample>;
/** What was asked over HTTP: `POST /sample/double`. */
let asked: string[];

function clientWith(options: Partial<ClientOptions> = {}, fetch: Fetch = server.fetch): Client<Sample> {
  const spying: Fetch = (url, init) => {
    asked.push(`${init.method} ${url.slice("http://server".length)}`);
    return fetch(url, init);
  };
  return clientOver<Sample>("http://server/", { fetch: spying, environment: fastEnvironment(seeded(1)), ...options });
}

beforeEach(async () => {
  asked = [];
  server = await serve();
  client = clientWith();
});

afterEach(async () => {
  client.close();
  await server.stop();
});

async function faultOf(promise: PromiseLike<unknown>): Promise<Fault> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("it did not fail");
}

async function list<T>(items: AsyncIterable<T>, most = Number.POSITIVE_INFINITY): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) if (all.push(item) >= most) break;
  return all;
}

async function* from<T>(...items: T[]) {
  yield* items;
}

describe("calls", () => {
  test("a result is awaited, by one request", async () => {
    expect(await client.sample.double({ n: 4 })).toEqual({ n: 8 });
    expect(asked).toEqual(["POST /sample/double"]);
  });

  test("a call that nobody waits for is made all the same, and its fault disturbs nobody", async () => {
    void client.sample.add();
    void client.sample.fail({ code: "x" });
    await until(() => server.runs.add === 1);
  });

  test("faults come as they are", async () => {
    const fault = await faultOf(client.sample.double({ n: "no" as unknown as number }));
    expect(fault).toMatchObject({ code: "invalid_argument", fields: [{ path: "n" }] });
    const nobody = (client as unknown as Record<string, Record<string, () => Promise<unknown>>>)["other"]!["method"]!;
    expect(await faultOf(nobody())).toMatchObject({ code: "not_found" });
  });

  test("an awaited client or service is itself", async () => {
    expect(await client).toBe(client);
    expect(client.sample).toBe(client.sample);
  });

  test("a handle: started, followed, awaited", async () => {
    const call = await client.sample.slow.start({ gate: "a" });
    expect(call.url).toBe(`http://server/calls/${call.id}`);
    expect(await call.state()).toMatchObject({ id: call.id, method: "sample/slow", state: "running" });
    const kinds: string[] = [];
    for await (const event of call.events) {
      kinds.push(event.kind);
      if (event.kind === "progress" && event.data.step === 1) server.gate("a").resolve();
      if (event.kind === "end") expect(event.data.result).toEqual({ ok: true });
    }
    expect(kinds).toEqual(["open", "progress", "progress", "end"]);
    expect(call.progress).toEqual({ step: 2 });
    expect(call.events.verdict).toMatchObject({ verdict: "recovered" });
    const before = asked.length;
    expect(await call.result).toEqual({ ok: true });
    // The end has been read: nothing has to be asked.
    expect(asked.length).toBe(before);
  });

  test("a handle goes on where its reading stopped; attached anew it begins at the start, or at a cursor", async () => {
    const call = await client.sample.count.start({ to: 3 });
    const [open, first] = await list(call.events, 2);
    expect([open?.kind, first?.data]).toEqual(["open", { n: 1 }]);
    expect(call.cursor).toBe(first!.cursor);
    const rest = (await list(call.events)).map(({ data }) => data as unknown);
    expect(rest).toEqual([{ n: 2 }, { n: 3 }, {}]);
    expect(await list(client.attach(call.url, { after: first!.cursor }).events)).toHaveLength(3);
    expect(await list(client.sample.count.attach(call.id).events)).toHaveLength(5);
    expect(await client.attach(call.id).result).toBeUndefined();
    expect(() => client.attach("http://elsewhere/calls/x")).toThrow("not a call of this server");
  });

  test("cancel", async () => {
    const call = await client.sample.slow.start({ gate: "a" });
    const result = faultOf(call.result);
    await call.cancel();
    expect(await result).toMatchObject({ code: "cancelled" });
    await call.cancel();
    expect(await call.state()).toMatchObject({ state: "cancelled" });
  });

  test("detach stops the waiting here, and the call goes on", async () => {
    const call = await client.sample.slow.start({ gate: "a" });
    const result = faultOf(call.result);
    call.detach();
    expect(await result).toMatchObject({ code: "cancelled" });
    server.gate("a").resolve();
    expect(await client.attach(call.id).result).toEqual({ ok: true });
  });

  test("nobody has to look at a result", async () => {
    const call = await client.sample.fail.start({ code: "x" });
    void call.result;
    await until(() => asked.length >= 2);
    expect(await faultOf(call.result)).toMatchObject({ message: "of the handler" });
  });

  test("the caller's calls", async () => {
    await client.sample.add({}, { keep: true });
    const { calls } = await client.calls({ method: "sample/add" });
    expect(calls).toMatchObject([{ method: "sample/add", state: "done" }]);
  });

  test("the same key is the same call", async () => {
    expect(await client.sample.add({}, { key: "k" })).toEqual({ runs: 1 });
    expect(await client.sample.add({}, { key: "k" })).toEqual({ runs: 1 });
    expect(
      await faultOf(
        client.sample.count
          .start({ to: 1 }, { key: "k" })
          .then(() => client.sample.count.start({ to: 2 }, { key: "k" })),
      ),
    ).toMatchObject({
      code: "invalid_argument",
      detail: { key: "reused" },
    });
  });
});

describe("streams", () => {
  test("items come, and end", async () => {
    expect((await list(client.sample.count({ to: 20 }))).map(({ n }) => n)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    expect(asked).toEqual(["POST /sample/count"]);
  });

  test("leaving the loop cancels a call that nobody can come back to", async () => {
    await list(client.sample.endless({ gate: "a" }), 2);
    await server.gate("a").promise;
    const { calls } = await client.calls();
    expect(calls).toMatchObject([{ method: "sample/endless", state: "cancelled" }]);
  });

  test("and leaves one with a key or keep alone", async () => {
    await list(client.sample.endless({ gate: "a" }, { key: "k" }), 2);
    await list(client.sample.endless({ gate: "a" }, { keep: true }), 2);
    expect((await client.calls({ state: "running" })).calls).toHaveLength(2);
    expect(asked.some((line) => line.startsWith("DELETE"))).toBe(false);
  });

  test("an iterator is returned while it waits", async () => {
    const iterator = client.sample.endless({ gate: "a" })[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await iterator.next();
    const waiting = iterator.next();
    await iterator.return?.();
    expect((await waiting.catch(() => ({ done: true }))).done).toBe(true);
    await server.gate("a").promise;
  });

  test("iterating too late is refused: it would be made twice", async () => {
    const stream = client.sample.count({ to: 1 });
    await Promise.resolve();
    await Promise.resolve();
    expect(() => stream[Symbol.asyncIterator]()).toThrow("made already");
  });

  test("the signal ends it with its reason, and cancels the call", async () => {
    const abort = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const n of client.sample.endless({ gate: "a" }, { signal: abort.signal })) {
        seen.push(n);
        if (n === 2) abort.abort(new Fault("cancelled", "enough"));
      }
    })();
    expect(await faultOf(reading)).toMatchObject({ message: "enough" });
    expect(seen).toEqual([0, 1, 2]);
    await server.gate("a").promise;
  });

  test("client streaming: batches while the source goes on", async () => {
    const many = Array.from({ length: 1000 }, (_, i) => i);
    expect(await client.sample.sum(from(...many))).toEqual({ sum: 499_500, items: 1000 });
    const posts = asked.filter((line) => line.includes("/items"));
    expect(posts.length).toBeLessThan(500);
    expect(await client.sample.sum(from<number>())).toEqual({ sum: 0, items: 0 });
  });

  test("a handler that has heard enough ends the call, and lets the source go", async () => {
    let isLeft = false;
    async function* endless() {
      try {
        yield 5;
        yield -1;
        await new Promise(() => {});
      } finally {
        isLeft = true;
      }
    }
    expect(await client.sample.sum(endless())).toEqual({ sum: 5, items: 1 });
    // A generator that hangs cannot be left; one that can, is.
    expect(isLeft).toBe(false);
    async function* loop() {
      try {
        for (let n = 0; ; n++) yield n === 5 ? -1 : 1;
      } finally {
        isLeft = true;
      }
    }
    expect(await client.sample.sum(loop())).toEqual({ sum: 5, items: 5 });
    await until(() => isLeft);
  });

  test("a source that throws: its error comes out, and the call is cancelled", async () => {
    async function* broken() {
      yield 1;
      throw new RangeError("of the source");
    }
    let thrown: unknown;
    await client.sample.sum(broken()).catch((error: unknown) => {
      thrown = error;
    });
    expect(thrown).toBeInstanceOf(RangeError);
    let state: string | undefined;
    while (state !== "cancelled") state = (await client.calls()).calls[0]?.state;
  });

  test("an item that is not valid: the fault comes out", async () => {
    const fault = await faultOf(client.sample.sum(from(1, "two" as unknown as number)));
    expect(fault).toMatchObject({ code: "invalid_argument" });
  });

  test("both ways at once", async () => {
    const more = Promise.withResolvers<void>();
    async function* texts() {
      yield { text: "a" };
      await more.promise;
      yield { text: "b" };
    }
    const answers: unknown[] = [];
    for await (const answer of client.sample.echo(texts())) {
      answers.push(answer);
      more.resolve();
    }
    expect(answers).toEqual([
      { text: "A", n: 0 },
      { text: "B", n: 1 },
    ]);
    async function* broken() {
      yield { text: "a" };
      throw new RangeError("of the source");
    }
    expect(list(client.sample.echo(broken()))).rejects.toBeInstanceOf(RangeError);
  });

  test("a handle of a client stream: the items go in the background", async () => {
    const call = await client.sample.sum.start(from(1, 2, 3));
    expect(await call.result).toEqual({ sum: 6, items: 3 });
  });
});

describe("topics", () => {
  test("what is published comes to whoever follows", async () => {
    const news = client.topics.news.subscribe();
    const reading = list(news, 3);
    await until(() => news.verdict !== undefined);
    for (const n of [1, 2, 3]) await client.topics.news.publish({ n });
    expect((await reading).map(({ data }) => data.n)).toEqual([1, 2, 3]);
    const later = client.topics.news.subscribe({ after: (await reading)[0]!.cursor });
    expect((await list(later, 2)).map(({ data }) => data.n)).toEqual([2, 3]);
    // The same reading goes on where it stopped.
    await client.topics.news.publish({ n: 4 });
    expect((await list(news, 1))[0]!.data).toEqual({ n: 4 });
  });

  test("a key publishes once", async () => {
    const first = await client.topics.news.publish({ n: 1 }, { key: "k" });
    expect(await client.topics.news.publish({ n: 1 }, { key: "k" })).toEqual({ cursor: first.cursor, duplicate: true });
  });

  test("a gap is never hidden: a fault, or told to whoever asked", async () => {
    const { cursor } = await client.topics.few.publish({ n: 0 });
    let last = 0;
    const reading = client.topics.few.subscribe({ after: cursor });
    // Retention is by count; publish until the first is gone.
    let verdict: ReadVerdict | undefined;
    while (verdict?.verdict !== "gap") {
      await client.topics.few.publish({ n: ++last });
      const probe = client.topics.few.subscribe({ after: cursor, onVerdict: (one) => (verdict = one) });
      await list(probe, 1);
    }
    expect(await faultOf(list(reading, 1))).toMatchObject({
      code: "data_loss",
      detail: { verdict: "gap", from: cursor },
    });
    const told: ReadVerdict[] = [];
    const other = client.topics.few.subscribe({ after: cursor, onVerdict: (one) => void told.push(one) });
    expect((await list(other, 1))[0]!.data.n).toBeGreaterThan(1);
    expect(told).toMatchObject([{ verdict: "gap", from: cursor }]);
    expect(other.verdict).toEqual(told[0]!);
    // Who asks for what is kept, gets it.
    await list(client.topics.few.subscribe({ after: "start" }), 1);
  });

  test("a cursor of another log is a reset", async () => {
    await client.topics.news.publish({ n: 1 });
    const after = "zzzz9999-a5" as never;
    expect(await faultOf(list(client.topics.news.subscribe({ after }), 1))).toMatchObject({
      detail: { verdict: "reset" },
    });
    const told: ReadVerdict[] = [];
    const [event] = await list(client.topics.news.subscribe({ after, onVerdict: (one) => void told.push(one) }), 1);
    expect(event!.data).toEqual({ n: 1 });
    expect(told[0]!.verdict).toBe("reset");
  });
});

describe("trying again", () => {
  /** The server does it, and its answer is lost. */
  function losing(lost: (line: string, nth: number) => boolean): Fetch {
    const counts = new Map<string, number>();
    return async (url, init) => {
      const line = `${init.method} ${url.slice("http://server".length)}`;
      const nth = (counts.get(line) ?? 0) + 1;
      counts.set(line, nth);
      const response = await server.fetch(url, init);
      if (!lost(line, nth)) return response;
      void response.body?.cancel().catch(() => {});
      throw new TypeError("network error");
    };
  }

  test("a unary call without a key is never sent twice", async () => {
    const lossy = clientWith(
      {},
      losing(() => true),
    );
    expect(await faultOf(lossy.sample.add())).toMatchObject({ code: "unavailable" });
    expect(asked).toHaveLength(1);
    expect(server.runs.add).toBe(1);
  });

  for (const options of [{ retry: true }, { key: "k" }, { keep: true }] as const) {
    test(`with ${JSON.stringify(options)} a lost answer is got, and nothing done twice`, async () => {
      const lossy = clientWith(
        {},
        losing((_, nth) => nth <= 2),
      );
      expect(await lossy.sample.add({}, options)).toEqual({ runs: 1 });
      expect(server.runs.add).toBe(1);
    });
  }

  test("what was never sent is tried again in any case", async () => {
    let tries = 0;
    const refusing: Fetch = (url, init) => {
      if (++tries < 3) throw_();
      return server.fetch(url, init);
    };
    const throw_ = () => {
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) });
    };
    const retries: Retry[] = [];
    const lossy = clientWith({ onRetry: (retry) => retries.push(retry) }, async (url, init) => refusing(url, init));
    expect(await lossy.sample.add()).toEqual({ runs: 1 });
    expect(retries.map(({ failures }) => failures)).toEqual([1, 2]);
  });

  test("it gives up after so many tries, when the server has never been reached", async () => {
    const dead = clientWith({ attempts: 3 }, async () => {
      throw new TypeError("network error");
    });
    const faults = [
      list(dead.sample.count({ to: 1 })),
      dead.sample.add({}, { retry: true }),
      dead.topics.news.publish({ n: 1 }),
      list(dead.topics.news.subscribe()),
      dead.attach("c1").result,
      list(dead.attach("c1").events),
    ].map(faultOf);
    for (const fault of await Promise.all(faults)) expect(fault).toMatchObject({ code: "unavailable" });
    expect(asked.length).toBeGreaterThanOrEqual(18);
  });

  test("what the server has recorded is waited for, however long it is away", async () => {
    let isAway = false;
    let failures = 0;
    const away = clientWith({ onRetry: () => failures++ }, async (url, init) => {
      if (isAway) throw new TypeError("network error");
      return server.fetch(url, init);
    });
    const call = await away.sample.slow.start({ gate: "a" });
    isAway = true;
    const { result } = call;
    await until(() => failures > 7);
    isAway = false;
    server.gate("a").resolve();
    expect(await result).toEqual({ ok: true });
  });

  test("the recorded end of a call is final, even when it says that trying again can help", async () => {
    const fault = await faultOf(client.sample.fail({ code: "x" }, { retry: true }));
    expect(fault).toMatchObject({ code: "unavailable", message: "of the handler", retryable: true });
    const call = await client.sample.fail.start({ code: "x" });
    expect(await faultOf(call.result)).toMatchObject({ message: "of the handler" });
    async function* read() {
      yield* client.sample.count({ to: -1, bad: 1 } as never);
    }
    expect(await list(read())).toEqual([]);
  });

  test("a refusal before the call is tried again with the same key", async () => {
    let refusals = 0;
    const busy = clientWith({}, async (url, init) => {
      if (init.method !== "POST" || ++refusals > 2) return server.fetch(url, init);
      return Response.json(
        { title: "unavailable", detail: "draining", retryable: true },
        { status: 503, headers: { "content-type": "application/problem+json", "retry-after": "1" } },
      );
    });
    expect(await busy.sample.add({}, { retry: true })).toEqual({ runs: 1 });
    expect(refusals).toBe(3);
  });

  test("an event whose publishing was not acknowledged is published once", async () => {
    const lossy = clientWith(
      {},
      losing((line, nth) => line.startsWith("POST /topics") && nth === 1),
    );
    expect(await lossy.topics.news.publish({ n: 1 })).toMatchObject({ duplicate: true });
    expect((await client.calls()).calls).toEqual([]);
    await client.topics.news.publish({ n: 2 });
    expect((await list(client.topics.news.subscribe({ after: "start" }), 2)).map(({ data }) => data.n)).toEqual([1, 2]);
  });
});

describe("the page", () => {
  test("hidden it polls no more; shown again it goes on at once", async () => {
    const environment = new ManualEnvironment();
    const page = clientWith({ environment, transport: "long-poll" });
    environment.set({ visible: false });
    const news = page.topics.news.subscribe();
    const reading = list(news, 1);
    await until(() => news.verdict !== undefined);
    await page.topics.news.publish({ n: 1 });
    await turns();
    expect(asked.map((line) => line.slice(0, 4))).toEqual(["GET ", "POST"]);
    environment.set({ visible: true });
    expect(await reading).toMatchObject([{ data: { n: 1 } }]);
  });

  test("without a network it waits; when that is back it tries at once, not after the backoff", async () => {
    const environment = new ManualEnvironment();
    const retries: Retry[] = [];
    const page = clientWith({ environment, onRetry: (retry) => retries.push(retry) }, async (url, init) => {
      if (!environment.online()) throw new TypeError("network error");
      return server.fetch(url, init);
    });
    environment.set({ online: false });
    const reading = list(page.sample.count({ to: 1 }));
    await until(() => retries.length === 1);
    environment.advance(3_600_000);
    await turns();
    expect(retries).toHaveLength(1);
    environment.set({ online: true });
    expect(await reading).toEqual([{ n: 1 }]);
    expect(environment.timers + environment.watchers).toBe(0);
  });
});

describe("limits", () => {
  test("a deadline goes to the server, and holds here when nobody answers", async () => {
    expect(await faultOf(client.sample.slow({ gate: "a" }, { timeoutMs: 5000 }))).toMatchObject({
      code: "deadline_exceeded",
    });
    const deaf = clientWith(
      {},
      (_, { signal }) => new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason))),
    );
    for (const options of [{ timeoutMs: 2000 }, { timeoutMs: 2000, key: "k" }]) {
      expect(await faultOf(deaf.sample.slow({ gate: "a" }, options))).toMatchObject({ code: "deadline_exceeded" });
    }
    expect(await faultOf(list(deaf.sample.count({ to: 1 }, { timeoutMs: 2000 })))).toMatchObject({
      code: "deadline_exceeded",
    });
    expect(await faultOf(deaf.topics.news.publish({ n: 1 }, { timeoutMs: 2000 }))).toMatchObject({
      code: "deadline_exceeded",
    });
  });

  test("the signal ends any call", async () => {
    for (const options of [{}, { key: "k" }]) {
      const abort = new AbortController();
      const result = faultOf(client.sample.slow({ gate: "a" }, { ...options, signal: abort.signal }));
      await until(() => asked.length > 0);
      abort.abort();
      expect(await result).toMatchObject({ code: "cancelled" });
    }
  });

  test("close ends everything that waits here", async () => {
    const other = clientWith();
    const call = await other.sample.slow.start({ gate: "a" });
    const waiting = [
      call.result,
      list(call.events),
      list(other.topics.news.subscribe()),
      other.sample.slow({ gate: "b" }),
    ].map(faultOf);
    await until(() => asked.length >= 5);
    other.close();
    for (const fault of await Promise.all(waiting)) expect(fault).toMatchObject({ code: "cancelled" });
    expect(await faultOf(other.sample.add())).toMatchObject({ message: "the client was closed" });
    expect(await client.attach(call.id).state()).toMatchObject({ state: "running" });
  });

  test("1,000 calls and readings leave no listener behind", async () => {
    const abort = new AbortController();
    let listeners = 0;
    for (const [name, by] of [
      ["addEventListener", 1],
      ["removeEventListener", -1],
    ] as const) {
      const plain = abort.signal[name].bind(abort.signal) as (...args: unknown[]) => void;
      abort.signal[name] = (...args: unknown[]) => {
        listeners += by;
        plain(...args);
      };
    }
    for (let i = 0; i < 250; i++) {
      const { signal } = abort;
      await client.sample.double({ n: 1 }, { signal });
      await client.sample.double({ n: 1 }, { signal, retry: true });
      await list(client.sample.count({ to: 2 }, { signal }), 1);
      await client.sample.count.start({ to: 1 }, { signal });
    }
    expect(listeners).toBe(0);
  });
});

describe("around the peer", () => {
  test("a token is asked for once, and again when the server refuses it", async () => {
    let tokens = 0;
    const guarded: Fetch = async (url, init) => {
      const token = new Headers(init.headers).get("authorization");
      if (token !== "Bearer t1" || asked.length > 3)
        return token === "Bearer t2" || asked.length <= 3 ? server.fetch(url, init) : refused();
      return server.fetch(url, init);
    };
    const refused = () =>
      Response.json(
        { title: "unauthenticated", detail: "expired" },
        { status: 401, headers: { "content-type": "application/problem+json" } },
      );
    const other = clientWith({ token: async () => `t${++tokens}` }, guarded);
    for (let i = 0; i < 3; i++) await other.sample.add();
    expect(tokens).toBe(1);
    expect(await other.sample.add()).toEqual({ runs: 4 });
    expect(await list(other.sample.count({ to: 1 }))).toHaveLength(1);
    expect(tokens).toBe(2);
    // A second refusal in a row is the answer; and text cannot be renewed.
    const hopeless = clientWith({ token: () => "x" }, async () => refused());
    const before = asked.length;
    expect(await faultOf(hopeless.sample.add())).toMatchObject({ code: "unauthenticated" });
    expect(asked.length - before).toBe(2);
    expect(await faultOf(clientWith({ token: "x" }, async () => refused()).sample.add())).toMatchObject({
      code: "unauthenticated",
    });
    expect(asked.length - before).toBe(3);
  });

  test("layers see every call, the first one first", async () => {
    const seen: string[] = [];
    const layer =
      (name: string): Layer =>
      (next) =>
      (call) => {
        seen.push(`${name} ${call.to}`);
        return next(call);
      };
    await clientWith({ layers: [layer("a"), layer("b")] }).sample.add();
    expect(seen).toEqual(["a sample/add", "b sample/add"]);
  });

  test("without a WebSocket the ladder begins with SSE", () => {
    expect(client.transport).toBe("sse");
    expect(clientWith({ transport: "poll" }).transport).toBe("poll");
  });
});

for (const transport of ["sse", "long-poll", "poll"] as const) {
  test(`${transport}: every kind of use`, async () => {
    const fixed = clientWith({ transport, waitMs: 1000, pollMs: 500 });
    expect(await fixed.sample.double({ n: 1 })).toEqual({ n: 2 });
    expect(await list(fixed.sample.count({ to: 3 }))).toHaveLength(3);
    expect(await fixed.sample.sum(from(1, 2))).toEqual({ sum: 3, items: 2 });
    expect(await list(fixed.sample.echo(from({ text: "x" })))).toEqual([{ text: "X", n: 0 }]);
    const news = fixed.topics.news.subscribe();
    const reading = list(news, 1);
    await until(() => news.verdict !== undefined);
    await fixed.topics.news.publish({ n: 1 });
    expect(await reading).toMatchObject([{ data: { n: 1 } }]);
    const call = await fixed.sample.slow.start({ gate: "a" });
    server.gate("a").resolve();
    expect(await call.result).toEqual({ ok: true });
    fixed.close();
  });
}
