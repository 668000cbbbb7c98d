/** The findings: a line for each way at the main rate, plots over all rates, and who wins where. */
import type { Capture, Column, Finding, Findings, Plot } from "../../experiment.ts";
import { median } from "../../units.ts";
import { type Circumstances, expectedOf, type Judged, judge, noiseOf } from "./judge.ts";
import type { FlowRun, Idle } from "./reading.ts";
import { FASTER, HELD_MS, MAIN_RATE, type Rate, SHORT_HELD_MS, type Way } from "./ways.ts";

type Told = NonNullable<FlowRun["told"]>;

export interface ReportInput {
  readonly flows: readonly FlowRun[];
  readonly circumstances: Circumstances;
  /** Lines of all connections; none without TLS. */
  readonly keyLog: readonly string[];
  readonly hosts: Capture["hosts"];
  readonly check: Findings["check"];
  readonly rates: readonly Rate[];
  readonly ways: readonly Way[];
}

export function report(input: ReportInput): Findings {
  const { flows, circumstances, keyLog, hosts, check, rates, ways } = input;
  const main = rates.find(({ perSecond }) => perSecond === MAIN_RATE) ?? rates[0]!;
  const mainOf = (way: Way) => flows.find(({ way: own, told }) => own === way && told?.rate === main)!;
  return {
    columns: columnsOf(rates, main, circumstances.isTls),
    findings: ways.map((way) => findingOf(way, mainOf(way).told!, flows, circumstances)),
    check,
    plots: plotsOf(flows, ways),
    captures: ways.map((way): Capture => {
      const { seen, told } = mainOf(way);
      const marks = told!.at.map((at, n) => ({ at, host: "server", text: `event ${n + 1}` }));
      return { name: way.name, hosts, seen, marks, ...(keyLog.length > 0 && { keyLog: `${keyLog.join("\n")}\n` }) };
    }),
    notes: notesOf(input, main),
  };
}

function findingOf(way: Way, told: Told, flows: readonly FlowRun[], circumstances: Circumstances): Finding {
  const own = flows.filter((flow) => flow.way === way);
  const all = own.flatMap((flow) => flow.told ?? []);
  const idle = own.find((flow) => flow.idle)!.idle!;
  const { rate, measured, opening, received } = told;
  const { layers } = measured;
  const each = (bytes: number) => bytes / rate.events;
  const judged = worst(
    all
      .map((one) => at(one, judge(one, circumstances), all.length > 1))
      .concat(judgeIdle(way, idle, noiseOf(circumstances))),
  );
  return {
    name: way.name,
    values: {
      ms: received,
      asks: Math.round(100 * each(measured.asks)),
      packets: round(each(measured.packets), 1),
      bytes: each(measured.bytes),
      link: each(layers.link),
      ip: each(layers.ip),
      tcp: each(layers.tcp),
      ...(circumstances.isTls && { tls: each(layers.tls) }),
      framing: each(layers.framing),
      payload: each(layers.payload),
      opening: opening.bytes,
      idleBytes: idle.bytesPerMinute,
      idlePackets: round(idle.packetsPerMinute, 1),
      msByRate: all.map((one) => Math.round(median(one.received)).toLocaleString("en")).join(" · "),
      bytesByRate: all.map((one) => Math.round(perEvent(one)).toLocaleString("en")).join(" · "),
    },
    expected: expectedOf(told, circumstances),
    verdict: judged.verdict,
    why: judged.problem ?? whyOf(told, idle),
    source: way.source,
    explain: way.explain,
    capture: way.name,
  };
}

/** What it spent its bytes on. */
function whyOf({ way, rate, measured, answers, late, rest }: Told, idle: Idle): string {
  const { asks, bytes, packets, acks, layers } = measured;
  const own = (part: number) => `${Math.round((part / bytes) * 100)}%`;
  const headers = `${own(layers.link + layers.ip + layers.tcp)} are headers of packets`;
  switch (way.theory) {
    case "wait": {
      const after = Math.max(...late.map((ms, n) => ms - rest[n]!));
      return `one request, and one answer with all ${rate.events} events ${after.toFixed(1)} ms after the end of the job; ${own(layers.payload)} of its bytes are events`;
    }
    case "poll": {
      const empty = Math.max(0, asks - answers);
      return `${asks} polls, ${empty} of them for nothing, ${Math.round(layers.framing / asks)} bytes of HTTP each: ${own(layers.framing)} of all; ${headers}`;
    }
    case "held":
      return `${asks} requests for ${answers} answers, ${Math.round(layers.framing / Math.max(1, asks))} bytes of HTTP each: ${own(layers.framing)} of all; ${headers}`;
    case "push": {
      const per = (count: number) => (count / rate.events).toFixed(1);
      const around = Math.round(layers.framing / rate.events);
      const said = asks === 0 ? "nothing is asked" : `${asks} messages of credit`;
      const quiet = Number.isNaN(idle.everyMs) ? "" : `; quiet it sends ${way.idle.what}`;
      return `${said}; ${per(packets - acks)} segments with data and ${per(acks)} bare ACKs an event; ${around} bytes around the event; ${headers}${quiet}`;
    }
  }
}

/** Something passes as often as its timers say, or nothing does. */
function judgeIdle(
  { name, idle: { timersMs } }: Way,
  { everyMs, setMs, bytesPerMinute }: Idle,
  noise: string | undefined,
): Judged {
  const none: Judged = { verdict: "ok", problem: undefined };
  const isQuiet = Number.isNaN(everyMs);
  if (timersMs.length === 0) {
    return isQuiet ? none : { verdict: "failed", problem: `${name} sends while it waits` };
  }
  if (isQuiet || bytesPerMinute === 0) {
    return { verdict: "refused", problem: "too little passed on the idle connection while it was looked at" };
  }
  // Timers of servers turn in ticks, and what comes together counts once.
  if (everyMs > setMs * 0.6 && everyMs < setMs * 1.8) return none;
  const [seen, set] = [Math.round(everyMs), Math.round(setMs)];
  const problem = `idle it sends each ${seen} ms, and was set to ${set} ms`;
  return noise === undefined ? { verdict: "failed", problem } : { verdict: "refused", problem: `${problem}; ${noise}` };
}

function at({ rate }: Told, judged: Judged, isOneOfMany: boolean): Judged {
  if (judged.problem === undefined || !isOneOfMany) return judged;
  return { ...judged, problem: `at ${rate.perSecond}/s: ${judged.problem}` };
}

function worst(judged: readonly Judged[]): Judged {
  const find = (verdict: Judged["verdict"]) => judged.find((each) => each.verdict === verdict);
  return find("failed") ?? find("refused") ?? judged[0]!;
}

function columnsOf(rates: readonly Rate[], main: Rate, isTls: boolean): Column[] {
  const bytes = (key: string, title: string, what: string): Column => ({ key, title, unit: "bytes", what });
  const each = rates.map(({ perSecond }) => perSecond).join(" · ");
  const asks = isTls
    ? "records that the client sends; what is in them is not seen"
    : "requests, or messages, of the client";
  return [
    {
      key: "ms",
      title: `ms at ${main.perSecond}/s`,
      unit: "ms",
      what: "from the event on the server to the client's program, on one clock; the median",
    },
    { key: "msByRate", title: `ms at ${each}/s`, unit: "text", what: "the medians at all rates" },
    {
      key: "asks",
      title: isTls ? "records up for 100" : "requests for 100",
      unit: "count",
      what: `${asks}, for 100 events`,
    },
    { key: "packets", title: "packets", unit: "count", what: "both ways, for each event" },
    bytes(
      "bytes",
      `bytes at ${main.perSecond}/s`,
      "both ways, for each event, with all layers; what passes before the first event is not in it",
    ),
    { key: "bytesByRate", title: `bytes at ${each}/s`, unit: "text", what: "for each event, at all rates" },
    bytes("link", "link", "Ethernet headers, for each event"),
    bytes("ip", "IP", "IPv4 headers"),
    bytes("tcp", "TCP", "TCP headers with options, and what was sent again"),
    ...(isTls ? [bytes("tls", "TLS", "headers and tags of records")] : []),
    bytes("framing", "framing", "HTTP, frames, cursors, names: what is around the events, requests with it"),
    bytes("payload", "payload", "the JSON of the event"),
    bytes(
      "opening",
      "to open",
      "bytes once, until the first event can come; of request/response without the request itself",
    ),
    bytes("idleBytes", "idle bytes/min", "while nothing happens, with the timers as they are by default"),
    { key: "idlePackets", title: "idle packets/min", unit: "count" },
  ];
}

function plotsOf(flows: readonly FlowRun[], ways: readonly Way[]): Plot[] {
  const series = (shown: readonly Way[], value: (told: Told) => number) =>
    shown.map((way) => ({
      name: way.name,
      points: flows.flatMap(({ way: own, told }) =>
        own === way && told ? [[told.rate.perSecond, value(told)] as const] : [],
      ),
    }));
  // A line that is ten times as high as the others would hide what is between them.
  const isLogarithmic = true;
  const x = { title: "events", unit: "1/s", isLogarithmic };
  return [
    {
      title: "bytes for each event",
      kind: "lines",
      x,
      y: { title: "bytes", unit: "B", isLogarithmic },
      series: series(ways, perEvent),
    },
    {
      title: "from the event to the client (request/response waits for the end of the job, and is left out)",
      kind: "lines",
      x,
      y: { title: "median", unit: "ms", isLogarithmic },
      series: series(
        ways.filter(({ theory }) => theory !== "wait"),
        ({ received }) => median(received),
      ),
    },
  ];
}

function notesOf({ flows, circumstances, rates }: ReportInput, main: Rate): string[] {
  const { rttMs, isTls, programsLateMs } = circumstances;
  const wins = rates.map((rate) => {
    const here = flows.flatMap(({ told }) => (told?.rate === rate ? [told] : []));
    const groups: readonly (readonly [string, (told: Told) => boolean])[] = [
      ["", () => true],
      ["of those that tell before the end ", ({ way }) => way.theory !== "wait"],
      ["of those that tell within 3/2 RTT ", ({ received }) => median(received) <= 1.5 * rttMs + 10],
    ];
    let last: Told | undefined;
    const parts = groups.flatMap(([of, isIn]) => {
      const best = least(here.filter(isIn), perEvent);
      if (!best || best === last) return [];
      last = best;
      return [`${of}${best.way.name} (${Math.round(perEvent(best)).toLocaleString("en")} bytes)`];
    });
    return `at ${rate.perSecond}/s ${parts.join(", ")}`;
  });
  return [
    `Fewest bytes for each event: ${wins.join("; ")}.`,
    `Times are of one clock: the event before it is said, the packets on the wire, and the program that has it. ${isTls ? "With TLS the verdict on time is by the program, as the capture hides the events." : "The verdict is by the packets that carry the event."} Programs ran at most ${programsLateMs.toFixed(1)} ms late (95%).`,
    `Events: ${rates.map(({ perSecond, events }) => `${events} at ${perSecond}/s`).join(", ")}; the columns without a rate are at ${main.perSecond}/s. All clients run side by side, each on connections and a port of its own.`,
    `Idle costs are those of heartbeats and empty answers as captured, as many as there are in a minute by default. To see them soon, the timers of the connections that stand idle are ${FASTER} times as fast, and a request is held for ${SHORT_HELD_MS / 1e3} s instead of ${HELD_MS / 1e3} s; the pause of short polling is as it is. The project's own client lets that pause grow up to tenfold while nothing is new; here it does not.`,
    "Keep-alives of TCP itself were not waited for: they come later than it was looked at connections that stand idle.",
    ...(isTls
      ? ["The clients speak through a relay on their own host that does TLS by node:tls, since fetch tells no secrets."]
      : []),
  ];
}

function least(told: readonly Told[], value: (told: Told) => number): Told | undefined {
  return told.toSorted((a, b) => value(a) - value(b))[0];
}

const perEvent = ({ measured, rate }: Told) => measured.bytes / rate.events;
const round = (value: number, digits: number) => Number(value.toFixed(digits));
