/** The emulated network of the lab, beside two namespaces that are joined directly. */
import { availability, wire as makeWire } from "../../lab/wire/index.ts";
import { Missing, type Section } from "../lib/bench.ts";
import { output } from "../lib/proc.ts";
import { median } from "../lib/stats.ts";
import { type Line, lineOf } from "../load/line-of.ts";

/** Of each packet kept for the capture, so that a long stream fits. */
const SNAP_BYTES = 128;
/** What the wire keeps for its capture has its limits. */
const MOST_SECONDS = 3;
const MOST_ROUNDS = 3;
const VETH = new URL("../load/veth.ts", import.meta.url).pathname;

interface Wired extends Line {
  /** CPU time of the process that is the wire, over the time that the stream took. */
  readonly cores: number;
  readonly packetsPerSecond: number;
  readonly lateP50: number;
  readonly lateP99: number;
}

export const wire: Section = {
  name: "wire",
  title: "The emulated network of the lab: throughput, added delay, CPU",
  async run(bench) {
    const found = availability();
    if (!found.isAvailable) throw new Missing(`${found.why}; ${found.remedy}`);
    const { rounds, say } = bench;
    const seconds = Math.min(bench.seconds, MOST_SECONDS);
    // In turns, so that whatever else the machine does meets all alike.
    const wires: Wired[] = [];
    const bares: Line[] = [];
    for (let round = 1; round <= Math.min(rounds, MOST_ROUNDS); round++) {
      say(`round ${round}: the wire, then a veth pair`);
      wires.push(await throughWire(seconds));
      bares.push(await direct(found.enter, seconds, false));
    }
    say("veth pair with offloads");
    const offloaded = await direct(found.enter, seconds, true);
    const [wired, bare] = [medians<keyof Wired>(wires), medians<keyof Line>(bares)];
    const row = (name: string, line: Line, more: readonly (number | undefined)[]) => {
      const added = (rtt: number, without: number) => (line === wired ? ((rtt - without) / 2) * 1e3 : undefined);
      return [
        name,
        line.bitsPerSecond / 1e6,
        line.rttP50 * 1e3,
        line.rttP99 * 1e3,
        added(line.rttP50, bare.rttP50),
        added(line.rttP99, bare.rttP99),
        ...more,
      ];
    };
    return {
      tables: [
        {
          columns: ["", "Mbit/s", "RTT, µs", "p99", "added, µs", "p99", "packets/s", "cores"],
          rows: [
            row("wire without delay", wired, [wired.packetsPerSecond, wired.cores]),
            row("veth, offloads off", bare, []),
            row("veth, offloads on", offloaded, []),
          ],
        },
      ],
      notes: [
        `300 echoes of UDP, 4 ms apart, then one stream of TCP for ${seconds} s; medians of ${wires.length} rounds in turns. An echo goes through a program of Bun at each end; "added" is half of what the round trip takes more than on the veth pair without offloads: what the wire adds one way, at p50 and p99. "Cores" is the CPU time of the wire alone.`,
        `Packets left the wire ${(wired.lateP50 / 1e3).toFixed(0)} µs after they were due at p50, ${(wired.lateP99 / 1e3).toFixed(0)} µs at p99, under the full load of the stream.`,
        "The wire turns offloads off, so that packets are those of a real link: the pair with offloads moves pieces of 64 kB, and is no network.",
        "All of it shares the cores of this machine: both programs, the kernel and the wire.",
      ],
    };
  },
};

async function throughWire(seconds: number): Promise<Wired> {
  await using net = await makeWire({ hosts: { client: {}, server: {} }, snapBytes: SNAP_BYTES });
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const before = { ...(await net.stats()), at: performance.now() };
  const line = await lineOf(
    (module) => client.start(module),
    (module) => server.start(module),
    server.address,
    seconds,
    async () => void Object.assign(before, await net.stats(), { at: performance.now() }),
  );
  const after = await net.stats();
  const ms = performance.now() - before.at;
  return {
    ...line,
    cores: (after.cpuMs - before.cpuMs) / ms,
    packetsPerSecond: ((after.packets - before.packets) * 1e3) / ms,
    lateP50: after.lateP50,
    lateP99: after.lateP99,
  };
}

async function direct(enter: readonly string[], seconds: number, isOffloaded: boolean): Promise<Line> {
  // Without a namespace of processes: nothing here needs one, and their numbers stay those of the machine.
  const unshare = enter.includes("-Urnpf") ? ["unshare", "-Urn"] : ["unshare", "-n"];
  const command = [...unshare, process.execPath, VETH, JSON.stringify({ seconds, isOffloaded })];
  return JSON.parse(await output(command, (seconds + 30) * 1e3)) as Line;
}

/** Of each figure by itself. */
function medians<Key extends string>(all: readonly Readonly<Record<Key, number>>[]): Record<Key, number> {
  const keys = Object.keys(all[0]!) as Key[];
  return Object.fromEntries(keys.map((key) => [key, median(all.map((each) => each[key]))])) as Record<Key, number>;
}
