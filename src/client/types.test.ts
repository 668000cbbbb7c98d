/** What the compiler infers from a service. The assertions are made by `tsc`; at run time there is nothing to see. */
import { expect, test } from "bun:test";
import { z } from "zod";
import { bidi, clientStream, serverStream, service, topic, unary } from "../contract/index.ts";
import type { CallHandle, Client, Reading, TopicEvent } from "./types.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <_ extends true>(): void => {};

const one = service("one", {
  isPrime: unary({ input: z.object({ n: z.number() }), output: z.object({ prime: z.boolean() }) }, () => ({
    prime: true,
  })),
  develop: unary(
    { input: z.object({ widths: z.array(z.number()) }), output: z.string(), progress: z.object({ step: z.string() }) },
    () => "",
  ),
  // What is sent and what the schema makes of it differ.
  parsed: unary({ input: z.object({ at: z.string().transform(Number) }), output: z.object({}) }, () => ({})),
  nothing: unary({ input: z.object({ page: z.number().optional() }), output: z.null() }, () => null),
  tell: serverStream(
    { input: z.object({ prompt: z.string() }), item: z.object({ word: z.string() }) },
    async function* () {
      yield { word: "" };
    },
  ),
  digest: clientStream({ input: z.object({ chunk: z.string() }), output: z.object({ sha256: z.string() }) }, () => ({
    sha256: "",
  })),
  chat: bidi({ input: z.object({ text: z.string() }), item: z.object({ n: z.number() }) }, async function* () {}),
  logins: topic({ event: z.object({ user: z.string() }) }),
});
const two = service("two", {
  ping: unary({ input: z.object({}), output: z.number() }, () => 1),
  photos: topic({ event: z.number() }),
});

declare const client: Client<typeof one>;

async function inferred() {
  const prime = await client.one.isPrime({ n: 7 });
  is<Equal<typeof prime, { prime: boolean }>>();
  const { key, keep } = { key: "k", keep: true };
  await client.one.isPrime({ n: 7 }, { key, keep, timeoutMs: 1, signal: AbortSignal.abort() });
  await client.one.nothing();
  await client.one.nothing({ page: 1 });
  is<Equal<Parameters<typeof client.one.parsed>[0], { at: string }>>();
  // @ts-expect-error the input is not optional
  await client.one.isPrime();
  // @ts-expect-error a wrong type
  await client.one.isPrime({ n: "7" });
  // @ts-expect-error no such method
  await client.one.nope({});
  // @ts-expect-error a topic is no method
  await client.one.logins({});
  // @ts-expect-error a unary method gives no items
  for await (const _ of client.one.isPrime({ n: 1 })) break;

  const handle = await client.one.develop.start({ widths: [1] });
  is<Equal<typeof handle, CallHandle<never, { step: string }, string>>>();
  is<Equal<Awaited<typeof handle.result>, string>>();
  for await (const event of handle.events) {
    is<Equal<(typeof event)["kind"], "open" | "progress" | "end" | "fail">>();
    if (event.kind === "progress") is<Equal<typeof event.data, { step: string }>>();
    if (event.kind === "end") is<Equal<typeof event.data.result, string | undefined>>();
  }
  const back = client.one.develop.attach("id");
  is<Equal<typeof back, typeof handle>>();
  is<Equal<typeof handle.progress, { step: string } | undefined>>();

  for await (const item of client.one.tell({ prompt: "" })) is<Equal<typeof item, { word: string }>>();
  const stream = await client.one.tell.start({ prompt: "" });
  is<Equal<typeof stream, CallHandle<{ word: string }, never, undefined>>>();
  for await (const event of stream.events) if (event.kind === "item") is<Equal<typeof event.data, { word: string }>>();

  async function* chunks() {
    yield { chunk: "" };
  }
  async function* numbers() {
    yield 1;
  }
  const digest = await client.one.digest(chunks());
  is<Equal<typeof digest, { sha256: string }>>();
  // @ts-expect-error items of a wrong type
  await client.one.digest(numbers());
  // @ts-expect-error one item is no stream of them
  await client.one.digest({ chunk: "" });
  async function* texts() {
    yield { text: "" };
  }
  for await (const item of client.one.chat(texts())) is<Equal<typeof item, { n: number }>>();

  const logins = client.topics.logins.subscribe();
  is<Equal<typeof logins, Reading<TopicEvent<{ user: string }>>>>();
  for await (const { data } of logins) is<Equal<typeof data, { user: string }>>();
  await client.topics.logins.publish({ user: "" }, { key: "k" });
  // @ts-expect-error a wrong event
  await client.topics.logins.publish({ user: 1 });
  // @ts-expect-error no such topic
  client.topics.photos;

  const { calls } = await client.calls({ state: "running" });
  is<Equal<(typeof calls)[number]["state"], "running" | "done" | "failed" | "cancelled">>();
}

function several(list: Client<[typeof one, typeof two]>, union: Client<typeof one | typeof two>) {
  is<Equal<ReturnType<typeof list.two.ping>, Promise<number>>>();
  is<Equal<ReturnType<typeof union.two.ping>, Promise<number>>>();
  is<Equal<ReturnType<typeof union.one.isPrime>, Promise<{ prime: boolean }>>>();
  is<Equal<keyof typeof list.topics, "logins" | "photos">>();
  is<Equal<keyof typeof union.topics, "logins" | "photos">>();
}

test("types are checked by the compiler", () => {
  expect([inferred, several, one.name, two.name]).toHaveLength(4);
});
