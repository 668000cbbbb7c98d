import { describe, expect, test } from "bun:test";
import { ANONYMOUS, Fault, type HandlerCall, type Method, type Service, type Subscriber, validate } from "backtalk";
import first from "../first/service.ts";
import type { Photo } from "./images.ts";
import { isPrime } from "./primes.ts";
import studio from "./service.ts";

const jpeg = Buffer.from(await Bun.file(new URL("photo.jpg", import.meta.url)).bytes()).toString("base64");

describe("isPrime", () => {
  test("agrees with trial division", () => {
    for (let n = -3; n < 5_000; n++) {
      let prime = n > 1;
      for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
      expect([n, isPrime(n)]).toEqual([n, prime]);
    }
  });
  test("is right at the end of the safe integers, and for numbers that look prime", () => {
    expect(isPrime(Number.MAX_SAFE_INTEGER)).toBe(false);
    expect(isPrime(9_007_199_254_740_881)).toBe(true);
    for (const carmichael of [561, 1105, 3_215_031_751, 3_825_123_056_546]) expect(isPrime(carmichael)).toBe(false);
  });
});

describe("images", () => {
  test("thumbnail keeps the format and the shape", async () => {
    const made = (await run("thumbnail", { image: jpeg, width: 100 })) as Photo;
    expect(made).toMatchObject({ format: "jpeg", width: 100, height: 75 });
    const bytes = Buffer.from(made.image, "base64");
    expect(bytes.length).toBe(made.bytes);
    expect(await new Bun.Image(bytes).metadata()).toEqual({ width: 100, height: 75, format: "jpeg" });
  });

  test("what is not an image is the caller's fault, with the field", async () => {
    const fault = await Promise.resolve(run("thumbnail", { image: "AAAA" })).catch((thrown) => thrown as Fault);
    expect(fault).toBeInstanceOf(Fault);
    expect((fault as Fault).toJSON()).toMatchObject({ code: "invalid_argument", fields: [{ path: "image" }] });
  });

  test("develop tells each step and publishes each photo once", async () => {
    const call = fakeCall();
    const output = (await run("develop", { image: jpeg, widths: [64, 32], pauseMs: 0 }, call)) as { photos: Photo[] };
    expect(output.photos.map((each) => [each.width, each.height])).toEqual([
      [64, 48],
      [32, 24],
    ]);
    expect(call.progressed.map(({ done, of }) => [done, of])).toEqual([
      [1, 2],
      [2, 2],
    ]);
    expect(call.published.map(({ key }) => key)).toEqual(["c1-0:uploaded", "c1-1:uploaded"]);
  });

  test("develop goes on after a restart with what is not done yet", async () => {
    const before = fakeCall();
    await run("develop", { image: jpeg, widths: [64], pauseMs: 0 }, before);
    const after = fakeCall({ attempt: 2, history: before.progressed.map((data) => ({ kind: "progress", data })) });
    const output = await run("develop", { image: jpeg, widths: [64, 32], pauseMs: 0 }, after);
    expect(output).toMatchObject({ attempts: 2, photos: [{ width: 64 }, { width: 32 }] });
    expect(after.progressed.map(({ done, of }) => [done, of])).toEqual([[2, 2]]);
  });

  test("upload, compress, format, notify", async () => {
    const call = fakeCall();
    await run("develop", { image: jpeg, widths: [320], pauseMs: 0 }, call);
    // Every subscriber is given every event, as the server does.
    for (let at = 0; at < call.published.length; at++) {
      for (const name of ["compress", "format", "notify"] as const) {
        const { handler } = studio.members[name] as Subscriber;
        await handler(call.published[at]!.event, call as never);
      }
    }
    const events = call.published.map(({ event }) => event as { stage: string; photos: Photo[]; text?: string });
    expect(events.map(({ stage }) => stage)).toEqual(["uploaded", "compressed", "formatted", "notified"]);
    const [uploaded, compressed] = events.map(({ photos }) => photos[0]);
    expect(compressed).toMatchObject({ format: "webp", width: 320, height: 240 });
    expect(compressed!.bytes).toBeLessThan(uploaded!.bytes);
    expect(events[3]!.text).toContain("webp 320x240");
  });
});

describe("streams", () => {
  test("countdown ends with 0 and goes on where it was", async () => {
    expect(await all("countdown", { from: 3, intervalMs: 0 })).toEqual([3, 2, 1, 0].map((n) => ({ n })));
    const call = fakeCall({ history: [3, 2].map((n) => ({ kind: "item", data: { n } })) });
    expect(await all("countdown", { from: 3, intervalMs: 0 }, call)).toEqual([{ n: 1 }, { n: 0 }]);
  });

  test("tell is the same story again, and goes on where it was", async () => {
    const words = await all("tell", { prompt: "a fox", intervalMs: 0 });
    expect(words.map((item) => (item as { word: string }).word).join(" ")).toContain("a fox");
    const call = fakeCall({ history: words.slice(0, 5).map((data) => ({ kind: "item", data })) });
    expect(await all("tell", { prompt: "a fox", intervalMs: 0 }, call)).toEqual(words.slice(5));
  });

  test("a stream stops when its call is cancelled", async () => {
    const abort = new AbortController();
    const call = fakeCall({ signal: abort.signal });
    const items = method("countdown").handler({ from: 10, intervalMs: 60_000 }, call)[Symbol.asyncIterator]();
    expect(await items.next()).toEqual({ done: false, value: { n: 10 } });
    const second = items.next();
    abort.abort(new Fault("cancelled", "enough"));
    expect(await second.catch((thrown: unknown) => thrown)).toMatchObject({ code: "cancelled" });
  });

  test("digest is that of all the chunks", async () => {
    const chunks = ["Back", "talk"].map((text) => ({ chunk: btoa(text) }));
    const expected = new Bun.CryptoHasher("sha256").update("Backtalk").digest("hex");
    expect(await run("digest", each(chunks))).toEqual({ sha256: expected, bytes: 8 });
  });

  test("chat answers each text once, over a restart too", async () => {
    const texts = ["hi", "how are you", "bye"].map((text) => ({ text }));
    const answers = await all("chat", each(texts));
    expect(answers).toHaveLength(3);
    expect(answers[2]).toEqual({ text: "You said: bye", n: 3 });
    const call = fakeCall({ history: answers.slice(0, 2).map((data) => ({ kind: "item", data })) });
    expect(await all("chat", each(texts), call)).toEqual(answers.slice(2));
  });
});

test("the first example", () => {
  expect(method("hello", first).handler({ name: "Ada" }, fakeCall())).toEqual({ text: "Hello, Ada!" });
});

function method(name: string, of: Service = studio): Method {
  return of.members[name] as Method;
}

function run(name: string, input: unknown, call = fakeCall()): unknown {
  const { handler, kind, input: schema } = method(name);
  return handler(kind === "unary" ? validate(schema, input, "input") : input, call);
}

async function all(name: string, input: unknown, call = fakeCall()): Promise<unknown[]> {
  return await Array.fromAsync(method(name).handler(input, call) as AsyncIterable<unknown>);
}

async function* each<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items;
}

interface Said {
  readonly kind: "item" | "progress";
  readonly data: unknown;
}

/** What a handler is given, with what it said kept for the test. */
function fakeCall(given: { attempt?: number; history?: readonly Said[]; signal?: AbortSignal } = {}) {
  const progressed: { done: number; of: number }[] = [];
  const published: { event: unknown; key: string | undefined }[] = [];
  const call = {
    id: "c1",
    method: "studio/test",
    principal: ANONYMOUS,
    attempt: given.attempt ?? 1,
    signal: given.signal ?? new AbortController().signal,
    deadline: undefined,
    trace: undefined,
    progress: (value: { done: number; of: number }) => void progressed.push(value),
    publish: async (_topic: unknown, event: unknown, options?: { key?: string }) => {
      if (!published.some(({ key }) => key === options?.key)) published.push({ event, key: options?.key });
      return "";
    },
    history: () => each(given.history ?? []),
    progressed,
    published,
  };
  return call as unknown as HandlerCall<never> & Pick<typeof call, "progressed" | "published">;
}
