/** Clients that want all they were promised, through any number of crashes, and remember what they were told. */
import { ANONYMOUS, type CallState, type Exchange, type Peer } from "../../src/contract/index.ts";
import { type Cursor, Fault, type LogEvent, type Place } from "../../src/log/index.ts";

export interface Transport {
  readonly name: string;
  peer(): Peer;
}

/** What a client needs of the world. */
export interface Surroundings {
  readonly random: () => number;
  /** Over which transport the next try goes. */
  next(): Transport;
  /** When it is time to end what goes on without an end. */
  readonly closing: () => boolean;
  readonly counts: { breaks: number; events: number };
}

/** A call that is followed to its end. */
export async function follow(world: Surroundings, to: string, input: unknown, key: string): Promise<Received> {
  const received: Received = { id: undefined, events: [], to };
  let place: Place = "start";
  await insist(world, async (peer) => {
    const exchange: Exchange =
      received.id === undefined ? await open(peer, to, { input, key }) : await open(peer, `calls/${received.id}`);
    for await (const page of exchange.read({ from: place, follow: true })) {
      if (page.verdict && page.verdict.verdict !== "recovered") {
        throw new Error(`${to}: ${page.verdict.verdict} for ${page.verdict.from}, and nothing was trimmed`);
      }
      received.id ??= exchange.id;
      received.events.push(...page.events);
      world.counts.events += page.events.length;
      place = page.cursor;
      if (page.ended) return true;
    }
    return false;
  });
  return received;
}

export interface Received {
  id: string | undefined;
  readonly to: string;
  readonly events: LogEvent[];
}

/** Publishes until it is time to end; what was acknowledged comes back with its cursor. */
export async function publishNotes(world: Surroundings, writer: string): Promise<Map<number, Cursor>> {
  const acknowledged = new Map<number, Cursor>();
  for (let n = 0; !world.closing(); n++) {
    await insist(world, async (peer) => {
      const topic = await open(peer, "topics/notes");
      const { cursor } = await topic.append({ items: [{ writer, n }], key: `${writer}-${n}` });
      acknowledged.set(n, cursor);
      return true;
    });
    await wait(world.random() * 30);
  }
  return acknowledged;
}

/** Reads the topic from its start until it has seen `isEnough`. */
export async function subscribe(
  world: Surroundings,
  isEnough: (events: readonly LogEvent[]) => boolean,
): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  let place: Place = "start";
  await insist(world, async (peer) => {
    const enough = new AbortController();
    const timer = setInterval(() => isEnough(events) && enough.abort(), 20);
    try {
      const topic = await open(peer, "topics/notes");
      for await (const page of topic.read({ from: place, follow: true, signal: enough.signal })) {
        if (page.verdict && page.verdict.verdict !== "recovered") {
          throw new Error(`the topic: ${page.verdict.verdict} for ${page.verdict.from}, and nothing was trimmed`);
        }
        events.push(...page.events);
        world.counts.events += page.events.length;
        place = page.cursor;
        if (isEnough(events)) return true;
      }
      return enough.signal.aborted;
    } finally {
      clearInterval(timer);
    }
  });
  return events;
}

/** Sends the numbers from 0 to below `total`, in batches, and gives the result. */
export async function upload(world: Surroundings, total: number, key: string): Promise<unknown> {
  let result: unknown;
  let acknowledged = 0;
  await insist(world, async (peer) => {
    const exchange = await open(peer, "crash/sum", { key, keep: true });
    const { received } = (await exchange.state()) as CallState;
    let next = received?.items ?? 0;
    if (next < acknowledged) throw new Error(`${acknowledged} items were acknowledged, and ${next} are there`);
    while (next < total && !received?.ended) {
      const size = Math.min(total - next, 1 + Math.floor(world.random() * 20));
      // Now and then what has arrived is sent again.
      const seq = Math.max(0, next - Math.floor(world.random() * 3));
      const numbers = Array.from({ length: next + size - seq }, (_, i) => seq + i);
      ({ next } = await exchange.append({ items: numbers, seq }));
      acknowledged = Math.max(acknowledged, next);
      await wait(world.random() * 40);
    }
    if (!received?.ended) await exchange.append({ items: [], seq: total, end: true });
    result = await exchange.result();
    return true;
  });
  return result;
}

/** Again and again, over one transport after the other, until it is done. */
async function insist(world: Surroundings, attempt: (peer: Peer) => Promise<boolean>): Promise<void> {
  for (;;) {
    try {
      if (await attempt(world.next().peer())) return;
    } catch (thrown) {
      if (!(thrown instanceof Fault) || !thrown.retryable) throw thrown;
      world.counts.breaks++;
    }
    await wait(20 + world.random() * 180);
  }
}

function open(peer: Peer, to: string, rest: { input?: unknown; key?: string; keep?: boolean } = {}): Promise<Exchange> {
  return Promise.resolve(peer({ to, principal: ANONYMOUS, via: "crash", ...rest }));
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
