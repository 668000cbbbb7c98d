/** A client that is not ours: Python with pika calls, publishes and hears events. */
import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { shopServer } from "../../src/transports/amqp/testing.ts";
import { page } from "../transport/world.ts";
import { noBroker, startBroker } from "./broker.ts";

const PYTHON = join(import.meta.dir, "../../node_modules/.cache/pika/bin/python");

function noPika(): string | undefined {
  if (existsSync(PYTHON)) return undefined;
  const why = "pika is not installed in node_modules/.cache/pika (python3 -m venv, pip install pika)";
  if (process.env["CI"]) throw new Error(why);
  return why;
}

const why = noBroker() ?? noPika();
if (why) {
  console.error(`suites/broker: skipped: ${why}`);
  test.skip(`amqp from Python (${why})`, () => {});
} else {
  const broker = await startBroker();
  afterAll(() => broker.stop());

  test("Python with pika calls, publishes and hears events", async () => {
    const server = await shopServer(broker.url, { topics: ["notes"] });
    const child = Bun.spawn([PYTHON, join(import.meta.dir, "stranger.py"), broker.url, server.prefix], {
      env: { ...process.env, ...broker.mark },
      stdout: "pipe",
      stderr: "pipe",
    });
    const errors = new Response(child.stderr).text();
    const lines = linesOf(child.stdout);
    const first = (await lines.next()).value;
    if (first === undefined) throw new Error(await errors);
    expect(JSON.parse(first)).toEqual({
      direct: [["result", 42]],
      own: [["result", "own"]],
      named: [[["result", "named"]], [["result", "named"]]],
      stream: [
        ["item", 1],
        ["item", 2],
        ["item", 3],
        ["result", null],
      ],
      bad: [["fault", expect.objectContaining({ code: "invalid_argument" })]],
      keyed: [[["result", "keyed"]], [["result", "keyed"]]],
    });
    const topic = await server.open("topics/notes", undefined);
    const texts: string[] = [];
    for await (const { events } of topic.read({ from: "start", follow: true })) {
      texts.push(...events.map(({ json }) => (JSON.parse(json) as { text: string }).text));
      if (texts.length >= 3) break;
    }
    expect(texts).toEqual(["first", "talk", "talk"]);
    const { cursor } = await topic.append({ items: [{ text: "to all" }] });
    const second = (await lines.next()).value;
    if (second === undefined) throw new Error(await errors);
    expect(JSON.parse(second)).toEqual([{ id: cursor, type: "event", event: { text: "to all" } }]);
    expect(await child.exited).toBe(0);
    // Each call that has no key of its own, and the two with one key.
    const { events } = await page(topic);
    expect(events).toHaveLength(4);
    await server.stop();
  }, 60_000);
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    const parts = (text + decoder.decode(piece, { stream: true })).split("\n");
    text = parts.pop()!;
    yield* parts;
  }
}
