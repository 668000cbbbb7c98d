import type { Conditions } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Lab, Network, Plot, Verdict } from "../../experiment.ts";
import { TOO_BUSY } from "../../network.ts";
import { quantile } from "../../units.ts";
import type { Seen } from "../../wire/index.ts";
import type { Connected } from "./client.ts";
import type { Sample } from "./server.ts";
import { synsOf } from "./syns.ts";

/** How long SYNs are watched: the sixth retry of a kernel that begins with four linear ones. */
const WATCH_MS = 7_600;
const BACKLOGS = [0, 4, 16];
const TOLERANCE_MS = 150;
/** Later than this a retry is another one, and not one that a busy machine has held up. */
const LATE_MS = 500;
/** Until the last connection stands with a slow acceptor, which takes a few seconds. */
const SLOW_MS = 20_000;

export const accept: Experiment = {
  name: "accept",
  title: "the accept queue",
  question: "How many connections does a listen backlog admit, and what happens to the rest?",
  defaults: { rttMs: 10, runs: 1 },
  overLoopback: { columns: ["tried", "admitted"], platform: "linux" },
  async run(lab) {
    const { conditions, network, over, progress } = lab;
    const { rttMs, jitterMs } = conditions;
    const net = await network();
    try {
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      const plots: Plot[] = [];
      const tryOut = async (name: string, asked: Omit<Crowd, "lingerMs">): Promise<Tried> => {
        // What the client sent last is at the server then, and what ends with the programs belongs to nobody else.
        const tried = await crowd(net, { ...asked, lingerMs: 100 + 2 * rttMs });
        captures.push({ name, hosts: [net.hosts["client"]!, net.hosts["server"]!], seen: tried.seen });
        return tried;
      };
      // One after the other: a SYN finds the queue as the connections before have left it.
      const everyMs = 1.5 * rttMs + 2 * jitterMs + 15;
      for (const backlog of BACKLOGS) {
        // The retries are watched once, and by the packets alone.
        const isWatched = backlog === 4 && over === "network";
        progress(`backlog ${backlog}${isWatched ? ", and the retries" : ""}`);
        const name = `listen(${backlog})`;
        const waitMs = isWatched ? WATCH_MS : 100 + 2 * rttMs;
        const tried = await tryOut(name, { backlog, count: backlog + 5, waitMs, everyMs });
        findings.push(admission(name, backlog, tried));
        if (backlog === 4) plots.push(queuePlot(tried.samples, over));
        if (isWatched) findings.push(retries(lab, tried, name));
      }
      // Over loopback a handshake has ended before the next one begins.
      if (over === "network") {
        progress("all at once");
        findings.push(atOnce(await tryOut("all at once", { backlog: 4, count: 9, waitMs: 600 + 2 * rttMs })));
      }
      progress("a slow acceptor");
      const acceptEveryMs = Math.max(100, 3 * everyMs);
      const asked = { backlog: 4, count: 12, waitMs: SLOW_MS + 12 * acceptEveryMs, acceptEveryMs, everyMs };
      findings.push(slowly(await tryOut("slow acceptor", asked), acceptEveryMs));
      // How late the link is does not matter: each SYN is judged by the packets before it.
      const refusal = refusalOf(conditions);
      return {
        columns: [
          { key: "tried", title: "tried", unit: "count", what: "connections that were to be opened" },
          {
            key: "admitted",
            title: "admitted",
            unit: "count",
            what: "in the queue or accepted, by the server's kernel",
          },
          {
            key: "overflows",
            title: "overflows",
            unit: "count",
            what: "ListenOverflows of the kernel: packets dropped at a full queue, so one connection counts with each of its tries",
          },
        ],
        findings: findings.map((each) => (refusal ? { ...each, verdict: "refused", why: refusal } : each)),
        check: net.check,
        captures,
        plots,
        ...(over === "loopback" && {
          notes: [
            "SYN retries and a burst of SYNs are left out: the first needs packets, the second a way that takes time.",
          ],
        }),
      };
    } finally {
      await net.stop();
    }
  },
};

/** A SYN is repeated after a second: handshakes have to end well before. */
const LONGEST_RTT_MS = 500;

export function refusalOf({ rttMs, jitterMs }: Pick<Conditions, "rttMs" | "jitterMs">): string | undefined {
  if (rttMs + 2 * jitterMs <= LONGEST_RTT_MS) return undefined;
  return `a SYN is sent again after a second: a handshake may take ${LONGEST_RTT_MS} ms at most here`;
}

export interface Tried {
  readonly count: number;
  /** Connections that stood, for the client. */
  readonly connected: readonly Connected[];
  readonly samples: readonly Sample[];
  readonly seen: readonly Seen[];
  /** SYN retries of the server's kernel before they double. */
  readonly linear: number;
}

interface Crowd {
  readonly backlog: number;
  readonly count: number;
  readonly waitMs: number;
  readonly acceptEveryMs?: number;
  /** Until nothing is on the way any more. */
  readonly lingerMs: number;
  /** Between two connections (default 0: all at once). */
  readonly everyMs?: number;
}

async function crowd(net: Network, asked: Crowd): Promise<Tried> {
  const { backlog, count, waitMs, acceptEveryMs, lingerMs, everyMs = 0 } = asked;
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [asker, listener] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  try {
    await net.capture();
    const linear = await listener.call<number>("linear");
    const port = await listener.call<number>("listen", server.address, backlog);
    if (acceptEveryMs !== undefined) await listener.call("acceptEvery", acceptEveryMs);
    const connected = await asker.call<Connected[]>("connect", server.address, port, count, everyMs, waitMs, lingerMs);
    // Taken before the ends, whose segments say nothing here.
    const seen = await net.capture();
    return { count, connected, samples: await listener.call<Sample[]>("close"), seen, linear };
  } finally {
    await Promise.all([asker.kill(), listener.kill()]);
    await Bun.sleep(lingerMs);
  }
}

export function admission(name: string, backlog: number, tried: Tried): Finding {
  const { answered, refused, wrong, clearlyWrong, lost } = synsOf(tried.seen, backlog);
  const { queued = 0, limit = 0, overflows = 0 } = tried.samples.at(-1) ?? {};
  const fits = queued === backlog + 1;
  const queue = `the kernel says ${queued} in a queue of ${limit}`;
  const stood = tried.connected.length;
  return {
    name,
    values: { tried: tried.count, admitted: queued, overflows },
    expected: `${backlog + 1} admitted`,
    // Each SYN by itself: what the wire has lost does not make it wrong. But too few may have come through to fill it.
    ...judged(
      wrong === 0 && fits,
      clearlyWrong > 0 || (!fits && lost === 0)
        ? undefined
        : wrong > 0
          ? busy("packets came too close to each other")
          : lostText(lost),
      wrong > 0
        ? `${times(wrong, "SYN")} met another fate than the queue says; ${queue}`
        : `${answered.size} ${answered.size === 1 ? "SYN was" : "SYNs were"} answered, ${refused.size} silently dropped at a full queue; ${queue}`,
    ),
    counted: {
      verdict: fits && stood === queued ? "ok" : "failed",
      why: `${queue}; the client has ${times(stood, "connection")}, and waits for the others`,
    },
    source: "listen(2); Linux sk_acceptq_is_full: the queue is full when it has more than the backlog",
    explain:
      "A connection that the program has not yet accepted waits in the accept queue. Linux compares with >, so a backlog of b admits b + 1. When the queue is full, a further SYN is not refused but ignored: the client believes that it was lost, and tries again. Each of its tries is an overflow for the kernel, so there are more overflows than connections that found no room.",
    capture: name,
  };
}

/** What is wrong is refused where the capture shows that the link or the machine did not do what was to be judged. */
function judged(isRight: boolean, excuse: string | undefined, why: string): { verdict: Verdict; why: string } {
  if (isRight || excuse === undefined) return { verdict: isRight ? "ok" : "failed", why };
  return { verdict: "refused", why: `${why}; ${excuse}` };
}

const lostText = (lost: number) => (lost === 0 ? undefined : `${times(lost, "packet")} lost on the way`);
const busy = (what: string) => `${what}: ${TOO_BUSY} for a verdict`;
const times = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

function retries({ conditions }: Lab, tried: Tried, capture: string): Finding {
  const { sent, answered } = synsOf(tried.seen);
  // Those that began first were watched for longer.
  const watched = WATCH_MS - TOLERANCE_MS - conditions.rttMs;
  const expected = retryTimes(tried.linear).filter((ms) => ms < watched);
  const lines = [...sent]
    .filter(([port]) => !answered.has(port))
    .map(([, times]) => times.slice(1).map((at) => (at - times[0]!) / 1e6))
    .map((line) => line.filter((ms) => ms < watched + TOLERANCE_MS));
  const isWithin = (most: number) => (line: readonly number[]) =>
    line.length === expected.length && line.every((ms, n) => Math.abs(ms - expected[n]!) < most);
  const isRight = isWithin(TOLERANCE_MS);
  const isLate = lines.length > 0 && lines.every(isWithin(LATE_MS));
  const seconds = (line: readonly number[]) => line.map((ms) => (ms / 1_000).toFixed(1)).join(", ");
  return {
    name: "SYN retries",
    values: { tried: lines.length, admitted: 0, overflows: tried.samples.at(-1)?.overflows ?? 0 },
    expected: `after ${seconds(expected)} s`,
    ...judged(
      lines.length > 0 && lines.every(isRight),
      lines.length === 0 ? busy("no SYN was dropped") : isLate ? busy("timers were late") : undefined,
      `a dropped SYN was sent again after ${seconds(lines.find((line) => !isRight(line)) ?? lines[0] ?? [])} s`,
    ),
    source: "RFC 6298 §2, §5; Linux tcp_syn_linear_timeouts",
    explain: `The first timeout is one second, and doubles. Since 6.5 Linux waits one second for the first ${tried.linear} retries before it begins to double (tcp_syn_linear_timeouts is ${tried.linear} here): a user waits in steps of a second.`,
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
  const { answered, lost, overlaps } = synsOf(tried.seen);
  const { queued = 0, overflows = 0 } = tried.samples.at(-1) ?? {};
  const stood = tried.connected.length;
  return {
    name: "listen(4), all at once",
    values: { tried: tried.count, admitted: queued, overflows },
    expected: "the client believes in more than the server has",
    ...judged(
      stood > queued && queued === 5,
      overlaps < tried.count - 1 ? busy("they did not come at once") : lostText(lost),
      `${answered.size} SYNs were answered; the client has ${times(stood, "connection")}, the server ${queued}`,
    ),
    source: "Linux tcp_v4_syn_recv_sock, tcp_abort_on_overflow(7)",
    explain:
      "Whether there is room is asked when the SYN comes, and again when the handshake ends. Of a burst all SYNs find an empty queue; the last acknowledgements do not fit and are ignored. The client has a connection that the server does not have: what it sends is not answered until the server's SYN-ACK has been repeated and there is room, or it is reset.",
    capture: "all at once",
  };
}

export function slowly(tried: Tried, acceptEveryMs: number): Finding {
  const { refused, lost } = synsOf(tried.seen);
  const stood = tried.connected.length;
  const p = (part: number) =>
    quantile(
      tried.connected.map(({ ms }) => ms),
      part,
    ).toFixed(0);
  const late = tried.connected.filter(({ retries }) => retries > 0).length;
  const all = `a connection took ${p(0)} to ${p(1)} ms (median ${p(0.5)})`;
  return {
    name: `accepts one each ${Math.round(acceptEveryMs)} ms`,
    values: { tried: tried.count, admitted: stood, overflows: tried.samples.at(-1)?.overflows ?? 0 },
    expected: "all, the late ones by retries",
    ...judged(
      stood === tried.count && refused.size > 0,
      refused.size === 0 ? busy("they came so slowly that the queue was never full") : lostText(lost),
      `${refused.size} of ${tried.count} met a full queue and needed a second SYN or more; ${all}`,
    ),
    counted: {
      verdict: stood === tried.count && late > 0 ? "ok" : "failed",
      why: `${late} of ${tried.count} needed a second SYN or more, by the client's kernel; ${all}`,
    },
    source: "listen(2), RFC 6298 §2",
    explain:
      "A server that accepts slowly makes its clients wait twice: in the queue, and, when that is full, for the next retry of their SYN, which comes a whole second later however soon there is room.",
    capture: "slow acceptor",
  };
}

function queuePlot(samples: readonly Sample[], over: Lab["over"]): Plot {
  const start = samples[0]?.at ?? 0;
  const line = (name: string, of: (sample: Sample) => number) => ({
    name,
    points: samples.map((sample) => [(sample.at - start) / 1e9, of(sample)] as const),
  });
  return {
    title: `listen(4): the queue${over === "network" ? ", and what the kernel counts" : ""}`,
    kind: "steps",
    x: { title: "time", unit: "s" },
    y: { title: "connections" },
    series: [
      line("in the accept queue", ({ queued }) => queued),
      line("its limit", ({ limit }) => limit),
      // Over loopback it is that of the whole machine.
      ...(over === "network" ? [line("SYNs dropped (ListenDrops)", ({ drops }) => drops)] : []),
    ],
  };
}
