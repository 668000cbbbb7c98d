/**
 * One way to talk to a server, from the client's side: a call after the other, many at once, a long stream.
 * Where it is alone in a network namespace the kernel's counters of loopback say how many bytes a call takes,
 * with all headers and acknowledgements. Takes its orders as JSON, and prints its figures as JSON.
 */
import { readFileSync } from "node:fs";
import { peerOf, type Via } from "../../cli/connect.ts";
import { ANONYMOUS, type Peer } from "../../src/contract/index.ts";
import { quantile } from "../lib/stats.ts";

export interface WaysOrder {
  /** How the server is started; it prints a line of JSON when it is up. */
  readonly server: readonly string[];
  readonly way: string;
  /** Milliseconds of each part. */
  readonly ms: number;
  readonly items: number;
}

export interface WaysFigures {
  /** Calls a second, one after the other and 32 at once. */
  readonly one: number;
  readonly many: number;
  /** Of those one after the other, in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly bytes: number | undefined;
  /** Items a second of one stream, and bytes for each. */
  readonly items: number | undefined;
  readonly itemBytes: number | undefined;
}

const AT_ONCE = 32;
const COUNTED = 200;

/** What can be done over it: a unary call, and a stream that is read to its end. */
export interface Caller {
  unary(): Promise<unknown>;
  /** Resolves with how many items came; undefined where it has no streams. */
  stream?(items: number): Promise<number>;
  close(): void;
}

async function figures({ way, ms, items, server }: WaysOrder): Promise<WaysFigures> {
  const child = Bun.spawn([...server], { stdin: "pipe", stdout: "pipe", stderr: "ignore" });
  try {
    const caller = await callerOf(way, JSON.parse(await firstLine(child.stdout)) as Up);
    await caller.unary();
    const end = performance.now() + ms / 2;
    while (performance.now() < end) await caller.unary();
    const times: number[] = [];
    for (const until = performance.now() + ms; performance.now() < until; ) {
      const from = performance.now();
      await caller.unary();
      times.push(performance.now() - from);
    }
    const bytes = await counted(COUNTED, async () => {
      for (let n = 0; n < COUNTED; n++) await caller.unary();
    });
    const many = await atOnce(caller, ms);
    let itemsPerSecond: number | undefined;
    let itemBytes: number | undefined;
    if (caller.stream) {
      await caller.stream(items);
      const from = performance.now();
      itemBytes = await counted(items, async () => {
        const came = await caller.stream!(items);
        if (came !== items) throw new Error(`${came} of ${items} items came over ${way}`);
      });
      itemsPerSecond = (items * 1_000) / (performance.now() - from);
    }
    caller.close();
    const total = times.reduce((sum, time) => sum + time, 0);
    return {
      one: (times.length * 1_000) / total,
      many,
      p50: quantile(times, 0.5),
      p99: quantile(times, 0.99),
      bytes,
      items: itemsPerSecond,
      itemBytes,
    };
  } finally {
    child.kill("SIGKILL");
  }
}

async function atOnce(caller: Caller, ms: number): Promise<number> {
  const from = performance.now();
  const until = from + ms;
  let calls = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (performance.now() < until) {
        await caller.unary();
        calls++;
      }
    }),
  );
  return (calls * 1_000) / (performance.now() - from);
}

/** Bytes on loopback for each, where nobody else is on it. */
async function counted(count: number, run: () => Promise<void>): Promise<number | undefined> {
  const before = loopbackBytes();
  await run();
  if (process.env["BENCH_ALONE"] !== "1") return undefined;
  // What is acknowledged late belongs to it.
  await Bun.sleep(60);
  return (loopbackBytes() - before) / count;
}

function loopbackBytes(): number {
  const line = readFileSync("/proc/net/dev", "utf8")
    .split("\n")
    .find((each) => each.trim().startsWith("lo:"));
  return Number(line?.split(":")[1]?.trim().split(/\s+/)[0] ?? 0);
}

interface Up {
  readonly port?: number;
  readonly listeners?: readonly { readonly url: string }[];
  readonly addresses?: readonly { readonly via: string; readonly url: string }[];
}

async function callerOf(way: string, up: Up): Promise<Caller> {
  if (way.startsWith("peer ")) return (await import("./grpc-peers.ts")).peerCaller(way.slice(5), up.port!);
  const via = way as Via;
  const isTls = way === "http2" || way === "http3";
  const listener = up.listeners!.find(({ url }) => url.startsWith(isTls ? "https:" : "http:"))!.url;
  const url = up.addresses!.find((each) => each.via === via)?.url ?? listener;
  const { peer, close } = peerOf(url, { via, trust: { tls: () => ({ rejectUnauthorized: false }), notes: [] } });
  return { ...ofPeer(peer, way !== "udp"), close };
}

function ofPeer(peer: Peer, hasStreams: boolean): Omit<Caller, "close"> {
  const call = (to: string, input: unknown) => peer({ to, input, principal: ANONYMOUS, via: "bench" });
  return {
    async unary() {
      return await (await call("bench/isPrime", { n: 97 })).result();
    },
    ...(hasStreams && {
      async stream(items: number) {
        const exchange = await call("bench/count", { to: items });
        let came = 0;
        for await (const page of exchange.read({ from: "start", follow: true })) {
          for (const { kind } of page.events) if (kind === "item") came++;
        }
        return came;
      },
    }),
  };
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    if (text.includes("\n")) return text.slice(0, text.indexOf("\n"));
  }
  throw new Error("the server did not come up");
}

if (import.meta.main) {
  console.log(JSON.stringify(await figures(JSON.parse(process.argv[2]!) as WaysOrder)));
  process.exit(0);
}
