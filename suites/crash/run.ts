/**
 * Hundreds of calls and a topic over all transports, and a server that is killed at random moments. Then it
 * is looked whether every acknowledged event is there, once, in order, and the same for everybody.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LogEvent } from "../../src/log/index.ts";
import { makeCertificate } from "../../src/net/certificate.ts";
import { httpPeer } from "../../src/transports/http/client.ts";
import { connectPeer, grpcWebPeer } from "../../src/transports/rpc/client.ts";
import { grpcPeer } from "../../src/transports/rpc/client-grpc.ts";
import { tcpPeer } from "../../src/transports/tcp/client.ts";
import { websocketPeer } from "../../src/transports/websocket/client.ts";
import { toolsOf } from "../store/case.ts";
import {
  follow,
  publishNotes,
  type Received,
  type Surroundings,
  subscribe,
  type Transport,
  upload,
} from "./clients.ts";
import { type ServerProcess, startServer } from "./process.ts";
import type { ServerArgs } from "./server.ts";

export interface CrashOptions {
  readonly seed: number;
  /** For how long the server is killed again and again, at least. */
  readonly seconds: number;
  /** And until there were so many: how long that takes is the machine's. */
  readonly least?: Partial<Pick<CrashReport, "kills" | "calls" | "breaks">>;
  /** Calls at once; each that has ended makes room for another. */
  readonly calls: number;
  /** Shortest and longest life of a server process, in milliseconds. */
  readonly lifeMs: readonly [number, number];
}

export interface CrashReport {
  readonly kills: number;
  readonly calls: number;
  readonly breaks: number;
  readonly events: number;
  readonly published: number;
}

/** @throws Error that says what was lost, doubled, out of order, or told differently */
export async function runCrash(options: CrashOptions): Promise<CrashReport> {
  const { random, pick } = toolsOf(options.seed);
  const folder = mkdtempSync(join(tmpdir(), "backtalk-crash-"));
  const certificate = makeCertificate(["localhost"], Date.now());
  const args: ServerArgs = {
    service: fileURLToPath(new URL("service.ts", import.meta.url)),
    store: join(folder, "crash.sqlite"),
    port: 0,
    tlsPort: 0,
    certificate,
    // Short silences, so that a dead server is noticed where nothing else tells (QUIC).
    timing: { commentMs: 300, heartbeatMs: 300, graceMs: 2_000, retryMs: 50, spreadMs: 200 },
  };
  let server = await startServer(args);
  const { port, tlsPort, tcpPort, grpcPort } = server;
  const ports = { port, tlsPort, tcpPort, grpcPort };
  const transports = transportsAt(ports);
  let isClosing = false;
  let killing: Promise<void> | undefined;
  const world: Surroundings = {
    random,
    next: () => transports[pick(transports.length)]!,
    closing: () => isClosing,
    counts: { breaks: 0, events: 0 },
  };
  try {
    let kills = 0;
    let made = 0;
    const until = performance.now() + options.seconds * 1000;
    const { kills: leastKills = 0, calls: leastCalls = 0, breaks: leastBreaks = 0 } = options.least ?? {};
    const isEnough = () => kills >= leastKills && made >= leastCalls && world.counts.breaks >= leastBreaks;
    killing = (async () => {
      while (!isClosing && (performance.now() < until || !isEnough())) {
        const [least, most] = options.lifeMs;
        await new Promise((resolve) => setTimeout(resolve, least + random() * (most - least)));
        await server.kill();
        kills++;
        server = await startServer({ ...args, ...ports });
      }
      isClosing = true;
    })();
    const received: Received[] = [];
    const lane = async () => {
      while (!isClosing) await oneCall(world, made++, options.seed, received);
    };
    const writers = ["a", "b", "c"].map(async (name) => ({ name, acknowledged: await publishNotes(world, name) }));
    const written = Promise.all(writers);
    // How many events the topic has is known when its writers have ended; then its readers end too.
    let expected = Number.POSITIVE_INFINITY;
    const readers = Promise.all(
      Array.from({ length: 6 }, () => subscribe(world, (events) => events.length >= expected)),
    );
    const lanes = Array.from({ length: options.calls }, lane);
    await Promise.race([Promise.all([killing, written, ...lanes]), readers]);
    await checkCalls(received, transports);
    const log = await checkTopic(await written, transports);
    expected = log.length;
    for (const events of await readers) same(log, events, "the topic");
    const published = log.length;
    return { kills, calls: made, ...world.counts, published };
  } finally {
    isClosing = true;
    // It may be starting another one.
    await killing?.catch(() => {});
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function oneCall(world: Surroundings, number: number, seed: number, received: Received[]): Promise<void> {
  const key = `${seed}-${number}`;
  const input = { to: 1 + Math.floor(world.random() * 60), everyMs: Math.floor(world.random() * 40) };
  const kind = ["count", "job", "once", "sum", "count"][number % 5]!;
  if (kind !== "sum") {
    received.push(await follow(world, `crash/${kind}`, input, key));
    checkSaid(received.at(-1)!, input.to);
    return;
  }
  const result = await upload(world, input.to, key);
  const expected = { sum: (input.to * (input.to - 1)) / 2, items: input.to };
  if (JSON.stringify(result) !== JSON.stringify(expected)) {
    throw new Error(`an upload of ${input.to} items gave ${JSON.stringify(result)}`);
  }
}

/** What a call said is what it has to say: each number once, in order, and one end. */
function checkSaid({ to, events, id }: Received, total: number): void {
  const kinds = events.map(({ kind }) => kind);
  const told = events.filter(({ kind }) => kind === "item" || kind === "progress").map(numberOf);
  const end = events.at(-1)!;
  const fail = (why: string) => new Error(`${to} ${id}: ${why}\n${JSON.stringify(events, undefined, 1)}`);
  if (kinds[0] !== "open") throw fail("it does not begin with open");
  if (kinds.filter((kind) => kind === "end" || kind === "fail").length !== 1) throw fail("it has not one end");
  if (told.some((n, i) => n !== i)) throw fail("items are missing, doubled or out of order");
  if (end.kind === "end" && told.length !== total) throw fail(`it ended with ${told.length} of ${total}`);
  if (end.kind === "fail") {
    if (to !== "crash/once") throw fail("it may not fail");
    if ((JSON.parse(end.json) as { code: string }).code !== "unavailable") throw fail("it failed for another reason");
  }
  if (events.some((event, i) => i > 0 && event.cursor <= events[i - 1]!.cursor)) throw fail("cursors do not ascend");
}

function numberOf({ json }: LogEvent): number {
  return (JSON.parse(json) as { n: number }).n;
}

/** The log says afterwards what was received while it was made. */
async function checkCalls(received: readonly Received[], transports: readonly Transport[]): Promise<void> {
  const peer = transports[0]!.peer();
  const check = async ({ id, events, to }: Received): Promise<void> => {
    const log: LogEvent[] = [];
    const exchange = await peer({ to: `calls/${id}`, principal: { id: "" }, via: "crash" });
    for await (const page of exchange.read({ from: "start", follow: true })) log.push(...page.events);
    same(log, events, `${to} ${id}`);
  };
  for (let n = 0; n < received.length; n += 32) await Promise.all(received.slice(n, n + 32).map(check));
}

async function checkTopic(
  written: readonly { name: string; acknowledged: ReadonlyMap<number, string> }[],
  transports: readonly Transport[],
): Promise<LogEvent[]> {
  const peer = transports[0]!.peer();
  const topic = await peer({ to: "topics/notes", principal: { id: "" }, via: "crash" });
  const log: LogEvent[] = [];
  for (let from: LogEvent["cursor"] | "start" = "start", more = true; more; ) {
    for await (const page of topic.read({ from, follow: false })) {
      log.push(...page.events);
      from = page.cursor;
      more = page.more;
    }
  }
  for (const { name, acknowledged } of written) {
    const own = log.filter(({ json }) => (JSON.parse(json) as { writer: string }).writer === name);
    if (own.some((event, i) => numberOf(event) !== i)) throw new Error(`notes of ${name} are doubled or out of order`);
    for (const [n, cursor] of acknowledged) {
      if (own[n]?.cursor !== cursor)
        throw new Error(`note ${n} of ${name}: acknowledged ${cursor}, is ${own[n]?.cursor}`);
    }
  }
  return log;
}

function same(log: readonly LogEvent[], received: readonly LogEvent[], what: string): void {
  const line = (event: LogEvent | undefined) =>
    event && `${event.cursor} ${event.kind} ${JSON.stringify(JSON.parse(event.json))}`;
  for (let i = 0; i < Math.max(log.length, received.length); i++) {
    if (line(log[i]) === line(received[i])) continue;
    throw new Error(`${what}, event ${i}: the log has ${line(log[i])}, received was ${line(received[i])}`);
  }
}

type Ports = Pick<ServerProcess, "port" | "tlsPort" | "tcpPort" | "grpcPort">;

function transportsAt({ port, tlsPort, tcpPort, grpcPort }: Ports): Transport[] {
  const plain = `http://127.0.0.1:${port}`;
  const waits = { pollMs: 30, waitMs: 1_000, silenceMs: 1_500, openMs: 1_000, answerMs: 1_500 };
  const https = { url: `https://127.0.0.1:${tlsPort}`, tls: { rejectUnauthorized: false }, ...waits };
  const http1 = (["sse", "ndjson", "long-poll", "poll"] as const).map((mode) => ({
    name: `http1.1 ${mode}`,
    peer: () => httpPeer({ url: plain, mode, ...waits }),
  }));
  const transports: readonly Transport[] = [
    ...http1,
    { name: "http2 sse", peer: () => httpPeer({ ...https, mode: "sse", protocol: "http2" }) },
    { name: "http3 sse", peer: () => httpPeer({ ...https, mode: "sse", protocol: "http3" }) },
    { name: "http3 long-poll", peer: () => httpPeer({ ...https, mode: "long-poll", protocol: "http3" }) },
    { name: "websocket", peer: () => websocketPeer({ url: plain, silenceMs: 2_000 }) },
    { name: "grpc", peer: () => grpcPeer({ url: `http://127.0.0.1:${grpcPort}` }) },
    { name: "grpc-web", peer: () => grpcWebPeer({ url: plain }) },
    { name: "connect", peer: () => connectPeer({ url: plain }) },
    { name: "tcp", peer: () => tcpPeer({ url: `tcp://127.0.0.1:${tcpPort}`, silenceMs: 2_000 }) },
  ];
  // A client keeps its connections: eight of each are enough for everybody.
  return transports.map(({ name, peer }) => {
    const peers = Array.from({ length: 8 }, peer);
    let turn = 0;
    return { name, peer: () => peers[turn++ % peers.length]! };
  });
}
