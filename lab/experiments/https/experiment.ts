import type { Experiment } from "../../experiment.ts";
import { type Circumstances, finding, refusalOf } from "./finding.ts";
import { captureOf, harOf, type Sample, sampleOf } from "./sample.ts";
import type { Handled } from "./server.ts";
import { clientName, dropsOf, hostsOf, LANES, SPARE_RUNS, serveAll, visitAll } from "./visits.ts";
import { VARIANTS, type Variant, WAYS, type Way } from "./ways.ts";

/** A way that came to nothing so often and never to something is not tried again: each try takes its whole patience. */
const MOST_FAILED = 2;

export const https: Experiment = {
  name: "https",
  title: "eight ways to HTTPS",
  question: "How many round trips until a response comes, on the first visit and on the next?",
  variants: VARIANTS,
  overLoopback: "as without a link there is no round trip to count",
  async run({ conditions, network, progress, variant: named, signal }) {
    const variant = named as Variant | undefined;
    const net = await network!({ hosts: hostsOf(conditions), drops: dropsOf(conditions) });
    try {
      const server = await net.hosts["server"]!.start(new URL("./server.ts", import.meta.url));
      const ports = await serveAll(server, net.hosts["server"]!.address, variant, conditions);
      const samples = new Map<Way, Sample[]>(WAYS.map((way) => [way, []]));
      const { rttMs } = conditions;
      const circumstances: Circumstances = {
        // Where no echo came back there is nothing better than what the wire was told.
        rttMs: net.check && net.check.answered > 0 ? net.check.rttMs : rttMs,
        askedMs: rttMs,
        variant,
        refusal: net.refusal ?? refusalOf(conditions),
      };
      const conclude = () => WAYS.map((way) => finding(way, samples.get(way)!, circumstances));
      /** Once more what the machine was late in, and what came out otherwise beside it. */
      const toRepeat = () => {
        const found = conclude();
        return found.some(({ values }) => values["late"] === 1)
          ? WAYS.filter((_, n) => found[n]!.verdict !== "ok")
          : [];
      };
      const isWorthIt = (way: Way) => {
        const made = samples.get(way)!;
        return made.length < MOST_FAILED || made.some(({ visits }) => !visits.first.failed && !visits.again?.failed);
      };
      let runs = 0;
      for (; runs < conditions.runs + SPARE_RUNS && !signal.aborted; runs++) {
        const isSpare = runs >= conditions.runs;
        const due = isSpare ? toRepeat() : WAYS;
        if (isSpare && (circumstances.refusal !== undefined || due.length === 0)) break;
        const run = runs;
        progress(isSpare ? "once more: the machine was late" : `run ${run + 1} of ${conditions.runs}`);
        const visits = await Promise.all(
          LANES.map((ways, lane) =>
            visitAll(net, {
              name: clientName(run, lane),
              ways: ways.filter((way) => due.includes(way) && isWorthIt(way)),
              ports,
              variant,
              conditions,
            }),
          ),
        );
        const handled = await server.call<Handled[]>("handled");
        const seen = await net.capture();
        for (const visit of visits.flat())
          samples.get(visit.way)!.push(sampleOf(visit, seen, handled, (rttMs / 2) * 1e6));
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
          ...(runs > conditions.runs
            ? [`${runs - conditions.runs} more runs of those in which the machine was late`]
            : []),
          ...(variant === "pq"
            ? [
                "over TCP the ClientHello is filled by an extension for private use to the size of one with X25519MLKEM768: OpenSSL has no ML-KEM before 3.5, and the TLS of Bun, which has it, no early data over TCP",
              ]
            : []),
        ],
      };
    } finally {
      await net.stop();
    }
  },
};
