/** Clients of others: the packages `eventsource` and `ws`, and Node's own fetch. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";
import { until } from "../transport/world.ts";
import { Studio, tool } from "./setup.ts";

const studio = new Studio();
beforeAll(async () => void (await studio.start()), 30_000);
afterAll(() => studio.stop());

async function start(method: string, input: unknown): Promise<string> {
  const headers = { prefer: "respond-async", "content-type": "application/json" };
  const body = JSON.stringify(input);
  const response = await fetch(`${studio.url}/studio/${method}`, { method: "POST", headers, body });
  return ((await response.json()) as { id: string }).id;
}

test("eventsource: reads a call through a kill of the server, and stops at its end", async () => {
  const id = await start("countdown", { from: 60, intervalMs: 15 });
  const source = new EventSource(`${studio.url}/calls/${id}/events`);
  const seen: number[] = [];
  const verdicts: string[] = [];
  let ends = 0;
  source.addEventListener("item", ({ data }) => seen.push((JSON.parse(data) as { n: number }).n));
  source.addEventListener("verdict", ({ data }) => verdicts.push((JSON.parse(data) as { verdict: string }).verdict));
  source.addEventListener("end", () => ends++);
  try {
    await until(() => seen.length > 5, "the first items");
    await studio.restart();
    await until(() => ends === 1, "the end");
    // Its next request gets 204, after which an EventSource does not come back.
    await until(() => source.readyState === EventSource.CLOSED, "the last answer");
  } finally {
    source.close();
  }
  expect(seen).toEqual(Array.from({ length: 61 }, (_, i) => 60 - i));
  expect(verdicts.length).toBeGreaterThan(1);
  expect(new Set(verdicts)).toEqual(new Set(["recovered"]));
  expect(ends).toBe(1);
}, 60_000);

test("ws: calls, streams with credit and publishes on one socket", async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${studio.port}/ws`, "backtalk.v1");
  type Message = { type: string; id?: number; data?: unknown; events?: { kind: string; data: unknown }[] };
  const messages: Message[] = [];
  socket.on("message", (data) => messages.push(JSON.parse(String(data)) as Message));
  const of = (id: number, type: string) => messages.filter((each) => each.id === id && each.type === type);
  const say = (message: object) => socket.send(JSON.stringify(message));
  await until(() => messages.length > 0, "the welcome");
  expect(messages[0]).toMatchObject({ type: "welcome", heartbeatMs: expect.any(Number), graceMs: expect.any(Number) });
  say({ type: "call", id: 0, method: "studio/isPrime", input: { n: 11 } });
  await until(() => of(0, "result").length === 1, "the result");
  expect(of(0, "result")[0]!.data).toEqual({ prime: true });
  say({ type: "call", id: 1, method: "studio/countdown", input: { from: 9, intervalMs: 0 }, credit: 3 });
  const events = () => of(1, "events").flatMap(({ events }) => events!);
  await until(() => events().length === 3, "three events");
  // No more than it has credit for.
  expect(events().map(({ kind }) => kind)).toEqual(["open", "item", "item"]);
  say({ type: "credit", id: 1, n: 100 });
  await until(() => of(1, "done").length === 1, "the end");
  expect(
    events()
      .filter(({ kind }) => kind === "item")
      .map(({ data }) => data),
  ).toEqual(Array.from({ length: 10 }, (_, i) => ({ n: 9 - i })));
  say({ type: "publish", id: 2, topic: "logins", event: { user: "ws", at: 2 } });
  await until(() => of(2, "result").length === 1, "the cursor");
  say({ type: "call", id: 3, method: "studio/nothing" });
  await until(() => of(3, "fault").length === 1, "the fault");
  socket.close(1000);
  await until(() => socket.readyState === WebSocket.CLOSED, "the close");
}, 60_000);

const node = tool("node");

describe.skipIf(node === undefined)("Node", () => {
  async function inNode(script: string): Promise<unknown> {
    const child = Bun.spawn([node!, "--input-type=module", "-e", script], { stdout: "pipe", stderr: "inherit" });
    const text = await new Response(child.stdout).text();
    expect(await child.exited).toBe(0);
    return JSON.parse(text);
  }

  test("fetch: a call, a fault, and a stream that is cut and resumed by its last id", async () => {
    const output = await inNode(`
      const base = ${JSON.stringify(studio.url)};
      const post = (path, body, headers = {}) => fetch(base + path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
      const result = await (await post("/studio/isPrime", { n: 13 })).json();
      const fault = await (await post("/studio/isPrime", {})).json();
      const abort = new AbortController();
      const first = await fetch(base + "/studio/countdown", { method: "POST", signal: abort.signal, body: '{"from":5,"intervalMs":20}', headers: { "content-type": "application/json", accept: "text/event-stream" } });
      let text = "";
      try {
        for await (const chunk of first.body.pipeThrough(new TextDecoderStream())) {
          text += chunk;
          if (text.includes('"n":3}')) abort.abort();
        }
      } catch {}
      const blocks = text.split("\\n\\n").slice(0, -1).filter((block) => block.includes("event: item"));
      const last = /id: (\\S+)/.exec(blocks.at(-1))[1];
      const rest = await (await fetch(base + first.headers.get("location") + "/events", { headers: { accept: "text/event-stream", "last-event-id": last } })).text();
      const numbers = (blocks.join("\\n") + rest).matchAll(/data: \\{"n":(\\d)\\}/g);
      console.log(JSON.stringify({ result, code: fault.code ?? fault.title, numbers: [...numbers].map((each) => Number(each[1])) }));
    `);
    expect(output).toEqual({ result: { prime: true }, code: "invalid_argument", numbers: [5, 4, 3, 2, 1, 0] });
  }, 60_000);

  test("the built client: calls, streams, uploads, topics", async () => {
    const { buildClient } = await import("../../scripts/build-client.ts");
    const { file } = await buildClient(studio.folder);
    const output = await inNode(`
      const { createClient } = await import(${JSON.stringify(file)});
      const client = createClient(${JSON.stringify(studio.url)}, { transport: "sse" });
      const result = await client.studio.isPrime({ n: 17 });
      const items = [];
      for await (const { n } of client.studio.countdown({ from: 3, intervalMs: 1 })) items.push(n);
      async function* chunks() { yield { chunk: btoa("a") }; yield { chunk: btoa("b") }; }
      const { bytes } = await client.studio.digest(chunks());
      await client.topics.logins.publish({ user: "node", at: 3 });
      let user;
      for await (const { data } of client.topics.logins.subscribe({ after: "start" })) if ((user = data.user) === "node") break;
      client.close();
      console.log(JSON.stringify({ result, items, bytes, user }));
      process.exit(0);
    `);
    expect(output).toEqual({ result: { prime: true }, items: [3, 2, 1, 0], bytes: 2, user: "node" });
  }, 60_000);
});
