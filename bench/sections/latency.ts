/** How long an event takes from its publisher to a subscriber, by transport. */

import type { Peer } from "../../src/contract/index.ts";
import { ANONYMOUS } from "../../src/contract/index.ts";
import { createCore, memoryStore } from "../../src/server.ts";
import { type HttpMode, httpPeer } from "../../src/transports/http/client.ts";
import { memoryPeer } from "../../src/transports/memory/client.ts";
import { websocketPeer } from "../../src/transports/websocket/client.ts";
import type { Bench, Section } from "../lib/bench.ts";
import { quantile } from "../lib/stats.ts";
import type { Cell } from "../lib/table.ts";
import service from "../service.ts";

const MODES: readonly HttpMode[] = ["sse", "ndjson", "long-poll", "poll"];
/** What a poller waits between its requests. */
const POLL_MS = 1000;

export const latency: Section = {
  name: "latency",
  title: "From append to receipt, by transport",
  async run(bench) {
    const { url } = await bench.servers.backtalk();
    const local = createCore(service, { store: memoryStore() });
    await local.start();
    const sockets = websocketPeer({ url });
    const rows: Cell[][] = [];
    try {
      rows.push(row("memory", await times(bench, memoryPeer(local), "memory")));
      rows.push(row("websocket", await times(bench, sockets, "websocket")));
      for (const mode of MODES)
        rows.push(row(mode, await times(bench, httpPeer({ url, mode, pollMs: POLL_MS }), mode)));
    } finally {
      sockets.close();
      await local.close();
    }
    return {
      tables: [{ columns: ["ms", "p50", "p99", "least", "samples"], rows }],
      notes: [
        "from the call of publish to the event in the subscriber's hand, both in one process, through the client's own " +
          "transports; one event at a time, so it includes the way there and, besides for memory, one fsync",
        `poll asks again after ${POLL_MS} ms, and less often when nothing is new`,
      ],
    };
  },
};

/** One event after the other, each when the one before has arrived, at no fixed distance. */
async function times(bench: Bench, peer: Peer, name: string): Promise<number[]> {
  bench.say(`latency over ${name}`);
  const isPoll = name === "poll";
  const wanted = (isPoll ? 10 : 500) * (bench.quick ? 1 : 4);
  const stop = new AbortController();
  const call = { to: "topics/feed", principal: ANONYMOUS, via: name };
  const [reading, writing] = [await peer(call), await peer(call)];
  const pages = reading.read({ from: "now", follow: true, signal: stop.signal });
  const samples: number[] = [];
  const publish = (): void => {
    const pauseMs = Math.random() * (isPoll ? POLL_MS : 4);
    setTimeout(() => void writing.append({ items: [{ text: "", at: performance.now() }] }), pauseMs);
  };
  for await (const { verdict, events } of pages) {
    const now = performance.now();
    for (const { json } of events) samples.push(now - (JSON.parse(json) as { at: number }).at);
    if (samples.length >= wanted) break;
    if (verdict || events.length > 0) publish();
  }
  stop.abort();
  return samples;
}

function row(name: string, samples: readonly number[]): Cell[] {
  return [name, quantile(samples, 0.5), quantile(samples, 0.99), Math.min(...samples), samples.length];
}
