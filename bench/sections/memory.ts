/** What an idle subscriber costs in memory. */
import type { Bench, Section } from "../lib/bench.ts";
import { Missing } from "../lib/bench.ts";
import { memory } from "../lib/proc.ts";
import { Readers } from "../lib/readers.ts";
import type { Server } from "../lib/servers.ts";
import type { Aim, Cell } from "../lib/table.ts";
import type { Kind } from "../load/reader.ts";

const AIM = 8 * 1024;
const NAMES = {
  websocket: "Backtalk, WebSocket",
  sse: "Backtalk, SSE",
  "bare-websocket": "bare, WebSocket",
  "bare-sse": "bare, SSE",
} as const;

export const memoryOfSubscribers: Section = {
  name: "memory",
  title: "Memory of idle subscribers",
  async run(bench) {
    if (memory(process.pid) === undefined) throw new Missing("memory is read from /proc, which only Linux has");
    const count = bench.quick ? 2000 : 10_000;
    const rows: Cell[][] = [];
    const aims: Aim[] = [];
    for (const kind of ["websocket", "sse", "bare-websocket", "bare-sse"] as const) {
      const each = await perSubscriber(bench, kind, count);
      rows.push([NAMES[kind], count, each.bytes, each.totalMiB]);
      if (kind.startsWith("bare")) continue;
      const measured = `${Math.round(each.bytes).toLocaleString("en-US")} bytes`;
      aims.push({ what: `an idle subscriber, ${NAMES[kind]}`, measured, aim: "under 8 kB", met: each.bytes < AIM });
    }
    const columns = ["", "subscribers", "bytes each", "server RSS, MiB"];
    return {
      tables: [{ columns, rows }],
      aims,
      notes: [
        "growth of the server's RSS, each time after a garbage collection; the kernel's socket buffers are not in it",
      ],
    };
  },
};

async function perSubscriber(bench: Bench, kind: Kind, count: number): Promise<{ bytes: number; totalMiB: number }> {
  bench.say(`${count} idle subscribers: ${kind}`);
  const server = kind.startsWith("bare") ? await bench.servers.bare() : await bench.servers.backtalk();
  const readers = new Readers(kind);
  try {
    // What is compiled and allocated once is there before.
    await readers.open(server, 100);
    await readers.close();
    const before = await settled(server);
    await readers.open(server, count);
    const after = await settled(server);
    return { bytes: (after - before) / count, totalMiB: after / 2 ** 20 };
  } finally {
    await Promise.all([server.end(), readers.end()]);
  }
}

/** RSS after collections, until it does not fall any more. */
async function settled(server: Server): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 5; tries++) {
    await fetch(`${server.url}/bench/collect`, { method: "POST", body: "{}" });
    await Bun.sleep(300);
    least = Math.min(least, memory(server.pid)!.now);
  }
  return least;
}
