import { connectionsOf, type Segment } from "../../capture/segments.ts";
import { clientLink } from "../../conditions.ts";
import type { Capture, Counted, Experiment, Finding, Plot } from "../../experiment.ts";
import type { Sample } from "./server.ts";

const BYTES = 1_000_000;
/** Of the reader's socket, so that it fills up soon: least, first and most bytes. */
const BUFFER = "4096 65536 131072";
const SLOW_MS = 3_000;

export const window: Experiment = {
  name: "window",
  title: "the receive window",
  question: "What does a server notice of a client that reads slowly?",
  defaults: { rttMs: 20, runs: 1 },
  overLoopback: { columns: ["ms", "limited"], platform: "linux" },
  async run({ conditions, network, over, progress }) {
    const net = await network!({
      hosts: {
        client: { ...clientLink(conditions), congestion: conditions.congestion, sysctls: { "ipv4/tcp_rmem": BUFFER } },
        server: { congestion: conditions.congestion },
      },
    });
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const [reader, sender] = await Promise.all([
        client.start(new URL("./client.ts", import.meta.url)),
        server.start(new URL("./server.ts", import.meta.url)),
      ]);
      const port = await sender.call<number>("serve", server.address, BYTES);
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      const plots: Plot[] = [];
      for (const way of [
        { name: "reads at once", afterMs: 0 },
        { name: `reads after ${SLOW_MS / 1_000} s`, afterMs: SLOW_MS },
      ]) {
        progress(way.name);
        await net.capture();
        const ms = await reader.call<number>("read", server.address, port, BYTES, way.afterMs);
        // The end of its connection, too: it is no part of the next one's.
        await Bun.sleep(50 + 2 * conditions.rttMs);
        const seen = await net.capture();
        const samples = await sender.call<Sample[]>("samples");
        captures.push({ name: way.name, hosts: [client, server], seen });
        const segments = connectionsOf(seen)[0]?.segments ?? [];
        const told = toldOf(segments);
        const limitedMs = Math.max(0, ...samples.map(({ limitedUs }) => limitedUs)) / 1_000;
        const isRight =
          way.afterMs === 0 ? told.probes === 0 && told.stalledMs < 500 : told.zero > 0 && told.probes > 0;
        findings.push({
          name: way.name,
          values: { ms, zero: told.zero, probes: told.probes, stalled: told.stalledMs, limited: limitedMs },
          expected: way.afterMs === 0 ? "the window stays open" : "zero window, probes, then on",
          verdict: net.refusal ? "refused" : isRight ? "ok" : "failed",
          why: net.refusal ?? told.why,
          source: "RFC 9293 §3.8.6, §3.8.6.1",
          explain: way.afterMs === 0 ? FAST : SLOW,
          capture: way.name,
          counted: countedOf(samples, way.afterMs > 0),
        });
        plots.push(plotOf(way.name, segments));
      }
      return {
        columns: [
          {
            key: "ms",
            title: "took",
            unit: "ms",
            what: `until the client had all ${BYTES.toLocaleString("en")} bytes`,
          },
          { key: "zero", title: "zero windows", unit: "count", what: "segments of the client that say: nothing more" },
          { key: "probes", title: "probes", unit: "count", what: "of the server, into a closed window" },
          { key: "stalled", title: "stalled", unit: "ms", what: "longest time without new data from the server" },
          { key: "limited", title: "kernel says", unit: "ms", what: "held up by the receiver (TCP_INFO rwnd_limited)" },
        ],
        findings,
        check: net.check,
        captures,
        plots,
        ...(over === "network" && {
          notes: [
            `The client's socket holds ${BUFFER.split(" ")[2]} bytes at most (tcp_rmem), so that it fills up soon.`,
          ],
        }),
      };
    } finally {
      await net.stop();
    }
  },
};

const FAST =
  "Each acknowledgement says how many bytes more the receiver has room for. A program that reads keeps the room, and the congestion window decides alone.";
const SLOW =
  "What the program does not read stays in its socket, and the window shrinks by as much until it is zero: the sender's kernel stops, then its socket fills up, and at last the sending program waits, or keeps the rest in its own memory. The sender asks again and again with a probe whether there is room (RFC 9293 §3.8.6.1), for the segment that opens the window could be lost. Nothing is lost, and nobody was told: only back-pressure that the program looks at shows it.";

/** What the sender's kernel knew of the window. */
export function countedOf(samples: readonly Sample[], isSlow: boolean): Counted {
  const windows = samples.flatMap(({ window }) => window ?? []);
  if (windows.length === 0) return { verdict: "refused", why: "this kernel does not tell the window (TCP_INFO)" };
  const zero = windows.filter((bytes) => bytes === 0).length;
  // A reader that was not running for a moment closes it for a moment, too.
  const isRight = isSlow ? zero > windows.length / 2 : zero < windows.length / 2 || windows.at(-1)! > 0;
  return {
    expected: isSlow ? "the window closes" : "the window stays open",
    verdict: isRight ? "ok" : "failed",
    why: `the server's kernel knew of a window of ${Math.min(...windows).toLocaleString("en")} bytes at the least; it was zero in ${zero} of ${windows.length} samples, each 10 ms and each write`,
  };
}

interface Told {
  readonly zero: number;
  readonly probes: number;
  readonly stalledMs: number;
  readonly why: string;
}

function toldOf(segments: readonly Segment[]): Told {
  let zero = 0;
  let probes = 0;
  let stalled = 0;
  let newest = -1;
  let newestAt = 0;
  let smallest = Number.POSITIVE_INFINITY;
  let closed = false;
  const times: number[] = [];
  for (const { isOpener, tcp, window, sequence, seen } of segments) {
    if (tcp.flags.syn || tcp.flags.rst) continue;
    if (isOpener) {
      smallest = Math.min(smallest, window);
      if (window === 0) zero++;
      if (window === 0 && !closed) closed = true;
      else if (window > 0) closed = false;
      continue;
    }
    const end = sequence + tcp.payload.length;
    // RFC 9293 §3.8.6.1: a byte or none below what was acknowledged, into a closed window.
    if (closed && tcp.payload.length <= 1 && !tcp.flags.fin) {
      probes++;
      times.push(seen.at);
      continue;
    }
    if (tcp.payload.length === 0 || end <= newest) continue;
    if (newest >= 0) stalled = Math.max(stalled, (seen.at - newestAt) / 1e6);
    newest = end;
    newestAt = seen.at;
  }
  const gaps = times.slice(1).map((at, n) => ((at - times[n]!) / 1e6).toFixed(0));
  const why =
    zero === 0
      ? `the smallest window was ${smallest.toLocaleString("en")} bytes`
      : `the window closed after ${zero === 1 ? "one segment" : `${zero} segments`} said zero; ${probes} probes${gaps.length > 0 ? `, ${gaps.slice(0, 4).join(", ")} ms apart` : ""}; the server was still for ${stalled.toFixed(0)} ms`;
  return { zero, probes, stalledMs: stalled, why };
}

function plotOf(name: string, segments: readonly Segment[]): Plot {
  const start = segments[0]?.seen.at ?? 0;
  const time = ({ seen }: Segment) => (seen.at - start) / 1e9;
  const acks = segments.filter(({ isOpener, tcp }) => isOpener && !tcp.flags.syn && !tcp.flags.rst);
  const data = segments.filter(({ isOpener, tcp }) => !isOpener && tcp.payload.length > 0);
  return {
    title: `the server's bytes, and how far the client lets it go: ${name}`,
    kind: "steps",
    x: { title: "time", unit: "s" },
    y: { title: "bytes" },
    series: [
      { name: "sent", points: data.map((each) => [time(each), each.sequence + each.tcp.payload.length]) },
      { name: "acknowledged", points: acks.map((each) => [time(each), each.acknowledged]) },
      { name: "window", points: acks.map((each) => [time(each), each.acknowledged + each.window]) },
    ],
  };
}
