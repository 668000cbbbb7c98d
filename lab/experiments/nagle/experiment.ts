import { PROTOCOL, readIp, readTcp } from "../../../src/wire/packet/ip.ts";
import type { Counted, Experiment, Finding } from "../../experiment.ts";
import { TOO_BUSY } from "../../network.ts";
import { median } from "../../units.ts";
import type { Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import type { Asked } from "./client.ts";

const WAYS = [
  { name: "two writes", noDelay: false, isOneWrite: false, expected: "35 to 60 ms", from: 35, to: 60, trips: 2 },
  {
    name: "two writes, TCP_NODELAY",
    noDelay: true,
    isOneWrite: false,
    expected: "under 1 ms",
    from: 0,
    to: 1,
    trips: 1,
  },
  { name: "one write", noDelay: false, isOneWrite: true, expected: "under 1 ms", from: 0, to: 1, trips: 1 },
] as const;

const EXPLAIN: Readonly<Record<(typeof WAYS)[number]["name"], string>> = {
  "two writes":
    "Nagle's algorithm holds a small segment back while another one has not been acknowledged (RFC 9293 §3.7.4); the receiver delays its acknowledgement in the hope of data to send it with (RFC 9293 §3.8.6.3), on Linux for 40 ms. Each waits for the other.",
  "two writes, TCP_NODELAY":
    "TCP_NODELAY turns Nagle's algorithm off: the second segment leaves at once, and the answer carries the acknowledgement.",
  "one write": "A message that is written at once is one segment: there is nothing to hold back.",
};

export const nagle: Experiment = {
  name: "nagle",
  title: "Nagle's algorithm and delayed acknowledgements",
  question: "Why does a request that is written in two pieces take 40 ms on a fast network?",
  // Delay would hide it: the acknowledgement is what is waited for.
  defaults: { rttMs: 0, runs: 20 },
  overLoopback: { columns: ["ms", "segments"], platform: "linux" },
  async run({ conditions, network, over, progress }) {
    const net = await network!();
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const [asker, answerer] = await Promise.all([
        client.start(new URL("./client.ts", import.meta.url)),
        server.start(new URL("./server.ts", import.meta.url)),
      ]);
      const port = await answerer.call<number>("serve", server.address);
      const findings: Finding[] = [];
      const captures = [];
      for (const { name, expected, from, to, trips, ...way } of WAYS) {
        // Two pieces that wait for each other cross twice.
        const onTheWay = trips * conditions.rttMs;
        progress(name);
        await net.capture();
        const asked = await asker.call<Asked>("ask", server.address, port, { ...way, count: conditions.runs });
        const { times } = asked;
        const seen = await net.capture();
        captures.push({ name, hosts: [client, server], seen });
        const held = heldBack(seen);
        // Programs that are late are no matter of TCP: a busy machine is no failure.
        const ms = held.ms + conditions.rttMs;
        const isRight = ms >= from + onTheWay && ms <= to + onTheWay;
        const isLate = median(times) > to + onTheWay;
        const why = isRight && isLate ? `${held.why}; the programs were late: ${TOO_BUSY} for a verdict` : held.why;
        findings.push({
          name,
          values: { ms: times, segments: (over === "network" ? held : asked).segments / times.length },
          expected: onTheWay === 0 ? expected : `${expected}, and ${onTheWay} ms on the way`,
          verdict: net.refusal || (isRight && isLate) ? "refused" : isRight ? "ok" : "failed",
          why: net.refusal ?? why,
          counted: countedOf(asked, trips === 2),
          source: "RFC 9293 §3.7.4, §3.8.6.3",
          explain: EXPLAIN[name],
          capture: name,
        });
      }
      return {
        columns: [
          { key: "ms", title: "per message", unit: "ms", what: "from the first write to the answer" },
          { key: "segments", title: "segments", unit: "count", what: "with data, from the client, for each message" },
        ],
        findings,
        check: net.check,
        captures,
      };
    } finally {
      await net.stop();
    }
  },
};

/** What the kernel has not sent after the last write, it holds back. */
export function countedOf({ times, segments, held }: Asked, waits: boolean): Counted {
  const each = segments === times.length ? "one segment" : `${Number((segments / times.length).toFixed(1))} segments`;
  return {
    expected: waits ? "the second piece waits" : "nothing waits",
    // A connection acknowledges its first segments at once (quick ACK): then there is nothing to wait for.
    verdict: (waits ? held > times.length / 2 : held === 0) ? "ok" : "failed",
    why: `${each} a message; the kernel held a piece back of ${held === 0 ? "none" : `${held} of ${times.length} messages`}`,
  };
}

/** What the capture says: how long TCP held a message and its answer back, without the way; for what its second piece waited. */
function heldBack(seen: readonly Seen[]): { readonly segments: number; readonly ms: number; readonly why: string } {
  const waits: number[] = [];
  const times: number[] = [];
  let begunAt: number | undefined;
  let wholeAt = 0;
  let answeredAt: number | undefined;
  let segments = 0;
  let pieceAt: number | undefined;
  let ackAt: number | undefined;
  let afterAck = 0;
  for (const { from, at, drop, bytes } of seen) {
    const ip = readIp(bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (!tcp || tcp.flags.syn) continue;
    if (from === 1) {
      if (tcp.payload.length > 0) {
        pieceAt = undefined;
        answeredAt ??= at;
        if (drop !== undefined || begunAt === undefined) continue;
        times.push((wholeAt - begunAt + at - answeredAt) / 1e6);
        begunAt = answeredAt = undefined;
      } else if (pieceAt !== undefined) ackAt = at;
      continue;
    }
    if (tcp.payload.length === 0) continue;
    segments++;
    begunAt ??= at;
    if (drop === undefined) wholeAt = at;
    if (pieceAt !== undefined) {
      waits.push((at - pieceAt) / 1e6);
      if (ackAt !== undefined) afterAck++;
    }
    pieceAt = at;
    ackAt = undefined;
  }
  const ms = times.length === 0 ? Number.NaN : median(times);
  if (waits.length === 0) return { segments, ms, why: "one segment a message: nothing waits" };
  const wait = median(waits);
  if (afterAck > waits.length / 2) {
    return {
      segments,
      ms,
      why: `the second segment left ${wait.toFixed(1)} ms after the first, when the delayed ACK had come`,
    };
  }
  return {
    segments,
    ms,
    why: `the second segment left ${wait.toFixed(2)} ms after the first, without waiting for an ACK`,
  };
}
