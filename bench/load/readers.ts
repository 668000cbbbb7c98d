/**
 * Thousands of subscribers in a process of their own, and the publisher too, so that one clock measures. Told
 * what to do by lines of JSON on stdin, answers each by one on stdout, and ends with stdin.
 */
import { type Kind, Reader, type Tally } from "./reader.ts";

/** At once, in a burst. */
const PUBLISHERS = 16;

interface Open {
  readonly do: "open";
  readonly kind: Kind;
  readonly port: number;
  readonly count: number;
  readonly after?: string;
  /** How many connections are opened at once. */
  readonly atOnce: number;
  /** Events that each reader has to get besides, before all is there. */
  readonly events?: number;
}

interface Publish {
  readonly do: "publish";
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly count: number;
  /** Waits until everybody has one event before the next is published. */
  readonly isOneByOne: boolean;
}

export type Order = Open | Publish | { readonly do: "sample" } | { readonly do: "close" };

export interface Opened {
  /** Until the last verdict, and until the last event, in ms. */
  readonly begunMs: number;
  readonly eventsMs: number;
  readonly verdicts: Record<string, number>;
}

export interface Published {
  /** From the first publish to the last receipt. */
  readonly ms: number;
  readonly deliveries: number;
  /** From one publish to its last receipt, when one by one. */
  readonly each: readonly number[];
}

let readers: Reader[] = [];
let check = () => {};
const tally: Tally = { events: 0, begun: 0, verdicts: {}, failed: 0, changed: () => check() };

function until(isTrue: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    check = () => {
      if (tally.failed > 0) reject(new Error(`${tally.failed} readers were cut off`));
      else if (isTrue()) resolve();
    };
    check();
  });
}

async function open({ kind, port, count, after, atOnce, events = 0 }: Open): Promise<Opened> {
  const began = performance.now();
  const wanted = { kind, port, ...(after !== undefined && { after }) };
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const number = next++;
      const reader = new Reader(tally, wanted);
      reader.keep = number === 0;
      readers.push(reader);
      await connected(reader);
      // Keeps the number of handshakes under way bounded.
      if (atOnce < count) await looking(() => tally.begun > number - atOnce);
    }
  };
  const connecting = Promise.all(Array.from({ length: Math.min(atOnce, count) }, one));
  await Promise.all([connecting, until(() => tally.begun >= count)]);
  const begunMs = performance.now() - began;
  await until(() => tally.events >= count * events);
  return { begunMs, eventsMs: performance.now() - began, verdicts: { ...tally.verdicts } };
}

/** A server that is just coming up refuses at first. */
async function connected(reader: Reader): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await reader.open();
    } catch (thrown) {
      if (tries === 500) throw thrown;
      await Bun.sleep(20);
    }
  }
}

/** `until` has one waiter; this one looks from time to time. */
async function looking(isTrue: () => boolean): Promise<void> {
  while (!isTrue() && tally.failed === 0) await Bun.sleep(1);
}

async function publish({ port, path, body, count, isOneByOne }: Publish): Promise<Published> {
  const posters = await Promise.all(
    Array.from({ length: isOneByOne ? 1 : PUBLISHERS }, () => poster(port, path, body)),
  );
  const before = tally.events;
  const began = performance.now();
  const each: number[] = [];
  if (isOneByOne) {
    for (let i = 1; i <= count; i++) {
      const at = performance.now();
      await Promise.all([posters[0]!.post(), until(() => tally.events >= before + i * readers.length)]);
      each.push(performance.now() - at);
    }
  } else {
    let left = count;
    const post = async (one: Poster): Promise<void> => {
      while (left-- > 0) await one.post();
    };
    await Promise.all([...posters.map(post), until(() => tally.events >= before + count * readers.length)]);
  }
  const ms = performance.now() - began;
  for (const one of posters) one.close();
  return { ms, deliveries: tally.events - before, each };
}

interface Poster {
  post(): Promise<void>;
  close(): void;
}

/** One connection of HTTP/1.1, kept alive. */
async function poster(port: number, path: string, body: string): Promise<Poster> {
  const length = Buffer.byteLength(body);
  const text = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
  let answered = (_status: string) => {};
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      // Answers are short: they come in one piece.
      data: (_, bytes) => answered(bytes.toString("latin1", 9, 12)),
    },
  });
  return {
    post: () =>
      new Promise((resolve, reject) => {
        answered = (status) =>
          status.startsWith("2") ? resolve() : reject(new Error(`publish was answered ${status}`));
        socket.write(text);
      }),
    close: () => socket.terminate(),
  };
}

function close(): object {
  for (const reader of readers) reader.close();
  readers = [];
  Object.assign(tally, { events: 0, begun: 0, verdicts: {}, failed: 0 });
  return {};
}

async function obey(order: Order): Promise<object> {
  if (order.do === "open") return open(order);
  if (order.do === "publish") return publish(order);
  if (order.do === "sample") return { sample: readers[0]?.sample ?? "", place: readers[0]?.place ?? "" };
  return close();
}

for await (const line of console) {
  try {
    console.log(JSON.stringify(await obey(JSON.parse(line))));
  } catch (thrown) {
    console.log(JSON.stringify({ error: String(thrown) }));
  }
}
process.exit();
