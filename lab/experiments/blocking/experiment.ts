import { connectionsOf } from "../../capture/segments.ts";
import type { Capture, Experiment, Finding, Plot } from "../../experiment.ts";
import { median, quantile } from "../../units.ts";
import type { Seen } from "../../wire/index.ts";
import type { Latencies } from "./client.ts";

const WORK_MS = 500;
const EVERY_MS = 10;
const FOR_MS = 3_000;

const WAYS = [
  {
    way: "blocks",
    name: "blocks the event loop",
    expected: "everybody waits for it",
    explain:
      "One thread runs all handlers, one turn at a time. While a handler computes nothing else is read, answered or timed out: the longest wait of the others is the length of the computation. A client that waits for each answer before it asks again hides it: it sends one slow request, and not the fifty that would have been slow (coordinated omission). Measured from the schedule they are all there.",
  },
  {
    way: "yields",
    name: "yields every 5 ms",
    expected: "others wait for a slice",
    explain:
      "The handler gives the turn back after each slice, so that what has come meanwhile is answered. The work takes longer, and every request still shares the thread with it.",
  },
  {
    way: "thread",
    name: "in a thread",
    expected: "others do not notice",
    explain:
      "The computation runs beside the event loop, as long as there is a processor for both. What goes in and out is copied.",
  },
] as const;

export const blocking: Experiment = {
  name: "blocking",
  title: "a handler that computes for 500 ms",
  question: "What does everybody else wait for while one handler computes?",
  defaults: { rttMs: 2, runs: 1 },
  overLoopback: { columns: ["p50", "p99", "max", "sent", "work"] },
  async run({ network, progress }) {
    const net = await network!();
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      const series: { name: string; points: (readonly [number, number])[] }[] = [];
      for (const { way, name, expected, explain } of WAYS) {
        progress(name);
        const [asker, answerer] = await Promise.all([
          client.start(new URL("./client.ts", import.meta.url)),
          server.start(new URL("./server.ts", import.meta.url)),
        ]);
        const port = await answerer.call<number>("serve", server.address);
        await net.capture();
        const url = `http://${server.address}:${port}`;
        const told = await asker.call<Latencies>("ask", url, way, WORK_MS, EVERY_MS, FOR_MS);
        const seen = await net.capture();
        await Promise.all([asker.stop(), answerer.stop()]);
        const { fromSchedule } = told;
        const worst = Math.max(...fromSchedule);
        const still = longestSilence(seen);
        // The longest time in which the server said nothing at all, by the capture.
        const isBlocked = still > 0.8 * WORK_MS;
        findings.push({
          name,
          values: {
            p50: median(fromSchedule),
            p99: quantile(fromSchedule, 0.99),
            max: worst,
            sent: quantile(told.fromSend, 0.99),
            work: told.workMs,
          },
          expected,
          verdict: net.refusal ? "refused" : isBlocked === (way === "blocks") ? "ok" : "failed",
          why:
            net.refusal ??
            `the server sent nothing for ${still.toFixed(0)} ms at the longest; ${slow(fromSchedule)} of ${fromSchedule.length} requests took over 100 ms`,
          explain,
          capture: name,
        });
        captures.push({ name, hosts: [client, server], seen });
        series.push({ name, points: fromSchedule.map((ms, n) => [(n * EVERY_MS) / 1_000, ms]) });
      }
      const plot: Plot = {
        title: "what each request waited, by when it was due",
        kind: "dots",
        x: { title: "time", unit: "s" },
        y: { title: "wait", unit: "ms" },
        series,
      };
      return {
        columns: [
          { key: "p50", title: "p50", unit: "ms", what: "of everybody else, from when the request was due" },
          { key: "p99", title: "p99", unit: "ms" },
          { key: "max", title: "max", unit: "ms" },
          {
            key: "sent",
            title: "p99 from send",
            unit: "ms",
            what: "of a client that waits for each answer: what many tools show",
          },
          { key: "work", title: "the work", unit: "ms" },
        ],
        findings,
        check: net.check,
        captures,
        plots: [plot],
      };
    } finally {
      await net.stop();
    }
  },
};

function slow(times: readonly number[]): number {
  return times.filter((ms) => ms > 100).length;
}

/** Longest time in which requests were there and no byte of an answer left the server, in milliseconds. */
function longestSilence(seen: readonly Seen[]): number {
  const events = connectionsOf(seen)
    .flatMap(({ segments }) => segments)
    .filter(({ tcp }) => tcp.payload.length > 0)
    .toSorted((a, b) => a.seen.at - b.seen.at);
  let longest = 0;
  let waitingSince: number | undefined;
  for (const {
    isOpener,
    seen: { at },
  } of events) {
    if (isOpener) waitingSince ??= at;
    else if (waitingSince !== undefined) {
      longest = Math.max(longest, (at - waitingSince) / 1e6);
      waitingSince = undefined;
    }
  }
  return longest;
}
