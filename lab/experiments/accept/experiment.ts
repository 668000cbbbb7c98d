import { PROTOCOL, readIp, readTcp } from "../../../src/wire/packet/ip.ts";
import type { Conditions } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Lab, Network, Plot } from "../../experiment.ts";
import { quantile } from "../../units.ts";
import type { Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import type { Sample } from "./server.ts";

/** How long SYNs are watched: the sixth retry of a kernel that begins with four linear ones. */
const WATCH_MS = 7_600;
const BACKLOGS = [0, 4, 16];
const TOLERANCE_MS = 150;

export const accept: Experiment = {
  name: "accept",
  title: "the accept queue",
  question: "How many connections does a listen backlog admit, and what happens to the rest?",
  defaults: { rttMs: 10, runs: 1 },
  overLoopback: false,
  async run(lab) {
    const net = await lab.network!();
    try {
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      const plots: Plot[] = [];
      for (const [index, backlog] of BACKLOGS.entries()) {
        // The retries are watched once.
        const isWatched = backlog === 4;
        lab.progress(`backlog ${backlog}${isWatched ? ", and the retries" : ""}`);
        const tried = await crowd(net, {
          port: 8_000 + index,
          backlog,
          count: backlog + 5,
          waitMs: isWatched ? WATCH_MS : 100,
          // One after the other: a SYN finds the queue as the connections before have left it.
          everyMs: 3 * lab.conditions.rttMs,
        });
        const name = `listen(${backlog})`;
        captures.push({ name, hosts: [net.hosts["client"]!, net.hosts["server"]!], seen: tried.seen });
        findings.push(admission(name, backlog, tried));
        if (!isWatched) continue;
        findings.push(retries(lab, tried, name));
        plots.push(queuePlot(tried.samples));
      }
      lab.progress("all at once");
      const burst = await crowd(net, { port: 8_050, backlog: 4, count: 9, waitMs: 600 });
      captures.push({ name: "all at once", hosts: [net.hosts["client"]!, net.hosts["server"]!], seen: burst.seen });
      findings.push(atOnce(burst));
      lab.progress("a slow acceptor");
      const slow = await crowd(net, {
        port: 8_100,
        backlog: 4,
        count: 12,
        waitMs: 4_500,
        acceptEveryMs: 100,
        everyMs: 3 * lab.conditions.rttMs,
      });
      captures.push({ name: "slow acceptor", hosts: [net.hosts["client"]!, net.hosts["server"]!], seen: slow.seen });
      findings.push(slowly(slow));
      const refusal = net.refusal ?? refusalOf(lab.conditions);
      return {
        columns: [
          { key: "tried", title: "tried", unit: "count", what: "connections that were opened at once" },
          { key: "admitted", title: "admitted", unit: "count", what: "SYNs that were answered" },
          { key: "overflows", title: "overflows", unit: "count", what: "ListenOverflows of the kernel" },
        ],
        findings: findings.map((each) => (refusal ? { ...each, verdict: "refused", why: refusal } : each)),
        check: net.check,
        captures,
        plots,
      };
    } finally {
      await net.stop();
    }
  },
};

/** Longer handshakes outlast what is waited for them, and the pause of the slow acceptor. */
const LONGEST_RTT_MS = 30;

/** A SYN that the link has lost looks like one that the server did not answer. */
export function refusalOf({ rttMs, loss, drops }: Conditions): string | undefined {
  if (rttMs > LONGEST_RTT_MS) return `the times of this experiment are for round trips of at most ${LONGEST_RTT_MS} ms`;
  const isWhole = (loss === 0 || loss === undefined) && drops.length === 0;
  return isWhole ? undefined : "packets are lost on the way: those that the queue refuses cannot be told from them";
}

interface Tried {
  readonly count: number;
  /** Milliseconds until each connection stood, for the client. */
  readonly times: readonly number[];
  readonly samples: readonly Sample[];
  readonly seen: readonly Seen[];
  readonly settings: { readonly linear: number; readonly retries: number };
}

interface Crowd {
  readonly port: number;
  readonly backlog: number;
  readonly count: number;
  readonly waitMs: number;
  readonly acceptEveryMs?: number;
  /** Between two connections (default 0: all at once). */
  readonly everyMs?: number;
}

async function crowd(
  net: Network,
  { port, backlog, count, waitMs, acceptEveryMs, everyMs = 0 }: Crowd,
): Promise<Tried> {
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [asker, listener] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  try {
    await net.capture();
    const settings = await listener.call<Tried["settings"]>("settings");
    await listener.call("listen", server.address, port, backlog);
    if (acceptEveryMs !== undefined) await listener.call("acceptEvery", acceptEveryMs);
    const times = await asker.call<number[]>("connect", server.address, port, count, everyMs, waitMs);
    // Taken before the ends, whose segments say nothing here.
    const seen = await net.capture();
    return { count, times, samples: await listener.call<Sample[]>("close"), seen, settings };
  } finally {
    await Promise.all([asker.kill(), listener.kill()]);
  }
}

function admission(name: string, backlog: number, tried: Tried): Finding {
  const { answered } = synsOf(tried.seen);
  const last = tried.samples.at(-1);
  return {
    name,
    values: { tried: tried.count, admitted: answered.size, overflows: last?.overflows ?? 0 },
    expected: `${backlog + 1} admitted`,
    verdict: answered.size === backlog + 1 ? "ok" : "failed",
    why: `${answered.size} ${answered.size === 1 ? "SYN was" : "SYNs were"} answered, the others silently dropped; the kernel says ${last?.queued} of ${last?.limit} in the queue`,
    source: "listen(2); Linux sk_acceptq_is_full: the queue is full when it has more than the backlog",
    explain:
      "A connection that the program has not yet accepted waits in the accept queue. Linux compares with >, so a backlog of b admits b + 1. When the queue is full, a further SYN is not refused but ignored: the client believes that it was lost, and tries again.",
    capture: name,
  };
}

function retries({ conditions }: Lab, tried: Tried, capture: string): Finding {
  const { sent, answered } = synsOf(tried.seen);
  const expected = retryTimes(tried.settings.linear).filter((ms) => ms < WATCH_MS - TOLERANCE_MS - conditions.rttMs);
  const lines = [...sent]
    .filter(([port]) => !answered.has(port))
    .map(([, times]) => times.slice(1).map((at) => (at - times[0]!) / 1e6));
  const isRight = (times: readonly number[]) =>
    times.length === expected.length && times.every((ms, n) => Math.abs(ms - expected[n]!) < TOLERANCE_MS);
  const seconds = (times: readonly number[]) => times.map((ms) => (ms / 1_000).toFixed(1)).join(", ");
  return {
    name: "SYN retries",
    values: { tried: lines.length, admitted: 0, overflows: tried.samples.at(-1)?.overflows ?? 0 },
    expected: `after ${seconds(expected)} s`,
    verdict: lines.length > 0 && lines.every(isRight) ? "ok" : "failed",
    why: `a dropped SYN was sent again after ${seconds(lines[0] ?? [])} s`,
    source: "RFC 6298 §2, §5; Linux tcp_syn_linear_timeouts",
    explain: `The first timeout is one second, and doubles. Since 6.5 Linux waits one second for the first ${tried.settings.linear} retries before it begins to double (tcp_syn_linear_timeouts is ${tried.settings.linear} here): a user waits in steps of a second.`,
    capture,
  };
}

/** Milliseconds after the first SYN (RFC 6298 §5.5, with the linear timeouts of Linux). */
export function retryTimes(linear: number): number[] {
  const times: number[] = [];
  let at = 0;
  for (let n = 0; n < 12; n++) {
    at += 1_000 * 2 ** Math.max(0, n - linear);
    times.push(at);
  }
  return times;
}

function atOnce(tried: Tried): Finding {
  const { answered } = synsOf(tried.seen);
  const { queued = 0, overflows = 0 } = tried.samples.at(-1) ?? {};
  return {
    name: "listen(4), all at once",
    values: { tried: tried.count, admitted: queued, overflows },
    expected: "the client believes in more than the server has",
    verdict: tried.times.length > queued && queued === 5 ? "ok" : "failed",
    why: `${answered.size} SYNs were answered before the first handshake ended; the client has ${tried.times.length} connections, the server ${queued}`,
    source: "Linux tcp_v4_syn_recv_sock, tcp_abort_on_overflow(7)",
    explain:
      "Whether there is room is asked when the SYN comes, and again when the handshake ends. Of a burst all SYNs find an empty queue; the last acknowledgements do not fit and are ignored. The client has a connection that the server does not have: what it sends is not answered until the server's SYN-ACK has been repeated and there is room, or it is reset.",
    capture: "all at once",
  };
}

function slowly(tried: Tried): Finding {
  const { answered, sent } = synsOf(tried.seen);
  const late = [...sent.values()].filter((times) => times.length > 1).length;
  const p = (part: number) => quantile(tried.times, part).toFixed(0);
  return {
    name: "accepts one each 100 ms",
    values: { tried: tried.count, admitted: answered.size, overflows: tried.samples.at(-1)?.overflows ?? 0 },
    expected: "all, the late ones by retries",
    verdict: answered.size === tried.count && late > 0 ? "ok" : "failed",
    why: `${late} of ${tried.count} needed a second SYN or more; a connection took ${p(0)} to ${p(1)} ms (median ${p(0.5)})`,
    source: "listen(2), RFC 6298 §2",
    explain:
      "A server that accepts slowly makes its clients wait twice: in the queue, and, when that is full, for the next retry of their SYN, which comes a whole second later however soon there is room.",
    capture: "slow acceptor",
  };
}

/** When each source port sent a SYN, and which were answered. */
function synsOf(seen: readonly Seen[]) {
  const sent = new Map<number, number[]>();
  const answered = new Set<number>();
  for (const { from, at, bytes } of seen) {
    const ip = readIp(bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (!tcp?.flags.syn) continue;
    if (from === 1) answered.add(tcp.destinationPort);
    else sent.set(tcp.sourcePort, [...(sent.get(tcp.sourcePort) ?? []), at]);
  }
  return { sent, answered };
}

function queuePlot(samples: readonly Sample[]): Plot {
  const start = samples[0]?.at ?? 0;
  const line = (name: string, of: (sample: Sample) => number) => ({
    name,
    points: samples.map((sample) => [(sample.at - start) / 1e9, of(sample)] as const),
  });
  return {
    title: "listen(4): the queue, and what the kernel counts",
    kind: "steps",
    x: { title: "time", unit: "s" },
    y: { title: "connections" },
    series: [
      line("in the accept queue", ({ queued }) => queued),
      line("its limit", ({ limit }) => limit),
      line("SYNs dropped (ListenDrops)", ({ drops }) => drops),
    ],
  };
}
