import { expect, test } from "bun:test";
import { Fault } from "../log/index.ts";
import { pause } from "./environment.ts";
import { ManualEnvironment, settled } from "./testing/tools.ts";

const never = new AbortController().signal;

test("waits as long as it was told", async () => {
  const env = new ManualEnvironment();
  const waiting = pause(env, 500, never, false);
  env.advance(499);
  expect(await settled(waiting)).toBe(false);
  env.advance(1);
  await waiting;
  expect(env.timers).toBe(0);
  expect(env.watchers).toBe(0);
});

test("waits while there is no network, and goes on at once when it is back", async () => {
  const env = new ManualEnvironment();
  env.set({ online: false });
  const waiting = pause(env, 500, never, false);
  env.advance(60_000);
  expect(await settled(waiting)).toBe(false);
  env.set({ online: true });
  await waiting;
  // Also before the time is over.
  env.set({ online: false });
  const second = pause(env, 500, never, false);
  env.set({ online: true });
  await second;
  expect(env.timers).toBe(0);
});

test("a reader rests while the page is hidden; others do not", async () => {
  const env = new ManualEnvironment();
  env.set({ visible: false });
  const reader = pause(env, 0, never, true);
  await pause(env, 0, never, false);
  expect(await settled(reader)).toBe(false);
  env.set({ visible: true });
  await reader;
});

test("being shown again while the network is away changes nothing", async () => {
  const env = new ManualEnvironment();
  env.set({ online: false, visible: false });
  const waiting = pause(env, 0, never, true);
  env.set({ visible: true });
  expect(await settled(waiting)).toBe(false);
  env.set({ online: true });
  await waiting;
});

test("an abort ends the wait with its reason, and leaves nothing behind", async () => {
  const env = new ManualEnvironment();
  const abort = new AbortController();
  const waiting = pause(env, 500, abort.signal, false);
  abort.abort(new Fault("cancelled", "enough"));
  expect(waiting).rejects.toThrow("enough");
  await waiting.catch(() => {});
  expect(pause(env, 500, abort.signal, false)).rejects.toThrow("enough");
  expect(env.timers).toBe(0);
  expect(env.watchers).toBe(0);
});
