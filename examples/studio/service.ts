/**
 * A photo studio: each kind of method, topics, and a chain of subscribers, with real work on real images.
 * `backtalk serve examples/studio/service.ts`, then
 * `backtalk call localhost:4400 studio.isPrime '{"n":97}'`.
 */
import {
  bidi,
  clientStream,
  type HandlerCall,
  serverStream,
  service,
  subscriber,
  topic,
  unary,
  upload,
  withUpload,
} from "backtalk";
import { z } from "zod";
import { bytesOf, make, type Photo, photo } from "./images.ts";
import { isPrime } from "./primes.ts";
import { story } from "./story.ts";

const width = z.int().min(1).max(4096);
const pause = z.number().min(0).max(60_000);

/**
 * What happens to a photo, in this order. One topic tells it all: each subscriber takes the stage before
 * its own, and publishes the next one under a key, so that doing it again after a crash adds nothing.
 */
const stage = z.enum(["uploaded", "compressed", "formatted", "notified"]);
const photos = topic({
  description: "every photo that was developed, and what became of it",
  event: z.object({ id: z.string(), stage, photos: z.array(photo), text: z.string().optional() }),
  retain: { events: 1_000, bytes: 64 * 1024 * 1024 },
});
const logins = topic({
  description: "who came in, and when (milliseconds since 1970)",
  event: z.object({ user: z.string().max(100), at: z.number() }),
});

export default service("studio", {
  isPrime: unary(
    {
      description: "whether n is a prime number",
      input: z.object({ n: z.int().meta({ examples: [97] }) }),
      output: z.object({ prime: z.boolean() }),
      safe: true,
      cacheControl: "public, max-age=3600",
    },
    ({ n }) => ({ prime: isPrime(n) }),
  ),

  thumbnail: unary(
    {
      description: "the image, in another width",
      input: z.object({ image: z.base64(), width: width.default(160) }),
      output: photo,
    },
    (input) => make(Buffer.from(input.image, "base64"), { width: input.width }),
  ),

  develop: unary(
    {
      description: "a long job: the image in several widths, one after the other; goes on after a restart",
      input: withUpload(
        z.object({
          widths: z.array(width).min(1).max(32).default([320, 160, 80]),
          /** Milliseconds between the steps, to have time to look at them. */
          pauseMs: pause.default(0),
        }),
        { image: upload({ types: ["image/*"], maxBytes: 32 * 1024 * 1024, inline: true }) },
      ),
      output: z.object({ photos: z.array(photo), attempts: z.int() }),
      progress: z.object({ step: z.string(), done: z.int(), of: z.int(), photo: photo.optional() }),
      recorded: "always",
      onRestart: "retry",
    },
    async ({ image, widths, pauseMs }, call) => {
      // What an earlier attempt has finished is in its history, and is not done again.
      const done: Photo[] = [];
      for await (const { kind, data } of call.history()) {
        if (kind === "progress" && (data as { photo?: Photo }).photo) done.push((data as { photo: Photo }).photo);
      }
      const source = await image.bytes();
      for (const wanted of widths.slice(done.length)) {
        call.signal.throwIfAborted();
        const made = await make(source, { width: wanted });
        const id = `${call.id}-${done.length}`;
        await call.publish(photos, { id, stage: "uploaded", photos: [made] }, { key: `${id}:uploaded` });
        done.push(made);
        call.progress({ step: `resize to ${wanted}`, done: done.length, of: widths.length, photo: made });
        await sleep(pauseMs, call.signal);
      }
      return { photos: done, attempts: call.attempt };
    },
  ),

  tell: serverStream(
    {
      description: "a story, word by word: how chat models stream tokens",
      input: z.object({
        prompt: z
          .string()
          .max(1_000)
          .meta({ examples: ["a fox"] }),
        intervalMs: pause.default(40),
      }),
      item: z.object({ word: z.string() }),
      fold: { initial: "", step: (text: string, { word }) => (text === "" ? word : `${text} ${word}`) },
      onRestart: "retry",
    },
    async function* ({ prompt, intervalMs }, call) {
      for (const word of story(prompt).slice(await said(call))) {
        yield { word };
        await sleep(intervalMs, call.signal);
      }
    },
  ),

  countdown: serverStream(
    {
      description: "counts from `from` to 0",
      input: z.object({
        from: z
          .int()
          .min(0)
          .max(1_000_000)
          .meta({ examples: [5] }),
        intervalMs: pause.default(1_000),
      }),
      item: z.object({ n: z.int() }),
      onRestart: "retry",
    },
    async function* ({ from, intervalMs }, call) {
      for (let n = from - (await said(call)); n >= 0; n--) {
        yield { n };
        if (n > 0) await sleep(intervalMs, call.signal);
      }
    },
  ),

  digest: clientStream(
    {
      description: "SHA-256 of all the chunks, in hexadecimal",
      input: z.object({ chunk: z.base64() }),
      output: z.object({ sha256: z.string(), bytes: z.int() }),
      onRestart: "retry",
    },
    async (chunks) => {
      const hash = new Bun.CryptoHasher("sha256");
      let bytes = 0;
      for await (const { chunk } of chunks) {
        const data = Buffer.from(chunk, "base64");
        hash.update(data);
        bytes += data.length;
      }
      return { sha256: hash.digest("hex"), bytes };
    },
  ),

  chat: bidi(
    {
      description: "each text is answered; n counts them",
      input: z.object({ text: z.string().max(10_000) }),
      item: z.object({ text: z.string(), n: z.int() }),
      onRestart: "retry",
    },
    async function* (texts, call) {
      const answered = await said(call);
      let n = 0;
      for await (const { text } of texts) {
        n++;
        // After a restart the texts come again from the first: those that were answered are passed over.
        if (n > answered) yield { text: `You said: ${text}`, n };
      }
    },
  ),

  logins,
  photos,

  compress: subscriber(photos, async (event, call) => {
    if (event.stage !== "uploaded") return;
    const smaller = await Promise.all(event.photos.map((each) => make(bytesOf(each), { format: "webp", quality: 40 })));
    await next(event.id, "compressed", smaller, call);
  }),

  format: subscriber(photos, async (event, call) => {
    if (event.stage !== "compressed") return;
    const [first] = event.photos;
    if (first === undefined) return;
    const preview = await make(bytesOf(first), { width: Math.min(64, first.width), format: "jpeg", quality: 60 });
    await next(event.id, "formatted", [first, preview], call);
  }),

  notify: subscriber(photos, async (event, call) => {
    if (event.stage !== "formatted") return;
    const what = event.photos.map((each) => `${each.format} ${each.width}x${each.height}, ${each.bytes} bytes`);
    await next(event.id, "notified", [], call, `your photo is ready: ${what.join("; ")}`);
  }),
});

function next(id: string, to: z.infer<typeof stage>, made: Photo[], call: HandlerCall, text?: string) {
  const event = { id, stage: to, photos: made, ...(text !== undefined && { text }) };
  return call.publish(photos, event, { key: `${id}:${to}` });
}

/** How many items earlier attempts of this call have said: where to go on. */
async function said(call: HandlerCall): Promise<number> {
  let items = 0;
  for await (const { kind } of call.history()) if (kind === "item") items++;
  return items;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
