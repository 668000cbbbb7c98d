/**
 * Every pair of transports: a call is started over one, its connection is cut at a random place, and it is
 * read on over the other from the last cursor. What both received together is the log, event by event.
 * MATRIX_SEED=N runs only that seed.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ANONYMOUS, type Peer } from "../../src/contract/index.ts";
import { Fault, type LogEvent, type Place } from "../../src/log/index.ts";
import { type Core, createCore, memoryStore } from "../../src/server.ts";
import { toolsOf } from "../store/case.ts";
import { allLinks, type CutLink } from "./links.ts";
import { Control, suiteService } from "./service.ts";
import { open, read, tick, transcript } from "./world.ts";

const links = allLinks();
const only = process.env["MATRIX_SEED"];
const seeds = only === undefined ? [1, 2, 3] : [Number(only)];

let core: Core;
const control = new Control();

beforeAll(async () => {
  core = createCore(suiteService(control), { store: memoryStore() });
  await core.start();
  for (const link of Object.values(links)) await link.serve(core);
});

afterAll(async () => {
  await core.close();
  for (const link of Object.values(links)) await link.stop();
});

/** By transport that broke: what was never cut proves nothing. */
const breaks = new Map<CutLink, number>();

describe("from each transport to each", () => {
  let count = 0;
  for (const [first, from] of Object.entries(links)) {
    for (const [second, to] of Object.entries(links)) {
      const runs = seeds.map((seed) => ({ seed, number: ++count }));
      test(`${first} to ${second}`, async () => {
        for (const { seed, number } of runs) await attempt(seed, number, from, to);
      }, 60_000);
    }
  }
});

test("each transport was cut many times", () => {
  for (const [name, link] of Object.entries(links)) {
    expect({ name, isCut: (breaks.get(link) ?? 0) >= seeds.length * 3 }).toEqual({ name, isCut: true });
  }
});

async function attempt(seed: number, number: number, from: CutLink, to: CutLink): Promise<void> {
  try {
    await cutAndResume(seed * 1000 + number, `m${number}`, from, to);
  } catch (thrown) {
    throw new Error(`failed with MATRIX_SEED=${seed}: ${(thrown as Error).message}`, { cause: thrown });
  }
}

async function cutAndResume(seed: number, name: string, from: CutLink, to: CutLink): Promise<void> {
  const { pick } = toolsOf(seed);
  const source = control.source(name);
  const total = 60 + pick(100);
  const say = (count: number) => {
    for (let n = 0; n < count && source.values.length < total; n++) {
      source.push({ n: source.values.length, text: "äöü ".repeat(pick(20)) });
    }
    if (source.values.length === total) source.end();
  };
  const session = new Session(name);
  // Zero bytes, a part of the header, a part of an event, between events, after the end: all happen.
  const bytes = () => [pick(400), pick(4_000), pick(25_000)][pick(3)]!;
  say(pick(total));
  await session.read(from, await from.cutPeer(bytes()), () => say(1 + pick(40)));
  // A second and third break in one session, over either transport, sometimes before anything has come.
  for (let more = pick(3); more > 0; more--) {
    const link = pick(2) === 0 ? from : to;
    await session.read(link, await link.cutPeer(pick(4) === 0 ? pick(100) : bytes()), () => say(1 + pick(40)));
  }
  say(total);
  await session.read(to, to.peer());
  expect(session.isEnded).toBe(true);
  const log = await core.peer({ to: `calls/${session.id}`, principal: ANONYMOUS, via: "test" });
  expect(transcript(session.events)).toEqual(transcript((await read(log)).events));
  expect(session.events).toHaveLength(total + 2);
  expect(control.started(name)).toBe(1);
}

/** What a client keeps: the key of its call, its id, and the cursor of what it has received. */
class Session {
  readonly events: LogEvent[] = [];
  id: string | undefined;
  isEnded = false;
  #place: Place = "start";
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** Reads until the connection breaks or the log ends; `meanwhile` runs with each page. */
  async read(link: CutLink, peer: Peer, meanwhile: () => void = () => {}): Promise<void> {
    const busy = setInterval(meanwhile, 5);
    try {
      const byKey = { input: { source: this.#name }, key: this.#name };
      const exchange = await (this.id === undefined ? open(peer, "t/stream", byKey) : open(peer, `calls/${this.id}`));
      for await (const page of exchange.read({ from: this.#place, follow: true })) {
        if (page.verdict) expect(page.verdict.verdict).toBe("recovered");
        this.id ??= exchange.id;
        this.events.push(...page.events);
        this.#place = page.cursor;
        this.isEnded ||= page.ended;
        meanwhile();
      }
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.code !== "unavailable") throw thrown;
      expect(thrown.retryable).toBe(true);
      breaks.set(link, (breaks.get(link) ?? 0) + 1);
      await tick(0);
    } finally {
      clearInterval(busy);
    }
  }
}
