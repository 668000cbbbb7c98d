/** One event to thousands of subscribers, beside `server.publish` with the same bytes and beside Socket.IO. */
import { type Bench, Missing, type Section } from "../lib/bench.ts";
import { cpuUs } from "../lib/proc.ts";
import { Readers } from "../lib/readers.ts";
import { type Costed, cpu, interleaved, rate, ratioAim, ratioOfCpu, ratioOfRates } from "../lib/rounds.ts";
import type { Server } from "../lib/servers.ts";
import { median } from "../lib/stats.ts";
import type { Aim, Cell, Table } from "../lib/table.ts";
import { type Kind, MARK } from "../load/reader.ts";

const AIM = 0.8;
/** Of each burst, so that it takes about a second. */
const DELIVERIES = 200_000;
const EVENT = JSON.stringify({ text: `${MARK}${"x".repeat(80)}`, at: 1_790_000_000_000 });
const NAMES: Readonly<Record<Kind, string>> = {
  "bare-websocket": "bare server.publish",
  websocket: "Backtalk, WebSocket",
  "bare-sse": "bare SSE, in a loop",
  sse: "Backtalk, SSE",
  socketio: "Socket.IO (Node)",
};

interface Fan {
  /** Each event when everybody has the one before. */
  readonly single: Costed & { readonly lastMs: number };
  /** As fast as they are taken: those that meet in the server may go out as one. */
  readonly burst: Costed;
}

const MODES = { single: "one event at a time", burst: "in bursts" };
const COLUMNS = ["", "deliveries/s", "ratio", "CPU µs each", "ratio by CPU"];

interface Side {
  readonly kind: Kind;
  readonly server: Server;
  readonly readers: Readers;
  readonly body: string;
}

export const fanout: Section = {
  name: "fanout",
  title: "Fan-out of a topic",
  async run(bench) {
    const tables: Table[] = [];
    const aims: Aim[] = [];
    const notes = [
      "raw-socket subscribers and the publisher (HTTP/1.1) in one process, which shares the cores with the server; " +
        "Backtalk stores each event in SQLite with fsync first, the others store nothing",
      "in bursts: 16 publishers at once, so servers can send several events to a subscriber with one system call",
      "bare publishes the very bytes that Backtalk sends for the event; the ratio by CPU is that of the servers' " +
        "CPU time for each delivery",
    ];
    for (const count of bench.quick ? [1000] : [1000, 10_000]) {
      const sides = await openAll(bench, count, notes);
      const samples = await interleaved(
        bench.rounds,
        sides.map((side) => () => fan(side, count)),
      );
      await Promise.all(sides.flatMap(({ server, readers }) => [server.end(), readers.end()]));
      const many = `${count.toLocaleString("en-US")} subscribers`;
      for (const mode of ["single", "burst"] as const) {
        const of = (kind: Kind) => samples[sides.findIndex((side) => side.kind === kind)]?.map((fan) => fan[mode]);
        const bare = of("bare-websocket")!;
        const rows = sides.map(({ kind }, i) => {
          const row = fanRow(NAMES[kind], of(kind)!, bare);
          return mode === "burst" ? row : [...row, median(samples[i]!.map(({ single }) => single.lastMs))];
        });
        const columns = [...COLUMNS, ...(mode === "single" ? ["to the last, ms"] : [])];
        tables.push({ title: `${many}, ${MODES[mode]}`, columns, rows });
        for (const kind of ["websocket", "sse"] as const) {
          const what = `${NAMES[kind]}, ${many}, ${MODES[mode]}`;
          aims.push(ratioAim(`${what}, to bare server.publish`, AIM, of(kind)!, bare));
          const socketio = of("socketio");
          if (socketio) aims.push({ ...ratioAim(`${what}, to Socket.IO`, 1, of(kind)!, socketio), aim: "above 1" });
        }
      }
    }
    return { tables, aims, notes };
  },
};

async function openAll(bench: Bench, count: number, notes: string[]): Promise<Side[]> {
  bench.say(`opening ${count} subscribers of each kind`);
  const sides: Side[] = [];
  const open = async (kind: Kind, server: Server, body: string): Promise<Side> => {
    const readers = new Readers(kind);
    await readers.open(server, count);
    const side = { kind, server, readers, body };
    sides.push(side);
    return side;
  };
  for (const kind of ["websocket", "sse"] as const) {
    const ours = await open(kind, await bench.servers.backtalk(), EVENT);
    await ours.readers.publish(ours.server, EVENT, 1, true);
    const { sample } = await ours.readers.sample();
    await open(`bare-${kind}`, await bench.servers.bare(), kind === "sse" ? sseEvent(sample) : sample);
  }
  try {
    await open("socketio", await bench.servers.peer("socketio"), EVENT);
  } catch (thrown) {
    if (!(thrown instanceof Missing)) throw thrown;
    notes.push(`Socket.IO was not measured: ${thrown.message}`);
  }
  return sides;
}

async function fan(side: Side, count: number): Promise<Fan> {
  const single = await published(side, count > 1000 ? 8 : 50, true);
  const burst = await published(side, Math.ceil(DELIVERIES / count), false);
  return { single: { ...single, lastMs: median(single.each) }, burst };
}

async function published({ server, readers, body }: Side, events: number, isOneByOne: boolean) {
  const before = cpuUs(server.pid);
  const { deliveries, ms, each } = await readers.publish(server, body, events, isOneByOne);
  const after = cpuUs(server.pid);
  const used = before === undefined || after === undefined ? undefined : after - before;
  return { perSecond: (deliveries / ms) * 1000, cpu: used && used / deliveries, each };
}

function fanRow(name: string, samples: readonly Costed[], bare: readonly Costed[]): Cell[] {
  return [name, rate(samples), ratioOfRates(samples, bare), cpu(samples), ratioOfCpu(samples, bare)];
}

/** Without the length of the chunk (RFC 9112 §7.1), which the server adds itself. */
function sseEvent(sample: string): string {
  return /id:[\s\S]*?\n\n/.exec(sample)?.[0] ?? sample;
}
