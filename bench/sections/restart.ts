/** The server is killed and comes back, and everybody resumes at once from where they were. */
import { join } from "node:path";
import type { Bench, Section } from "../lib/bench.ts";
import { memory } from "../lib/proc.ts";
import { Readers } from "../lib/readers.ts";
import type { Cell } from "../lib/table.ts";
import { MARK } from "../load/reader.ts";

const MISSED = 50;
const EVENT = JSON.stringify({ text: `${MARK}${"x".repeat(80)}`, at: 1_790_000_000_000 });

export const restart: Section = {
  name: "restart",
  title: "All readers resume after kill -9",
  async run(bench) {
    const count = bench.quick ? 1000 : 5000;
    const rows: Cell[][] = [];
    for (const kind of ["websocket", "sse"] as const) rows.push(await resume(bench, kind, count));
    return {
      tables: [
        { columns: ["", "readers", "server up, ms", "all verdicts, ms", "all events, ms", "RSS peak, MiB"], rows },
      ],
      notes: [
        `each reader comes back with its cursor at once (no backoff, all connections together) and missed ${MISSED} ` +
          "events; up: from its start until it listens; the other times begin when it listens",
      ],
    };
  },
};

async function resume(bench: Bench, kind: "websocket" | "sse", count: number): Promise<Cell[]> {
  bench.say(`${count} readers over ${kind}, kill -9, restart`);
  const store = join(bench.dir, `restart-${kind}.sqlite`);
  const readers = new Readers(kind);
  try {
    const first = await bench.servers.backtalk({ store });
    await readers.open(first, count);
    const { place } = await readers.sample();
    await readers.publish(first, EVENT, MISSED, false);
    await first.end("SIGKILL");
    await readers.close();
    const began = performance.now();
    const second = await bench.servers.backtalk({ store, port: first.port });
    const upMs = performance.now() - began;
    const { begunMs, eventsMs, verdicts } = await readers.open(second, count, {
      after: place,
      events: MISSED,
      atOnce: count,
    });
    if (verdicts["recovered"] !== count) throw new Error(`not all recovered: ${JSON.stringify(verdicts)}`);
    const peak = memory(second.pid)?.peak;
    await second.end();
    return [`Backtalk, ${kind}`, count, upMs, begunMs, eventsMs, peak && peak / 2 ** 20];
  } finally {
    await readers.end();
  }
}
