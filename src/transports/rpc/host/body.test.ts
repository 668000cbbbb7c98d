/** Bodies are put together message by message, whatever their frames. */
import { describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { RequestBody } from "./body.ts";
import { Room } from "./room.ts";
import { prefixed } from "./testing/echo.ts";

const enveloped = { isEnveloped: true, isOne: false, maxBytes: 1000, withinMs: 60_000 };

async function* of(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

describe("a body", () => {
  test("of messages is the same however it is cut, and each chunk is of whole messages", async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed);
      const messages = Array.from({ length: Math.floor(next() * 8) }, (_, at) =>
        prefixed(Buffer.alloc(Math.floor(next() ** 3 * 1000), at)),
      );
      const bytes = Buffer.concat(messages);
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + Math.floor(next() ** 2 * 700);
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      const got = await Array.fromAsync(new RequestBody(of(chunks), enveloped));
      expect([seed, Buffer.concat(got).equals(bytes)]).toEqual([seed, true]);
      const ends = new Set(
        messages.map((_, at) => messages.slice(0, at + 1).reduce((sum, { length }) => sum + length, 0)),
      );
      let end = 0;
      for (const chunk of got) {
        end += chunk.length;
        expect([seed, end, ends.has(end)]).toEqual([seed, end, true]);
      }
    }
  });

  test("that breaks off inside a message is passed on as it is", async () => {
    const bytes = Buffer.concat([prefixed(Buffer.from("abc")), prefixed(Buffer.from("def")).subarray(0, 6)]);
    const got = await Array.fromAsync(new RequestBody(of([bytes]), enveloped));
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    expect(await Array.fromAsync(new RequestBody(of([Buffer.from([0, 0])]), enveloped))).toHaveLength(1);
  });

  test("with a message that is too long is passed on at its prefix", async () => {
    let asked = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield prefixed(Buffer.alloc(0), 0, 1001).subarray(0, 3);
      yield prefixed(Buffer.alloc(0), 0, 1001).subarray(3);
      for (;;) {
        asked += 1;
        yield Buffer.alloc(100);
      }
    }
    const body = new RequestBody(endless(), enveloped);
    expect((await body.next()).value).toHaveLength(5);
    expect(asked).toBe(0);
  });

  test("of one-byte chunks takes time in proportion to its length", async () => {
    const timeOf = async (bytes: number) => {
      const message = prefixed(Buffer.alloc(bytes));
      function* each() {
        for (let at = 0; at < message.length; at++) yield message.subarray(at, at + 1);
      }
      const start = performance.now();
      const got = await Array.fromAsync(new RequestBody(of(each()), { ...enveloped, maxBytes: bytes }));
      expect(got).toHaveLength(1);
      return performance.now() - start;
    };
    await timeOf(10_000);
    const short = await timeOf(20_000);
    // 16 times as long; as the square it would take 256 times as long.
    expect(await timeOf(320_000)).toBeLessThan(64 * Math.max(short, 5));
  });

  test("that announces more than it sends takes no memory for it", async () => {
    const waiting: RequestBody[] = [];
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    for (let at = 0; at < 500; at++) {
      async function* stalled(): AsyncGenerator<Uint8Array> {
        yield prefixed(Buffer.alloc(10), 0, 8_000_000);
        await new Promise(() => {});
      }
      const body = new RequestBody(stalled(), { ...enveloped, maxBytes: 8_000_000 });
      body.next();
      waiting.push(body);
    }
    await Bun.sleep(1);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    expect(waiting).toHaveLength(500);
  });

  test("that is one message has to arrive in time", async () => {
    async function* stalled(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("a");
      await new Promise(() => {});
    }
    const body = new RequestBody(stalled(), { isEnveloped: false, isOne: true, maxBytes: 100, withinMs: 20 });
    expect((await body.next()).done).toBe(false);
    const late = await body.next().then(
      () => undefined,
      (thrown) => ConnectError.from(thrown).code,
    );
    expect(late).toBe(Code.DeadlineExceeded);
    expect((await body.next()).done).toBe(true);
  });

  test("of messages has a time for each of them, from when it has begun", async () => {
    const gate = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<Uint8Array> {
      const message = prefixed(Buffer.from("abc"));
      // What lies between messages takes as long as it likes.
      await Bun.sleep(60);
      yield message.subarray(0, 6);
      yield Buffer.concat([message.subarray(6), message]);
      await Bun.sleep(60);
      yield message.subarray(0, 3);
      await gate.promise;
    }
    const body = new RequestBody(slow(), { ...enveloped, withinMs: 40 });
    expect((await body.next()).value).toHaveLength(16);
    const late = await body.next().catch((thrown) => ConnectError.from(thrown).message);
    expect(late).toContain("the message did not arrive within 40 ms (limit bodyMs)");
    expect((await body.next()).done).toBe(true);
    gate.resolve();
  });

  test("is not late by waiting for other streams, and is by itself", async () => {
    const room = new Room(10);
    const message = prefixed(Buffer.alloc(20));
    const rest = Promise.withResolvers<void>();
    async function* first(): AsyncGenerator<Uint8Array> {
      yield message.subarray(0, 12);
      await rest.promise;
      yield message.subarray(12);
    }
    async function* second(isWhole: boolean): AsyncGenerator<Uint8Array> {
      yield message.subarray(0, 8);
      if (!isWhole) await new Promise(() => {});
      yield message.subarray(8);
    }
    const before = new RequestBody(first(), { ...enveloped, room }).next();
    const waiting = [true, false].map(
      (isWhole) => new RequestBody(second(isWhole), { ...enveloped, room, withinMs: 40 }),
    );
    const read = waiting.map((body) => body.next());
    const isLate = read[1]!.then(
      () => false,
      () => waiting[1]!.isLate,
    );
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(waiting.map((body) => body.isLate)).toEqual([false, false]);
    rest.resolve();
    expect((await before).value).toHaveLength(message.length);
    expect((await read[0]!).value).toHaveLength(message.length);
    expect(await isLate).toBe(true);
  });

  test("waits while its connection holds too much, but for the one that began first", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const next = random(seed);
      const room = new Room(1_000);
      const order = new Map<number, number>();
      let held = 0;
      let most = 0;
      const message = prefixed(Buffer.alloc(900));
      const bodies = Array.from({ length: 12 }, async (_, at) => {
        async function* chunks(): AsyncGenerator<Uint8Array> {
          for (let from = 0; from < message.length; ) {
            const chunk = message.subarray(from, from + 1 + Math.floor(next() * 120));
            held += chunk.length;
            most = Math.max(most, held);
            from += chunk.length;
            yield chunk;
            await (next() < 0.5 ? null : new Promise((resolve) => setImmediate(resolve)));
          }
        }
        const body = new RequestBody(chunks(), { ...enveloped, room });
        const gives = at % 4 === 3;
        if (gives) setTimeout(() => body.close(), next() * 10);
        const { done, value } = await body.next();
        order.set(at, value?.length ?? 0);
        held -= message.length;
        if (!gives) expect([seed, at, done, value?.length]).toEqual([seed, at, false, message.length]);
        body.close();
      });
      await Promise.all(bodies);
      expect([seed, order.size]).toEqual([seed, 12]);
      // The room, the message of the first one, and a chunk of each that held nothing yet.
      expect(most).toBeLessThan(1_000 + message.length + 12 * 121);
    }
  });

  test("tells its source when nobody reads it any more", async () => {
    for (const how of ["return", "throw"] as const) {
      let over = false;
      async function* source(): AsyncGenerator<Uint8Array> {
        try {
          yield Buffer.from("a");
        } finally {
          over = true;
        }
      }
      const body = new RequestBody(source(), { ...enveloped, isEnveloped: false });
      await body.next();
      await body[how](new Error("enough")).catch(() => {});
      expect([how, over, (await body.next()).done]).toEqual([how, true, true]);
    }
  });
});
