/** One run of a way: what was visited, what the capture shows of it, and both as entries of HAR and as a capture. */
import { clockOffset } from "../../capture/file.ts";
import { portsOf, quicStory, tcpStory } from "../../capture/story.ts";
import type { Capture, Network } from "../../experiment.ts";
import { harEntry } from "../../report/har.ts";
import type { Seen } from "../../wire/index.ts";
import { type Evidence, evidenceOf } from "./evidence.ts";
import type { Handled } from "./server.ts";
import type { Visits } from "./visits.ts";
import type { Way } from "./ways.ts";

export interface Sample {
  readonly visits: Visits;
  readonly first: Evidence | undefined;
  readonly again: Evidence | undefined;
  readonly handledEarly: boolean;
  readonly seen: readonly Seen[];
}

export function sampleOf(visits: Visits, all: readonly Seen[], handled: readonly Handled[], delayNs: number): Sample {
  const { way, client, port, path } = visits;
  const flows = new Map<number, Seen[]>();
  for (const seen of all) {
    const isOut = seen.from === client;
    const ports = isOut || seen.to === client ? portsOf(seen) : undefined;
    // By the server's side alone: the client's own port on the way to another server may be the same number.
    if (!ports || (isOut ? ports.destination : ports.source) !== port) continue;
    const own = isOut ? ports.source : ports.destination;
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

/** The first run of a way, as its client and the server alone on the network. */
export function captureOf(way: Way, samples: readonly Sample[], net: Network): Capture {
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

/** The requests of a visit, with the phases that the capture shows. */
export function harOf({ visits, first, again }: Sample): object[] {
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
