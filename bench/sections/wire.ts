/** The emulated network of the lab, beside two namespaces that are joined directly. */
import { availability, wire as makeWire } from "../../lab/wire/index.ts";
import { type Bench, Missing, type Section } from "../lib/bench.ts";
import { output } from "../lib/proc.ts";
import { type Line, lineOf } from "../load/line-of.ts";

/** Of each packet kept for the capture, so that a long stream fits. */
const SNAP_BYTES = 128;
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
    const { seconds, say } = bench;
    say("wire");
    const wired = await throughWire(bench);
    say("veth pair, offloads off");
    const bare = await direct(found.enter, seconds, false);
    say("veth pair, offloads on");
    const offloaded = await direct(found.enter, seconds, true);
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
        `300 echoes of UDP, 4 ms apart, then one stream of TCP for ${seconds} s. An echo goes through a program of Bun at each end; "added" is half of what the round trip takes more than on the veth pair without offloads: what the wire adds one way, at p50 and p99. "Cores" is the CPU time of the wire alone.`,
        `Packets left the wire ${(wired.lateP50 / 1e3).toFixed(0)} µs after they were due at p50, ${(wired.lateP99 / 1e3).toFixed(0)} µs at p99, under the full load of the stream.`,
        "The wire turns offloads off, so that packets are those of a real link: the pair with offloads moves pieces of 64 kB, and is no network.",
        "All of it shares the cores of this machine: both programs, the kernel and the wire.",
      ],
    };
  },
};

async function throughWire({ seconds }: Bench): Promise<Wired> {
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
