/** The same calls over every transport, from the client's side, in one table. */
import { join } from "node:path";
import { VIAS } from "../../cli/connect.ts";
import { availability } from "../../lab/wire/availability.ts";
import { type Bench, Missing, type Section } from "../lib/bench.ts";
import { output } from "../lib/proc.ts";
import { median } from "../lib/stats.ts";
import type { Cell } from "../lib/table.ts";
import type { WaysFigures, WaysOrder } from "../load/ways.ts";

const ROOT = join(import.meta.dir, "../..");
/** Its broker is a section of its own; a way that waits between its requests says nothing about speed. */
const APART = new Set(["amqp", "poll"]);

export const ways: Section = {
  name: "ways",
  title: "A call and a stream over every transport, client and server together",
  async run(bench) {
    const notes = [
      "A call of isPrime; a stream that is not recorded, of items with a hundred characters. Client and server share this machine, so a call a second costs both halves.",
    ];
    const found = availability();
    if (!found.isAvailable) notes.push(`bytes were not counted: ${found.why}`);
    else
      notes.push(
        "Bytes are those on loopback for a call or an item: with all headers, of IP and TCP too, and acknowledgements.",
      );
    const rows: Cell[][] = [];
    for (const via of VIAS.filter((each) => !APART.has(each))) {
      rows.push(rowOf(via, await measured(bench, via, backtalk(bench, via))));
    }
    try {
      await bench.servers.install();
      for (const [name, command] of peers()) rows.push(rowOf(name, await measured(bench, `peer ${name}`, command)));
    } catch (thrown) {
      if (!(thrown instanceof Missing)) throw thrown;
      notes.push(`the neighbours were not measured: ${thrown.message}`);
    }
    const columns = ["", "calls/s", "32 at once", "p50 ms", "p99 ms", "B/call", "items/s", "B/item"];
    return { tables: [{ columns, rows }], notes };
  },
};

/** Its own store and socket, so that nothing is carried over from way to way. */
function backtalk(bench: Bench, via: string): string[] {
  const store = via === "unix" ? ["--unix", join(bench.dir, "bench.sock")] : [];
  const ports = ["--port", "0", "--tls-port", "0", "--grpc-port", "0", "--tcp-port", "0", "--udp-port", "0"];
  const more = ["--store", "memory:", "--log", "none", "--json"];
  return [
    process.execPath,
    join(ROOT, "cli/main.ts"),
    "serve",
    join(ROOT, "bench/service.ts"),
    ...ports,
    ...more,
    ...store,
  ];
}

function peers(): [name: string, command: string[]][] {
  const node = Bun.which("node");
  const script = (name: string) => join(ROOT, `bench/peers/${name}.mjs`);
  return [
    ...(node
      ? ([
          ["grpc-js (Node)", [node, script("grpc-js")]],
          ["ConnectRPC (Node)", [node, script("connect-grpc")]],
        ] as [string, string[]][])
      : []),
    ["grpc-js (Bun)", [process.execPath, script("grpc-js")]],
    ["ConnectRPC (Bun)", [process.execPath, script("connect-grpc")]],
  ];
}

async function measured(bench: Bench, way: string, server: readonly string[]): Promise<WaysFigures[] | string> {
  const order: WaysOrder = { server, way, ms: bench.quick ? 400 : 1_500, items: bench.quick ? 2_000 : 20_000 };
  const load = [process.execPath, join(ROOT, "bench/load/ways.ts"), JSON.stringify(order)];
  const found = availability();
  // Alone on its loopback: every byte there is of this call.
  const command = found.isAvailable
    ? [...found.enter, "sh", "-c", 'ip link set lo up; BENCH_ALONE=1 exec "$@"', "sh", ...load]
    : load;
  const all: WaysFigures[] = [];
  for (let round = 0; round < Math.min(3, bench.rounds); round++) {
    bench.say(`${way}, round ${round + 1}`);
    try {
      all.push(JSON.parse((await output(command, 60_000)).trim().split("\n").at(-1)!) as WaysFigures);
    } catch (thrown) {
      return (thrown as Error).message.split("\n").at(-1)!.slice(0, 60);
    }
  }
  return all;
}

function rowOf(name: string, all: WaysFigures[] | string): Cell[] {
  if (typeof all === "string") return [name, `not measured: ${all}`];
  const of = (key: keyof WaysFigures) => {
    const values = all.map((each) => each[key]).filter((value) => value !== undefined && value !== null);
    return values.length === 0 ? undefined : median(values);
  };
  const whole = (value: number | undefined) =>
    value === undefined ? undefined : Math.round(value).toLocaleString("en");
  const ms = (value: number | undefined) => value?.toFixed(2);
  return [
    name,
    whole(of("one")),
    whole(of("many")),
    ms(of("p50")),
    ms(of("p99")),
    whole(of("bytes")),
    whole(of("items")),
    whole(of("itemBytes")),
  ];
}
