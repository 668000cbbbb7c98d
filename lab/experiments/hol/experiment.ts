import { developmentCertificate } from "../../../src/net/certificate.ts";
import { connectionsOf } from "../../capture/segments.ts";
import { type Conditions, clientLink } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Lab, Network } from "../../experiment.ts";
import { median, quantile } from "../../units.ts";
import { scratch } from "../../wire/scratch.ts";
import { type Arrivals, stalls } from "./stalls.ts";
import type { Target } from "./visit.ts";

export const STREAMS = { bytes: 600, every: 20 } as const;
const MOST = 10;
/** Smaller packets of the server hold nothing of a stream. */
const DATA_BYTES = 200;
const OBJECTS = 30;

interface Way {
  readonly name: string;
  readonly protocol: Target["protocol"];
  readonly streams: number;
  readonly expected: string;
  readonly isRight: (stalled: number) => boolean;
  readonly source: string;
  readonly explain: string;
}

export const WAYS: readonly Way[] = [
  {
    name: "HTTP/1.1, six connections",
    protocol: "http1.1",
    streams: 6,
    expected: "1 of 6",
    isRight: (stalled) => stalled === 1,
    source: "RFC 9112 §9.3.2",
    explain:
      "Each stream has a connection of its own, so a lost segment stops one. The others of a browser's ten would not even have begun: it opens six.",
  },
  {
    name: "HTTP/2",
    protocol: "http2",
    streams: MOST,
    expected: "10 of 10",
    isRight: (stalled) => stalled === MOST,
    source: "RFC 9113 §5, RFC 9293 §3.4",
    explain:
      "All streams are in one TCP connection, which delivers bytes in order: what came after the lost segment is there, in the kernel, and is not given to anybody until the gap is filled. One loss stops all (head-of-line blocking).",
  },
  {
    name: "HTTP/3",
    protocol: "http3",
    streams: MOST,
    expected: "at most 2 of 10",
    isRight: (stalled) => stalled <= 2,
    source: "RFC 9000 §2.2, RFC 9114 §2",
    explain:
      "QUIC orders the bytes of each stream for itself: a lost packet stops those whose bytes were in it, one or two. The others go on.",
  },
];

export const hol: Experiment = {
  name: "hol",
  title: "head-of-line blocking: streams that stand still for each lost packet",
  question: "How many streams does one lost packet stop over HTTP/1.1, 2 and 3?",
  defaults: { rttMs: 50, loss: 0.01, runs: 2 },
  variants: { streams: "the streams alone, without the pages" },
  overLoopback: "as loopback loses nothing",
  async run(lab) {
    using folder = scratch("hol");
    const directory = folder.path;
    const { cert, key } = await developmentCertificate({ directory });
    const findings: Finding[] = [];
    const captures: Capture[] = [];
    const series: { name: string; points: (readonly [number, number])[] }[] = [];
    let check: Network["check"];
    // Side by side, each on a network of its own: little is sent.
    const streamed = await Promise.all(WAYS.map((way) => streamWay(lab, way, { cert, key })));
    for (const [index, way] of WAYS.entries()) {
      const { stalled, losses, connections, capture, refusal } = streamed[index]!;
      check ??= streamed[index]!.check;
      const middle = median(stalled);
      findings.push({
        name: way.name,
        values: { stalled, most: Math.max(...stalled), of: way.streams, losses, page: "" },
        expected: way.expected,
        verdict: refusal || stalled.length < 5 ? "refused" : way.isRight(middle) ? "ok" : "failed",
        why:
          refusal ??
          (stalled.length < 5
            ? `only ${stalled.length} losses stood alone: too few to judge`
            : `${connections} ${connections === 1 ? "connection" : "connections"}; ${stalled.length} of ${losses} losses stood alone, and stopped ${middle} of ${way.streams} streams (median)`),
        source: way.source,
        explain: way.explain,
        capture: way.name,
      });
      captures.push(capture);
      series.push({ name: way.name, points: stalled.map((count) => [index, count] as const) });
    }
    lab.progress(`pages of ${OBJECTS} objects`);
    const pages = lab.variant === "streams" ? [] : await pagesOf(lab, { cert, key });
    for (const [index, times] of pages.entries()) {
      const way = WAYS[index]!;
      findings.push({
        name: `page, ${way.name.replace(", six connections", "")}`,
        values: { stalled: "", most: "", of: "", losses: "", page: times },
        verdict: "none",
        why: `${OBJECTS} objects of 20 kB: ${quantile(times, 0).toFixed(0)} to ${quantile(times, 1).toFixed(0)} ms over ${times.length} seeds`,
        explain:
          "The time of a whole page under loss has no reliable winner: it depends on where the losses fall, and the versions trade places from seed to seed (arXiv 2310.09423). Look at the spread, not at one run.",
      });
    }
    return {
      columns: [
        {
          key: "stalled",
          title: "stalled",
          unit: "count",
          what: "streams that one lost packet stopped, the median over losses that stand alone",
        },
        { key: "most", title: "most", unit: "count" },
        { key: "of", title: "of", unit: "count" },
        { key: "losses", title: "losses", unit: "count", what: "packets with data from the server" },
        { key: "page", title: "page", unit: "ms", what: `until ${OBJECTS} objects of 20 kB have come` },
      ],
      findings,
      check,
      captures,
      plots: [
        {
          title: "streams that stood still for each loss",
          kind: "dots",
          x: { title: "version" },
          y: { title: "streams" },
          series,
        },
      ],
      notes: [
        `Each stream says ${STREAMS.bytes} bytes every ${STREAMS.every} ms. Seeds ${lab.conditions.seed} to ${lab.conditions.seed + lab.conditions.runs - 1}; losses are of the server's packets only.`,
        `HTTP/1.1 and 2: Bun.serve; HTTP/3: node:quic of Bun ${Bun.version}, with the same control of congestion.`,
      ],
    };
  },
};

type Pem = { readonly cert: string; readonly key: string };

/** Both programs, and where the server of this way is. */
async function begin(net: Network, { protocol }: Way, { congestion }: Conditions, pem: Pem) {
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [reader, sender] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  const { address } = server;
  const port =
    protocol === "http3"
      ? await sender.call<number>("serveQuic", address, pem, congestion)
      : await sender.call<number>("serve", address, protocol === "http2" ? pem : null);
  const target: Target = { protocol, address, port, congestion };
  return { client, server, reader, target };
}

/** Loss in the direction of the data only: a lost acknowledgement stops nobody. */
function downLoss(conditions: Conditions) {
  const { up, down } = clientLink(conditions);
  const { loss: _, ...rest } = up ?? {};
  const { congestion } = conditions;
  return { client: { up: rest, ...(down && { down }), congestion }, server: { congestion } };
}

interface Streamed {
  readonly stalled: readonly number[];
  readonly losses: number;
  readonly connections: number;
  readonly capture: Capture;
  readonly check: Network["check"];
  readonly refusal: string | undefined;
}

async function streamWay({ conditions, network, progress }: Lab, way: Way, pem: Pem): Promise<Streamed> {
  const stalled: number[] = [];
  let losses = 0;
  let last: Omit<Streamed, "stalled" | "losses"> | undefined;
  for (let run = 0; run < conditions.runs; run++) {
    progress(`streams, seed ${conditions.seed + run}`);
    const net = await network!({ hosts: downLoss(conditions), seed: conditions.seed + run, echoes: last ? 0 : 50 });
    try {
      const { client, server, reader, target } = await begin(net, way, conditions, pem);
      const query = { ...STREAMS, count: SECONDS * (1_000 / STREAMS.every) };
      const came = await reader.call<[number, number][][]>("stream", target, way.streams, query);
      const seen = await net.capture();
      const keyLog = await reader.call<string[]>("keyLog");
      const lostAt = seen.flatMap(({ from, drop, at, size }) =>
        from === 1 && drop === "loss" && size > DATA_BYTES ? [at] : [],
      );
      const arrivals: Arrivals = came.map((times) => times.map(([at]) => at));
      losses += lostAt.length;
      stalled.push(...stalls(lostAt, arrivals, { everyMs: STREAMS.every, rttMs: conditions.rttMs }));
      last ??= {
        connections: way.protocol === "http3" ? 1 : connectionsOf(seen).length,
        capture: {
          name: way.name,
          hosts: [client, server],
          seen,
          ...(keyLog.length > 0 && { keyLog: `${keyLog.join("\n")}\n` }),
        },
        check: net.check,
        refusal: net.refusal,
      };
    } finally {
      await net.stop();
    }
  }
  return { ...last!, stalled, losses };
}

const SECONDS = 5;

/** For each way the milliseconds over several seeds. */
async function pagesOf({ conditions, network }: Lab, pem: Pem): Promise<number[][]> {
  const seeds = Array.from({ length: conditions.runs * 2 }, (_, n) => conditions.seed + n);
  return await Promise.all(
    WAYS.map(async (way) => {
      const times: number[] = [];
      for (const seed of seeds) {
        const net = await network!({ hosts: downLoss({ ...conditions, loss: 0.02 }), seed, echoes: 0 });
        try {
          const { reader, target } = await begin(net, way, conditions, pem);
          times.push(await reader.call<number>("page", target, OBJECTS, way.protocol === "http1.1" ? 6 : OBJECTS));
        } finally {
          await net.stop();
        }
      }
      return times;
    }),
  );
}
