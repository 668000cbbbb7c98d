import { makeCertificate } from "../../../src/net/certificate.ts";
import { clockOffset } from "../../capture/file.ts";
import type { Conditions } from "../../conditions.ts";
import { clientLink } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Network } from "../../experiment.ts";
import { harEntry } from "../../report/har.ts";
import { portsOf, quicStory } from "../../tls/quic.ts";
import { tcpStory } from "../../tls/records.ts";
import { median } from "../../units.ts";
import type { HostSpec, Program, Seen } from "../../wire/index.ts";
import type { Visit, Visited } from "./client.ts";
import { type Evidence, evidenceOf, judge } from "./evidence.ts";
import type { Handled, Serving } from "./server.ts";
import { expectation, VARIANTS, type Variant, WAYS, type Way } from "./ways.ts";

/** Farther from theory than this is not as expected. */
const TOLERANCE = 0.15;
/** Below, what programs take is no small part of a round trip. */
const LEAST_RTT_MS = 50;
const EARLY_BYTES = 16_384;
/** Further runs when the programs were late in so many that nothing can be said: a busy machine. */
const SPARE_RUNS = 3;
/** Two at a time; the kernel keeps the cookies of Fast Open by namespace, so each lane has one such way. */
const LANES: readonly (readonly Way[])[] = [WAYS.filter((_, n) => n % 2 === 1), WAYS.filter((_, n) => n % 2 === 0)];

export const https: Experiment = {
  name: "https",
  title: "six ways to HTTPS",
  question: "How many round trips until a response comes, on the first visit and on the next?",
  variants: VARIANTS,
  overLoopback: false,
  async run({ conditions, network, progress, variant: named, signal }) {
    const variant = named as Variant | undefined;
    const net = await network!({ hosts: hostsOf(conditions) });
    try {
      const server = await net.hosts["server"]!.start(new URL("./server.ts", import.meta.url));
      const served = await serveAll(server, net.hosts["server"]!.address, variant);
      const samples = new Map<Way, Sample[]>(WAYS.map((way) => [way, []]));
      const refusal = net.refusal ?? refusalOf(conditions);
      const link = { rttMs: net.check?.rttMs ?? conditions.rttMs, askedMs: conditions.rttMs };
      const conclude = () => WAYS.map((way) => finding(way, samples.get(way)!, link, variant, refusal));
      let runs = 0;
      for (; runs < conditions.runs + SPARE_RUNS && !signal.aborted; runs++) {
        const isSpare = runs >= conditions.runs;
        if (isSpare && (refusal !== undefined || conclude().every(({ values }) => values["late"] === 0))) break;
        const run = runs;
        progress(isSpare ? "once more: the machine was late" : `run ${run + 1} of ${conditions.runs}`);
        const visits = await Promise.all(
          LANES.map((ways, lane) => visitAll(net, clientName(run, lane), ways, served, variant)),
        );
        const handled = await server.call<Handled[]>("handled");
        const seen = await net.capture();
        for (const visit of visits.flat())
          samples.get(visit.way)!.push(sampleOf(visit, seen, handled, (conditions.rttMs / 2) * 1e6));
      }
      const findings = conclude();
      return {
        columns: [
          {
            key: "first",
            title: "first",
            unit: "rt",
            what: "round trips to the first byte of the response: first visit",
          },
          { key: "again", title: "again", unit: "rt", what: "the same for the next visit" },
          {
            key: "bytes",
            title: "bytes up + down",
            unit: "text",
            what: "of IP packets until the first byte of the response, on the first visit / the next",
          },
          { key: "packets", title: "packets", unit: "text", what: "until the first byte of the response" },
        ],
        findings,
        check: net.check,
        captures: WAYS.map((way) => captureOf(way, samples.get(way)!, net)),
        har: [...samples.values()].flat().flatMap(harOf),
        plots: [
          {
            title: "Round trips to the first byte of the response",
            kind: "dots",
            x: { title: WAYS.map(({ name }, n) => `${n}: ${name}`).join(", ") },
            y: { title: "round trips" },
            series: (["first", "again"] as const).map((name) => ({
              name,
              points: findings.flatMap(({ values }, n) =>
                ((values[name] ?? []) as readonly number[]).map((value) => [n, value] as const),
              ),
            })),
          },
        ],
        notes: [
          `TLS over TCP by ${await server.call<string>("version")} with memory BIOs; QUIC by node:quic of Bun ${Bun.version}`,
          "QUIC + HTTP/3 comes again without a ticket: node:quic resumes only together with early data",
          "each first visit: a namespace without cookies, a context of TLS without sessions; names are not looked up",
          ...(runs > conditions.runs ? [`${runs - conditions.runs} more runs, because the machine was late`] : []),
          ...(variant === "pq"
            ? ["over TCP the ClientHello is filled with names of protocols to the size of one with X25519MLKEM768"]
            : []),
        ],
      };
    } finally {
      await net.stop();
    }
  },
};

const clientName = (run: number, lane: number) => (run + lane === 0 ? "client" : `client-${run + 1}-${lane + 1}`);

function hostsOf(conditions: Conditions): Record<string, HostSpec> {
  const { congestion } = conditions;
  const client: HostSpec = { ...clientLink(conditions), congestion, sysctls: { "ipv4/tcp_fastopen": "1" } };
  // 1 client, 2 server, 0x400 for every listener without asking it.
  const server: HostSpec = { congestion, sysctls: { "ipv4/tcp_fastopen": "1027" } };
  const names = Array.from({ length: conditions.runs + SPARE_RUNS }, (_, run) =>
    LANES.map((_, lane) => clientName(run, lane)),
  );
  const [first = "client", ...rest] = names.flat();
  return { [first]: client, server, ...Object.fromEntries(rest.map((name) => [name, client])) };
}

async function serveAll(server: Program, address: string, variant: Variant | undefined): Promise<Map<Way, number>> {
  const one = makeCertificate(["localhost"], Date.now());
  const certificates = [one.cert];
  // Certificates with many names stand for those of authorities: what counts is the size of the flight.
  if (variant === "chain") {
    const names = Array.from({ length: 40 }, (_, n) => `name-${n}.of.a.long.chain.example`);
    while (Buffer.byteLength(certificates.join("")) < (5_000 * 4) / 3) {
      certificates.push(makeCertificate(names, Date.now()).cert);
    }
  }
  const ports = new Map<Way, number>();
  for (const way of WAYS) {
    const serving: Serving = {
      certificates,
      key: one.key,
      version: way.version,
      // On QUIC the platform gives no tickets without; a client that does not want early data sends none.
      maxEarlyData: (way.early || way.isQuic) && variant !== "ticket-only" ? EARLY_BYTES : 0,
      retry: variant === "retry",
      ...(variant === "hrr" && { groups: "P-256" }),
      ...(variant === "pq" && way.isQuic && { groups: "X25519MLKEM768:X25519" }),
    };
    ports.set(way, await server.call<number>(way.isQuic ? "serveQuic" : "serveTcp", address, serving));
  }
  return ports;
}

interface Visits {
  readonly way: Way;
  /** Index of the client's host, and the server's port. */
  readonly client: number;
  readonly port: number;
  readonly path: string;
  readonly first: Visited;
  readonly again: Visited | undefined;
}

/** A new process in its own namespace visits each way for the first time, and again. */
async function visitAll(
  net: Network,
  name: string,
  ways: readonly Way[],
  ports: ReadonlyMap<Way, number>,
  variant: Variant | undefined,
): Promise<Visits[]> {
  const host = net.hosts[name]!;
  const program = await host.start(new URL("./client.ts", import.meta.url));
  const client = Object.keys(net.hosts).indexOf(name);
  const visits: Visits[] = [];
  try {
    for (const way of ways) {
      const port = ports.get(way)!;
      const path = `/${name}/${port}`;
      const visit: Visit = {
        address: net.hosts["server"]!.address,
        port,
        path: `${path}/first`,
        version: way.version,
        fastOpen: way.fastOpen,
        early: way.early,
        requests: way.isReused ? 2 : 1,
        ...(variant === "hrr" && { groups: "X25519:P-256" }),
        ...(variant === "pq" && (way.isQuic ? { groups: "X25519MLKEM768:X25519" } : { alpn: FILLING })),
      };
      const call = way.isQuic ? "visitQuic" : "visitTcp";
      const make = (how: Visit) =>
        program.call<Visited>(call, how).catch((cause: Error) => {
          throw new Error(`${way.name}: ${cause.message}`, { cause });
        });
      const first = await make(visit);
      const again = way.isReused
        ? undefined
        : await make({
            ...visit,
            path: `${path}/again`,
            ...(first.session !== undefined && { session: first.session }),
            forge: variant === "ticket-only" && way.early,
          });
      visits.push({ way, client, port, path, first, again });
    }
  } finally {
    await program.stop();
  }
  return visits;
}

/** 1,184 bytes, as much as an encapsulation key of ML-KEM-768 (FIPS 203 §8), in names of protocols. */
const FILLING = ["http/1.1", ...Array.from({ length: 5 }, (_, n) => `${n}`.padEnd(235, "fills-the-hello-"))];

/** The requests of a visit, with the phases that the capture shows. */
function harOf({ visits, first, again }: Sample): object[] {
  const { way, port, path } = visits;
  const offset = clockOffset();
  const entry = (which: "first" | "again", evidence: Evidence | undefined, status: number | undefined) => {
    if (!evidence || status === undefined) return [];
    const { startNs, connectNs, requestNs, ns } = evidence;
    const connect = connectNs === undefined ? undefined : Math.min(connectNs, requestNs);
    return [
      harEntry({
        startedAt: new Date(Number((BigInt(Math.round(startNs)) + offset) / 1_000_000n)),
        method: "GET",
        url: `https://server:${port}${path}/${which}`,
        httpVersion: way.isQuic ? "h3" : "HTTP/1.1",
        status,
        phases: {
          ...(connect !== undefined && { connect: connect / 1e6 }),
          tls: (requestNs - (connect ?? 0)) / 1e6,
          wait: (ns - requestNs) / 1e6,
          receive: 0,
        },
        comment: `${way.name}, ${which === "first" ? "first visit" : "again"}`,
      }),
    ];
  };
  return [...entry("first", first, visits.first.status), ...entry("again", again, visits.again?.status)];
}

interface Sample {
  readonly visits: Visits;
  readonly first: Evidence | undefined;
  readonly again: Evidence | undefined;
  readonly handledEarly: boolean;
  readonly seen: readonly Seen[];
}

function sampleOf(visits: Visits, all: readonly Seen[], handled: readonly Handled[], delayNs: number): Sample {
  const { way, client, port, path } = visits;
  const flows = new Map<number, Seen[]>();
  for (const seen of all) {
    const ports = seen.from === client || seen.to === client ? portsOf(seen) : undefined;
    if (!ports || (ports.source !== port && ports.destination !== port)) continue;
    const own = ports.source === port ? ports.destination : ports.source;
    flows.set(own, [...(flows.get(own) ?? []), seen]);
  }
  const [first = [], again = []] = [...flows.values()];
  const story = way.isQuic ? quicStory : tcpStory;
  return {
    visits,
    first: evidenceOf(story(first, client, visits.first.keyLog), delayNs),
    again: visits.again && evidenceOf(story(again, client, visits.again.keyLog), delayNs),
    handledEarly: handled.some((each) => each.isEarly && each.path.startsWith(`${path}/again`)),
    seen: [...first, ...again],
  };
}

function finding(
  way: Way,
  samples: readonly Sample[],
  /** As the echoes measured it, and as the wire was told. */
  { rttMs, askedMs }: { readonly rttMs: number; readonly askedMs: number },
  variant: Variant | undefined,
  refusal: string | undefined,
): Finding {
  const expected = expectation(way, variant);
  const trips = (ns: number | undefined) => (ns ?? Number.NaN) / 1e6 / rttMs;
  const first = samples.map((each) => trips(each.first?.ns));
  const again = samples.map((each) => trips(way.isReused ? each.first?.nextNs : each.again?.ns));
  const judged = samples.map(({ first, again, visits, handledEarly }) => {
    const words = { claimsEarly: visits.again?.claimsEarly ?? false, handledEarly };
    return first && judge(way, first, again, words);
  });
  // On the way alone: when this is not as expected, it is no matter of a busy machine.
  const passed = (ns: number | undefined, lateNs = 0) => ((ns ?? Number.NaN) - lateNs) / 1e6 / askedMs;
  const onWay = {
    first: samples.map((each) => passed(each.first?.ns, each.first?.lateNs)),
    again: samples.map(({ first, again }) =>
      way.isReused ? passed(first?.nextNs, first?.nextLateNs) : passed(again?.ns, again?.lateNs),
    ),
  };
  const isNear = (values: readonly number[], theory: number) => Math.abs(median(values) - theory) <= TOLERANCE;
  const areNear = (of: { readonly first: readonly number[]; readonly again: readonly number[] }) =>
    isNear(of.first, expected.first) && isNear(of.again, expected.again);
  // A forged claim is what the variant `ticket-only` is there to catch.
  const isHonest = judged.every((each) => each && (!each.isContradicted || variant === "ticket-only"));
  const isLate = !areNear({ first, again }) && areNear(onWay);
  const lacksRetry = variant === "retry" && way.isQuic && samples.every((each) => each.first?.isRetried === false);
  const reason =
    refusal ??
    (lacksRetry
      ? `no Retry in the capture: node:quic of Bun ${Bun.version} takes validateAddress and does nothing (bun #35746)`
      : isLate
        ? busyText(rttMs, askedMs, Math.max(median(first) - median(onWay.first), median(again) - median(onWay.again)))
        : undefined);
  const isGood = areNear({ first, again }) && isHonest;
  const why = judged[0]?.why ?? "no response in the capture";
  const middle = (of: (each: Evidence) => number, which: "first" | "again") =>
    Math.round(median(samples.flatMap((each) => (each[which] ? [of(each[which])] : [])))).toLocaleString("en");
  const both = (of: (which: "first" | "again") => string) =>
    way.isReused ? of("first") : `${of("first")} / ${of("again")}`;
  return {
    name: way.name,
    values: {
      first,
      again,
      bytes: both((which) => `${middle(({ up }) => up, which)} + ${middle(({ down }) => down, which)}`),
      packets: both((which) => middle(({ packets }) => packets, which)),
      late: isLate ? 1 : 0,
      firstOnWay: onWay.first,
      againOnWay: onWay.again,
    },
    expected: `${expected.first} / ${expected.again}`,
    verdict: reason !== undefined ? "refused" : isGood ? "ok" : "failed",
    why: reason === undefined ? why : `${reason}; ${why}`,
    source: way.source,
    explain: way.explain,
    capture: way.name,
  };
}

function busyText(rttMs: number, askedMs: number, trips: number): string {
  const what =
    trips > TOLERANCE
      ? `of it ${trips.toFixed(2)} round trips in programs and timers, not on the way`
      : `the echoes took ${rttMs.toFixed(1)} ms on a link of ${askedMs} ms`;
  return `${what}: this machine is too busy for a verdict`;
}

/** Theory counts round trips; what else delays is not in it. */
function refusalOf({ rttMs, loss, jitterMs, rateBps, reorder, duplicate, drops }: Conditions): string | undefined {
  if (rttMs < LEAST_RTT_MS) return `round trips are counted at ${LEAST_RTT_MS} ms and more`;
  const isClean = !loss && jitterMs === 0 && rateBps === undefined && reorder === 0 && duplicate === 0;
  return isClean && drops.length === 0 ? undefined : "theory counts round trips of a link that only delays";
}

/** The first run of a way, as its client and the server alone on the network. */
function captureOf(way: Way, samples: readonly Sample[], net: Network): Capture {
  const [sample] = samples;
  const keyLog = [...(sample?.visits.first.keyLog ?? []), ...(sample?.visits.again?.keyLog ?? [])];
  const hosts = Object.values(net.hosts);
  const client = sample?.visits.client ?? 0;
  const index = (host: number) => (host === client ? 0 : 1);
  return {
    name: way.name,
    hosts: [hosts[client]!, net.hosts["server"]!].map(({ address }, n) => ({
      name: n === 0 ? "client" : "server",
      address,
    })),
    seen: (sample?.seen ?? []).map((each) => ({ ...each, from: index(each.from), to: index(each.to) })),
    keyLog: `${keyLog.join("\n")}\n`,
  };
}
