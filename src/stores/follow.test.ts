/** What the shared following does that no store shows: counts, shared pages, late notices. */
import { expect, test } from "bun:test";
import { nextPage, range, turn } from "../../suites/store/case.ts";
import { type Cursor, encodeCursor, type LogEvent, type Page, type ReadAt } from "../log/index.ts";
import { Followers } from "./follow.ts";
import { judge } from "./judge.ts";

/** A log whose commits can be told of later than they can be read, as from another thread. */
class LateLog {
  readonly events: LogEvent[] = [];
  reads = 0;
  readonly followers = new Followers((_, at) => this.#read(at));

  append(count: number): () => void {
    const before = at(this.events.length);
    const events = range(1, count).map((n): LogEvent => {
      return { cursor: at(this.events.length + n), kind: "item", json: String(this.events.length + n), at: 0 };
    });
    this.events.push(...events);
    return () =>
      this.followers.committed("a", before, { events, cursor: events.at(-1)!.cursor, more: false, ended: false });
  }

  follow(from: ReadAt["from"], limits: Partial<ReadAt> = {}): AsyncIterator<Page> {
    return this.followers.read("a", { from, follow: true, ...limits })[Symbol.asyncIterator]();
  }

  #read({ from, pageEvents = 300 }: ReadAt): Page {
    this.reads++;
    const verdict = judge(from, "test", 0, this.events.length);
    const begin = Number.parseInt(verdict.to.slice(6), 36);
    const events = this.events.slice(begin, begin + pageEvents);
    const end = begin + events.length;
    return { verdict, events, cursor: at(end), more: end < this.events.length, ended: false };
  }
}

function at(seq: number): Cursor {
  return encodeCursor("test", seq);
}

test("a notice of events that were read already gives nothing twice and costs no read", async () => {
  const log = new LateLog();
  const reading = log.follow("start");
  await nextPage(reading);
  const tell = log.append(2);
  const other = log.follow(at(1));
  expect((await nextPage(other)).events.map((event) => event.json)).toEqual(["2"]);
  const first = nextPage(reading);
  const waiting = nextPage(other);
  const reads = log.reads;
  tell();
  expect((await first).events).toHaveLength(2);
  log.append(1)();
  expect((await waiting).events.map((event) => event.json)).toEqual(["3"]);
  expect((await nextPage(reading)).events.map((event) => event.json)).toEqual(["3"]);
  expect(log.reads - reads).toBe(1);
});

test("notices by seed, late and in groups, against readers of every pace", async () => {
  const { bySeed } = await import("../../suites/store/case.ts");
  await bySeed(30, async ({ pick }) => {
    const log = new LateLog();
    const late: (() => void)[] = [];
    const total = 200;
    const got = range(1, 6).map(async (size) => {
      const reading = log.follow("start", { pageEvents: size });
      const texts: string[] = [];
      while (texts.length < total) {
        texts.push(...(await nextPage(reading)).events.map((event) => event.json));
        if (pick(3) === 0) await turn();
      }
      await reading.return?.();
      return texts;
    });
    while (log.events.length < total) {
      late.push(log.append(Math.min(1 + pick(5), total - log.events.length)));
      if (pick(2) === 0) await turn();
      while (late.length > 0 && pick(3) > 0) late.shift()!();
    }
    for (const tell of late) tell();
    for (const texts of await Promise.all(got)) expect(texts).toEqual(range(1, total).map(String));
    expect(log.followers.size).toBe(0);
  });
});

test("1,000 readings that were left are forgotten; one commit to many is one page, without a read", async () => {
  const log = new LateLog();
  log.append(1)();
  for (const n of range(1, 1000)) {
    const abort = new AbortController();
    const reading = log.follow("start", { signal: abort.signal });
    await nextPage(reading);
    if (n % 2) abort.abort();
    else await reading.return?.();
  }
  expect(log.followers.size).toBe(0);
  const readings = range(1, 1000).map(() => log.follow("now"));
  await Promise.all(readings.map(nextPage));
  expect(log.followers.size).toBe(1000);
  const reads = log.reads;
  const pages = readings.map(nextPage);
  log.append(3)();
  expect(new Set(await Promise.all(pages)).size).toBe(1);
  expect(log.reads).toBe(reads);
});

test("many that resume at one place, or are woken together, share one read", async () => {
  const log = new LateLog();
  log.append(5)();
  const readings = range(1, 1000).map(() => log.follow("start", { pageEvents: 10 }));
  await Promise.all(readings.map(nextPage));
  expect(log.reads).toBe(1);
  const pages = readings.map(nextPage);
  log.append(20)();
  for (const page of await Promise.all(pages)) expect(page.events).toHaveLength(10);
  expect(log.reads).toBe(2);
});
