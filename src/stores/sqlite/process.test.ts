/** What holds when the process that serves the store is killed. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { bySeed, faultOf, readAll } from "../../../suites/store/case.ts";
import { decodeCursor } from "../../log/index.ts";
import { takeLock } from "./lock.ts";
import { sqliteStore } from "./store.ts";
import { makeFolder } from "./test-folder.ts";

const folder = makeFolder();

interface Acknowledged {
  readonly log: string;
  readonly cursor: string;
  readonly events: readonly string[];
}

test("kill -9: what was acknowledged is there once and in order, nothing is there in part, the epoch stays", async () => {
  await bySeed(2, async ({ pick }, seed) => {
    const path = join(folder, `kill-${seed}.db`);
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < 4; round++)
      acknowledged.push(...(await appendUntilKilled(path, round, 50 + pick(1500))));
    const store = await sqliteStore({ path });
    const { logs } = await store.list({ prefix: "log/", limit: 10 });
    const epochs = new Set<string>();
    for (const { log } of logs) {
      const { events } = await readAll(store, log);
      const texts = events.map((event) => event.json);
      expect(new Set(texts).size).toBe(texts.length);
      events.forEach((event, i) => {
        expect(decodeCursor(event.cursor).seq).toBe(i + 1);
      });
      for (const one of acknowledged) {
        if (one.log !== log) continue;
        const { epoch, seq } = decodeCursor(one.cursor);
        epochs.add(epoch);
        expect(texts.slice(seq - one.events.length, seq)).toEqual([...one.events]);
      }
      checkWhole(texts);
    }
    expect(epochs.size).toBe(logs.length);
    await store.close();
  });
}, 60_000);

test("one process serves a file: a second one is refused, until the first is killed", async () => {
  const path = join(folder, "lock.db");
  const child = start(path, 0);
  const lines = linesOf(child.stdout);
  await lines.next();
  const fault = await faultOf(sqliteStore({ path }), "failed_precondition");
  expect(fault.message).toBe(`another process serves this store: ${path} (pid ${child.pid})`);
  expect(fault.hint).toContain("--store sqlite:PATH");
  child.kill("SIGKILL");
  await child.exited;
  const store = await sqliteStore({ path });
  const own = await faultOf(sqliteStore({ path }), "failed_precondition");
  expect(own.message).toBe(`this process serves this store already: ${path} (pid ${process.pid})`);
  await store.close();
  // Somebody has the lock who has not come to the file yet, and the one who was there before has gone.
  const module = JSON.stringify(join(import.meta.dir, "store.ts"));
  const script = `import { sqliteStore } from ${module}; await (await sqliteStore({ path: ${JSON.stringify(path)} })).close()`;
  expect(await Bun.spawn([process.execPath, "-e", script], { stderr: "inherit" }).exited).toBe(0);
  const unlock = takeLock(path);
  const unknown = await faultOf(sqliteStore({ path }), "failed_precondition");
  expect(unknown.message).toBe(`another process serves this store: ${path}`);
  unlock();
  await (await sqliteStore({ path })).close();
}, 60_000);

test("a store that is open and idle does not keep the process alive; an append under way does", async () => {
  const script = `
    import { sqliteStore } from ${JSON.stringify(join(import.meta.dir, "store.ts"))};
    const store = await sqliteStore({ path: ${JSON.stringify(join(folder, "exit.db"))} });
    store.append("a", [{ kind: "item", json: "1" }], { create: {} }).then(() => console.log("appended"));`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  expect(await new Response(child.stdout).text()).toBe("appended\n");
  expect(await child.exited).toBe(0);
}, 60_000);

/** Lets a child append until it has acknowledged so many, and kills it. */
async function appendUntilKilled(path: string, round: number, count: number): Promise<Acknowledged[]> {
  const child = start(path, round);
  const got: Acknowledged[] = [];
  for await (const line of linesOf(child.stdout)) {
    const [log, cursor, events] = line.split(" ");
    if (log === "ready") continue;
    got.push({ log: log!, cursor: cursor!, events: JSON.parse(events!) });
    // Goes on to read what it said before it died.
    if (got.length === count) child.kill("SIGKILL");
  }
  await child.exited;
  expect(got.length).toBeGreaterThanOrEqual(count);
  return got;
}

/** An append is there with all of its events, one after another, or not at all. */
function checkWhole(texts: readonly string[]): void {
  for (let at = 0; at < texts.length; ) {
    const [round, n, i] = JSON.parse(texts[at]!);
    const size = 1 + (i % 3);
    expect(texts.slice(at, at + size)).toEqual(
      Array.from({ length: size }, (_, part) => JSON.stringify([round, n, i, part])),
    );
    at += size;
  }
}

function start(path: string, round: number): Bun.Subprocess<"ignore", "pipe", "inherit"> {
  const script = join(import.meta.dir, "child.fixture.ts");
  return Bun.spawn([process.execPath, script, path, String(round)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
}

/** Whole lines only: a killed process may leave a half one. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
