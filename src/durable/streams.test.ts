/** Streams that clients make: whose they are, what they survive, and their limits. */
import { afterEach, describe, expect, test } from "bun:test";
import { memoryStore } from "../stores/memory/store.ts";
import { type FacadeOptions, facade, JSON_TYPE, NAMES, producer, TEXT } from "./testing.ts";

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function open(options?: FacadeOptions) {
  const opened = await facade(options);
  stops.push(opened.stop);
  return opened;
}

const limitOf = async (response: Response) => ((await response.json()) as { limit?: string }).limit;

describe("a stream that a client makes", () => {
  test("is not made where the server does not allow it", async () => {
    const { send, get } = await open({ create: false });
    expect((await send("PUT", "mine", "x", TEXT)).status).toBe(404);
    expect((await get("mine")).status).toBe(404);
  });

  test("is its maker's alone, unless the server says otherwise", async () => {
    const { send, get } = await open({ authenticate: NAMES });
    const as = (name: string) => ({ ...TEXT, authorization: `Bearer ${name}` });
    expect((await send("PUT", "a/b", "secret", as("alice"))).status).toBe(201);
    expect((await get("a/b", as("bob"))).status).toBe(404);
    expect((await send("POST", "a/b", "x", as("bob"))).status).toBe(404);
    expect((await send("DELETE", "a/b", undefined, as("bob"))).status).toBe(404);
    expect((await send("PUT", "a/b", undefined, as("bob"))).status).toBe(409);
    const fork = { ...as("bob"), "stream-forked-from": "/streams/a/b" };
    expect((await send("PUT", "stolen", undefined, fork)).status).toBe(404);
    expect(await (await get("a/b", as("alice"))).text()).toBe("secret");

    const shared = await open({
      authenticate: NAMES,
      create: ({ id }, { verb, owner }) => (verb === "create" ? id === "alice" : id === owner || verb === "read"),
    });
    expect((await shared.send("PUT", "open", "hello", as("alice"))).status).toBe(201);
    expect(await (await shared.get("open", as("bob"))).text()).toBe("hello");
    expect((await shared.send("POST", "open", "x", as("bob"))).status).toBe(404);
    expect((await shared.send("PUT", "other", "x", as("bob"))).status).toBe(403);
  });

  test("has a name that is safe", async () => {
    const { send } = await open();
    for (const name of ["a//b", "%00", "%ff", "a/%2e%2e%2fb", "x".repeat(513)]) {
      expect([name, (await send("PUT", name, "x", TEXT)).status]).toEqual([name, 400]);
    }
    expect((await send("PUT", "__ds/subscriptions/x", "{}", JSON_TYPE)).status).toBe(501);
    expect((await send("PATCH", "x")).status).toBe(405);
  });

  test("never runs as a page of the server", async () => {
    const { send, get } = await open();
    await send("PUT", "page", "<script>alert(1)</script>", { "content-type": "text/html" });
    const { headers } = await get("page");
    expect(headers.get("content-security-policy")).toContain("sandbox");
    expect(headers.get("content-disposition")).toBe("attachment");
  });

  test("keeps the digits of numbers and every byte", async () => {
    const { send, get } = await open();
    await send("PUT", "numbers", "[12345678901234567890, 1.0]", JSON_TYPE);
    await send("POST", "numbers", ' {"a": 1e400}\n', JSON_TYPE);
    expect((await (await get("numbers")).text()).replace(/\s/g, "")).toBe('[12345678901234567890,1.0,{"a":1e400}]');
    const bytes = Uint8Array.from({ length: 512 }, (_, i) => i % 256);
    await send("PUT", "bytes", bytes, { "content-type": "application/octet-stream" });
    await send("POST", "bytes", "\ufeffé", { "content-type": "application/octet-stream" });
    const read = new Uint8Array(await (await get("bytes")).arrayBuffer());
    expect(read).toEqual(new Uint8Array([...bytes, 0xef, 0xbb, 0xbf, 0xc3, 0xa9]));
  });
});

describe("after a restart", () => {
  test("a stream is as it was: data, offsets, producers, its end", async () => {
    const store = memoryStore();
    const first = await open({ store });
    await first.send("PUT", "s", "0", TEXT);
    for (let seq = 0; seq < 300; seq++) {
      await first.send("POST", "s", ".", {
        ...TEXT,
        ...producer("p", 1, seq),
        "stream-seq": String(seq).padStart(4, "0"),
      });
    }
    await first.send("POST", "s", "!", TEXT);
    const next = (await first.send("HEAD", "s")).headers.get("stream-next-offset")!;

    const second = await open({ store });
    expect((await second.send("HEAD", "s")).headers.get("stream-next-offset")).toBe(next);
    const duplicate = await second.send("POST", "s", ".", { ...TEXT, ...producer("p", 1, 299) });
    expect([duplicate.status, duplicate.headers.get("producer-seq")]).toEqual([204, "299"]);
    expect((await second.send("POST", "s", ".", { ...TEXT, ...producer("p", 0, 300) })).status).toBe(403);
    expect((await second.send("POST", "s", ".", { ...TEXT, "stream-seq": "0299" })).status).toBe(409);
    const end = { ...TEXT, ...producer("p", 1, 300), "stream-closed": "true" };
    expect((await second.send("POST", "s", "end", end)).status).toBe(200);

    const third = await open({ store });
    const again = await third.send("POST", "s", "end", end);
    expect([again.status, again.headers.get("stream-closed")]).toEqual([204, "true"]);
    const refused = await third.send("POST", "s", "more", { "content-type": "image/png" });
    expect([refused.status, refused.headers.get("stream-closed")]).toEqual([409, "true"]);
    const read = await third.get("s");
    expect(await read.text()).toBe(`0${".".repeat(300)}!end`);
    expect(read.headers.get("stream-closed")).toBe("true");
  });

  test("a source that was deleted is kept for its forks, and goes with them", async () => {
    const store = memoryStore();
    const first = await open({ store });
    await first.send("PUT", "source", "ab", TEXT);
    await first.send("PUT", "fork", "cd", { ...TEXT, "stream-forked-from": "/streams/source" });
    expect((await first.send("DELETE", "source")).status).toBe(204);
    const second = await open({ store });
    expect((await second.get("source")).status).toBe(410);
    expect((await second.send("PUT", "source", "new", TEXT)).status).toBe(409);
    expect(await (await second.get("fork")).text()).toBe("abcd");
    // The server ends after the fork is removed and before its source is.
    await store.trim("streams/fork", "all");
    const third = await open({ store });
    await third.mount.sweep();
    expect((await third.get("source")).status).toBe(404);
    expect((await store.list({ prefix: "streams", limit: 10 })).logs).toEqual([]);
  });

  test("an offset of a stream that was deleted and made anew is noticed", async () => {
    const { send, get } = await open();
    const old = (await send("PUT", "s", "one", TEXT)).headers.get("stream-next-offset");
    await send("DELETE", "s");
    const made = await send("PUT", "s", "two, and longer", TEXT);
    expect(made.headers.get("stream-next-offset")! > old!).toBe(true);
    expect((await get(`s?offset=${old}`)).status).toBe(410);
  });
});

describe("time of life", () => {
  test("is by the server's clock: reading prolongs a TTL, asking for the head does not", async () => {
    let now = 1_800_000_000_000;
    const { send, get, mount, store } = await open({ now: () => now });
    await send("PUT", "ttl", "x", { ...TEXT, "stream-ttl": "10" });
    await send("PUT", "until", "x", { ...TEXT, "stream-expires-at": new Date(now + 15_000).toISOString() });
    now += 9000;
    expect((await get("ttl")).status).toBe(200);
    now += 5000;
    expect((await send("HEAD", "ttl")).status).toBe(200);
    expect((await get("until")).status).toBe(200);
    now += 4999;
    expect((await get("until")).status).toBe(404);
    now += 1;
    expect((await send("HEAD", "ttl")).status).toBe(404);
    await send("PUT", "forgotten", "x", { ...TEXT, "stream-ttl": "1" });
    now += 1000;
    await mount.sweep();
    expect((await store.list({ prefix: "streams/", limit: 10 })).logs).toEqual([]);
  });

  test("does not pass while somebody reads", async () => {
    let now = 1_800_000_000_000;
    const { send, get, core } = await open({ now: () => now });
    const head = await send("PUT", "s", undefined, { ...TEXT, "stream-ttl": "1" });
    const poll = get(`s?offset=${head.headers.get("stream-next-offset")}&live=long-poll`);
    while (!core.metrics.text().includes("backtalk_held_polls 1")) await Bun.sleep(2);
    now += 5000;
    expect((await send("POST", "s", "late", TEXT)).status).toBe(204);
    expect(await (await poll).text()).toBe("late");
  });
});

describe("limits", () => {
  test("streamBytes, for a body of one append and for all", async () => {
    const { send, get } = await open({ limits: { streamBytes: 1000 } });
    await send("PUT", "s", "x".repeat(500), TEXT);
    const refused = await send("POST", "s", "y".repeat(500), TEXT);
    expect([refused.status, await limitOf(refused)]).toEqual([413, "streamBytes"]);
    expect(await limitOf(await send("PUT", "t", "x".repeat(1000), TEXT))).toBe("streamBytes");
    expect((await send("POST", "s", undefined, { "stream-closed": "true" })).status).toBe(204);
    expect(await (await get("s")).text()).toBe("x".repeat(500));
  });

  test("streamsPerPrincipal and storedBytesPerPrincipal, given back by deleting, counted after a restart", async () => {
    const store = memoryStore();
    const limits = { streamsPerPrincipal: 2, storedBytesPerPrincipal: 1000 };
    const { send } = await open({ store, limits });
    await send("PUT", "a", "x".repeat(600), TEXT);
    await send("PUT", "b", "x", TEXT);
    expect(await limitOf(await send("PUT", "c", "x", TEXT))).toBe("streamsPerPrincipal");
    expect(await limitOf(await send("POST", "b", "x".repeat(400), TEXT))).toBe("storedBytesPerPrincipal");
    const again = await open({ store, limits });
    expect(await limitOf(await again.send("PUT", "c", "x", TEXT))).toBe("streamsPerPrincipal");
    await again.send("DELETE", "a");
    expect((await again.send("POST", "b", "x".repeat(400), TEXT)).status).toBe(204);
    expect((await again.send("PUT", "c", "x", TEXT)).status).toBe(201);
  });

  test("producersPerStream", async () => {
    const { send } = await open({ limits: { producersPerStream: 2 } });
    await send("PUT", "s", undefined, TEXT);
    for (const id of ["a", "b"])
      expect((await send("POST", "s", "x", { ...TEXT, ...producer(id, 0, 0) })).status).toBe(200);
    const refused = await send("POST", "s", "x", { ...TEXT, ...producer("c", 0, 0) });
    expect([refused.status, await limitOf(refused)]).toEqual([429, "producersPerStream"]);
    expect((await send("POST", "s", "x", { ...TEXT, ...producer("a", 0, 1) })).status).toBe(200);
  });

  test("bodyBytes and jsonDepth", async () => {
    const { send } = await open({ limits: { bodyBytes: 100, jsonDepth: 4 } });
    const large = await send("PUT", "s", "x".repeat(101), TEXT);
    expect([large.status, await limitOf(large)]).toEqual([413, "bodyBytes"]);
    await send("PUT", "j", undefined, JSON_TYPE);
    expect((await send("POST", "j", "[[[[1]]]]", JSON_TYPE)).status).toBe(204);
    expect((await send("POST", "j", "[[[[[[1]]]]]]", JSON_TYPE)).status).toBe(400);
  });
});

test("appends at once are all there, each once, with numbers and without", async () => {
  const { send, get } = await open();
  await send("PUT", "s", undefined, JSON_TYPE);
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let seq = 0; seq < 25; seq++) {
      const headers = writer % 2 === 0 ? { ...JSON_TYPE, ...producer(`p${writer}`, 0, seq) } : JSON_TYPE;
      const response = await send("POST", "s", JSON.stringify([{ writer, seq }]), headers);
      expect([200, 204]).toContain(response.status);
    }
  });
  await Promise.all(writers);
  const all = (await (await get("s")).json()) as { writer: number; seq: number }[];
  expect(all).toHaveLength(200);
  for (let writer = 0; writer < 8; writer++) {
    expect(all.filter((each) => each.writer === writer).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 25 }, (_, i) => i),
    );
  }
});

test("limit ratePerSecond counts requests for streams", async () => {
  const { send } = await open({ limits: { ratePerSecond: 3 } });
  const codes: string[] = [];
  for (let i = 0; i < 5; i++) {
    const response = await send("PUT", `s${i}`, "x", TEXT);
    codes.push(response.status === 201 ? "made" : ((await response.json()) as { title: string }).title);
  }
  expect(codes.slice(0, 3)).toEqual(["made", "made", "made"]);
  expect(codes).toContain("resource_exhausted");
});

test("limit bodyMs: a body that stalls", async () => {
  const { send } = await open({ limits: { bodyMs: 100 } });
  await send("PUT", "s", "x", TEXT);
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("half")) });
  const response = await send("POST", "s", body, TEXT);
  expect([response.status, await limitOf(response)]).toEqual([408, "bodyMs"]);
});

/** Random operations, against the simplest model of a stream that there is: a list of texts. */
for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`streams and forks are as a model says, over restarts (seed ${seed})`, async () => {
    const random = seeded(seed);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
    const store = memoryStore();
    // Small pages, so that a reading takes many.
    const options = { store, limits: { sendBufferBytes: 40 } };
    let { send, get } = await open(options);
    /** What a stream has, as parts with the offset after each. */
    const model = new Map<string, { parts: string[]; offsets: string[]; isClosed: boolean }>();
    let number = 0;
    for (let step = 0; step < 150; step++) {
      const name = model.size > 0 ? pick([...model.keys()]) : "";
      const stream = model.get(name);
      const text = `${"abcdefghij".slice(0, 1 + Math.floor(random() * 9))}${step};`;
      const what = random();
      if (!stream || what < 0.1) {
        const made = await send("PUT", `s${++number}`, text, TEXT);
        model.set(`s${number}`, { parts: [text], offsets: [made.headers.get("stream-next-offset")!], isClosed: false });
      } else if (what < 0.55) {
        const headers = random() < 0.5 ? TEXT : { ...TEXT, ...producer(`p${step}`, 0, 0) };
        const response = await send("POST", name, text, headers);
        expect([200, 204, 409]).toContain(response.status);
        expect(response.status === 409).toBe(stream.isClosed);
        if (stream.isClosed) continue;
        stream.parts.push(text);
        stream.offsets.push(response.headers.get("stream-next-offset")!);
      } else if (what < 0.75) {
        const at = Math.floor(random() * stream.parts.length);
        const next = stream.parts[at + 1];
        const sub = next === undefined ? 0 : Math.floor(random() * (next.length + 1));
        const fork = {
          ...TEXT,
          "stream-forked-from": `/streams/${name}`,
          "stream-fork-offset": stream.offsets[at]!,
          "stream-fork-sub-offset": String(sub),
        };
        const made = await send("PUT", `s${++number}`, undefined, fork);
        expect(made.status).toBe(201);
        const parts = stream.parts.slice(0, at + 1);
        const offsets = stream.offsets.slice(0, at + 1);
        if (sub > 0) {
          parts.push(next!.slice(0, sub));
          offsets.push(made.headers.get("stream-next-offset")!);
        }
        model.set(`s${number}`, { parts, offsets, isClosed: false });
      } else if (what < 0.8) {
        await send("POST", name, undefined, { "stream-closed": "true" });
        stream.isClosed = true;
      } else if (what < 0.86) {
        expect((await send("DELETE", name)).status).toBe(204);
        model.delete(name);
      } else if (what < 0.9) {
        ({ send, get } = await open(options));
      } else {
        const from = Math.floor(random() * stream.parts.length);
        let offset = stream.offsets[from]!;
        let read = "";
        for (let isClosed = false, isUpToDate = false; !isUpToDate; ) {
          const response = await get(`${name}?offset=${offset}`);
          read += await response.text();
          const next = response.headers.get("stream-next-offset")!;
          expect(next >= offset).toBe(true);
          offset = next;
          isUpToDate = response.headers.has("stream-up-to-date");
          isClosed = response.headers.has("stream-closed");
          if (isUpToDate) expect(isClosed).toBe(stream.isClosed);
        }
        expect(read).toBe(stream.parts.slice(from + 1).join(""));
        expect(offset).toBe(stream.offsets.at(-1)!);
      }
    }
    for (const [name, { parts }] of model) {
      let all = "";
      for (let offset = "-1", isUpToDate = false; !isUpToDate; ) {
        const response = await get(`${name}?offset=${offset}`);
        all += await response.text();
        offset = response.headers.get("stream-next-offset")!;
        isUpToDate = response.headers.has("stream-up-to-date");
      }
      expect([name, all]).toEqual([name, parts.join("")]);
    }
    // In the order of their making: a source is kept for its forks, and goes with the last of them.
    for (const name of model.keys()) expect((await send("DELETE", name)).status).toBe(204);
    expect((await store.list({ prefix: "streams", limit: 10 })).logs).toEqual([]);
  });
}

/** mulberry32 */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
