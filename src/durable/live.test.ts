/** Live readings: long polls and SSE, their limits, and how they end. */
import { afterEach, expect, test } from "bun:test";
import { type FacadeOptions, facade, JSON_TYPE, NAMES, TEXT } from "./testing.ts";

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function open(options?: FacadeOptions) {
  const opened = await facade(options);
  stops.push(opened.stop);
  return opened;
}

/** Reads until the text has what is looked for, or the stream ends. */
async function until(reader: ReadableStreamDefaultReader<Uint8Array>, what: string): Promise<string> {
  const utf8 = new TextDecoder();
  let text = "";
  while (!text.includes(what)) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += utf8.decode(value, { stream: true });
  }
  return text;
}

test("a topic over SSE: what is there, what comes, and its place", async () => {
  const { send, get } = await open();
  await send("POST", "ticks", '[{"n":1},{"n":2}]', JSON_TYPE);
  const response = await get("ticks?offset=-1&live=sse");
  const reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  expect(await until(reader, "upToDate")).toContain('data:[{"n":1},{"n":2}]\n');
  const posted = await send("POST", "ticks", '{"n":3}', JSON_TYPE);
  const text = await until(reader, "upToDate");
  expect(text).toContain('data:[{"n":3}]');
  expect(text).toContain(posted.headers.get("stream-next-offset")!);
  await reader.cancel();
});

test("the cursor of SSE is more than what the client has shown, and then goes with the time", async () => {
  let now = Date.UTC(2026, 0, 1);
  const { send, get } = await open({ now: () => now });
  await send("PUT", "s", "a", TEXT);
  const cursors = (text: string) => [...text.matchAll(/"streamCursor":"(\d+)"/g)].map((match) => Number(match[1]));
  const interval = Math.floor((now - Date.UTC(2024, 9, 9)) / 20_000);
  const response = await get(`s?offset=-1&live=sse&cursor=${interval}`);
  const reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const first = cursors(await until(reader, "upToDate"))[0]!;
  expect(first).toBeGreaterThan(interval);
  expect(first).toBeLessThanOrEqual(interval + 180);
  await send("POST", "s", "b", TEXT);
  expect(cursors(await until(reader, "upToDate"))).toEqual([first]);
  now += 2 * 3_600_000;
  await send("POST", "s", "c", TEXT);
  expect(cursors(await until(reader, "upToDate"))).toEqual([interval + 360]);
  await reader.cancel();
});

test("SSE beats in silence, is ended by its time, and when the server drains", async () => {
  const { send, get, core } = await open({ commentMs: 20, sseMs: 400 });
  await send("PUT", "s", undefined, TEXT);
  const began = performance.now();
  const rotated = await (await get("s?offset=now&live=sse")).text();
  expect(performance.now() - began).toBeLessThan(5000);
  expect(rotated.match(/^:$/gm)!.length).toBeGreaterThan(2);
  const drained = await get("s?offset=now&live=sse");
  const poll = get("s?offset=now&live=long-poll");
  const held = () => /backtalk_held_polls 1/.test(core.metrics.text());
  while (!held()) await Bun.sleep(5);
  void core.drain();
  expect(await drained.text()).toContain("upToDate");
  expect((await poll).status).toBe(204);
  expect(core.metrics.text()).toContain('backtalk_connections{transport="durable-streams"} 0');
});

test("SSE ends with the credential", async () => {
  const authenticate = () => ({ id: "a", expiresAt: Date.now() + 100 });
  const { send, get } = await open({ authenticate });
  await send("PUT", "s", undefined, TEXT);
  const began = performance.now();
  await (await get("s?offset=now&live=sse")).text();
  expect(performance.now() - began).toBeLessThan(5000);
});

test("readers that go leave nothing behind", async () => {
  const { send, get, core } = await open();
  await send("PUT", "s", undefined, TEXT);
  for (let i = 0; i < 20; i++) {
    const response = await get("s?offset=now&live=sse");
    await response.body!.cancel();
  }
  const isZero = () => /backtalk_connections\{transport="durable-streams"\} 0\n/.test(core.metrics.text());
  while (!isZero()) await Bun.sleep(5);
});

test("limits: heldPolls and connections", async () => {
  const { send, get } = await open({ limits: { heldPolls: 0, connections: 1 }, authenticate: NAMES });
  await send("PUT", "s", undefined, TEXT);
  const poll = await get("s?offset=now&live=long-poll");
  expect((await poll.json()) as object).toMatchObject({ title: "resource_exhausted" });
  const open1 = await get("s?offset=now&live=sse");
  expect(open1.status).toBe(200);
  expect((await (await get("s?offset=now&live=sse")).json()) as object).toMatchObject({ title: "resource_exhausted" });
  await open1.body!.cancel();
});

test("a deleted stream ends its readings", async () => {
  const { send, get } = await open();
  await send("PUT", "s", undefined, TEXT);
  const live = await get("s?offset=now&live=sse");
  await send("DELETE", "s");
  expect(await live.text()).toContain("upToDate");
  expect((await get("s?offset=-1&live=sse")).status).toBe(404);
});
