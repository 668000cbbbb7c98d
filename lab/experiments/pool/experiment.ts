import { developmentCertificate } from "../../../src/net/certificate.ts";
import { PROTOCOL, readIp, readTcp, readUdp } from "../../../src/wire/packet/ip.ts";
import { chromiumPath, openPage } from "../../browser.ts";
import type { Capture, Experiment, Finding } from "../../experiment.ts";
import type { Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import { scratch } from "../../wire/scratch.ts";

/** What the page reports. */
export interface Report {
  /** Milliseconds of the plain request, and of each held one from the start. */
  readonly plain: number;
  readonly heldMs: readonly number[];
  readonly protocol: string;
  readonly connectMs: number;
  /** When the server was asked for the page, in nanoseconds. */
  readonly pageAt: number;
  readonly reportAt: number;
  /** By the server: held requests that came before it answered one, and whether the plain one did. */
  readonly held: number;
  readonly isPlainAtOnce: boolean;
}

const HELD = 7;
const HELD_MS = 1_500;

interface Way {
  readonly name: string;
  readonly protocol: string;
  readonly isTls: boolean;
  readonly args: (origin: string) => readonly string[];
  readonly expected: string;
  /** Whether the plain request has to wait for a held one. */
  readonly waits: boolean;
  readonly tcp: number;
  readonly quic: number;
  readonly source: string;
  readonly explain: string;
}

const WAYS: readonly Way[] = [
  {
    name: "HTTP/1.1",
    protocol: "http/1.1",
    isTls: false,
    args: () => ["--disable-quic"],
    expected: "six connections, the plain request waits",
    waits: true,
    tcp: 6,
    quic: 0,
    source: "RFC 9112 §9.4; Chromium: six for each host",
    explain:
      "A connection of HTTP/1.1 carries one exchange at a time, so a browser opens several, and no more than six to one host. Six held requests (long polls, event streams) take them all: the seventh and everything after it wait in the browser until one is answered. It does not show on the network, and no server can see it. An open EventSource in each of six tabs does it for good.",
  },
  {
    name: "HTTP/2",
    protocol: "h2",
    isTls: true,
    args: () => ["--disable-quic"],
    expected: "one connection, nothing waits",
    waits: false,
    tcp: 1,
    quic: 0,
    source: "RFC 9113 §5, §5.1.2",
    explain:
      "All exchanges share one connection as streams, at most as many as the server allows (SETTINGS_MAX_CONCURRENT_STREAMS, usually 100 and more): held requests cost a stream each.",
  },
  {
    name: "HTTP/3",
    protocol: "h3",
    isTls: true,
    args: (origin) => ["--enable-quic", `--origin-to-force-quic-on=${origin}`],
    expected: "one connection, nothing waits",
    waits: false,
    tcp: 0,
    quic: 1,
    source: "RFC 9114 §6.1, RFC 9000 §4.6",
    explain: "As HTTP/2, over one connection of QUIC, and a lost packet holds up only its own streams.",
  },
];

export const pool: Experiment = {
  name: "pool",
  title: `${HELD} held requests in a browser, and one more`,
  question: "How many requests can a browser hold open before another one has to wait?",
  defaults: { rttMs: 20, runs: 1 },
  needs: ["chromium"],
  overLoopback: { columns: ["plain", "arrived", "held"] },
  async run({ conditions, network, progress }) {
    if (chromiumPath() === undefined) throw new Error("Chromium is not installed: install chromium and try again");
    using folder = scratch("pool");
    const directory = folder.path;
    const net = await network!();
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const { cert, key } = await developmentCertificate({ names: [server.address], directory });
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      const versions = new Set<string>();
      for (const way of WAYS) {
        progress(way.name);
        const program = await server.start(new URL("./server.ts", import.meta.url));
        const port = await program.call<number>(
          "serve",
          server.address,
          HELD,
          HELD_MS,
          ...(way.isTls ? [{ cert, key }] : []),
        );
        const origin = `${server.address}:${port}`;
        await net.capture();
        const url = `${way.isTls ? "https" : "http"}://${origin}/start`;
        let report: Report;
        let keyLog: string;
        {
          await using browser = await openPage(client, url, { ...(way.isTls && { cert }), args: way.args(origin) });
          versions.add(browser.version);
          report = await within(program.call<Report>("report"), 20_000);
          keyLog = browser.keyLog();
        }
        const seen = await net.capture();
        await program.stop();
        const { tcp, udp } = flowsOf(seen, port, report.pageAt - 0.75e6 * conditions.rttMs, report.reportAt);
        const hasWaited = report.plain > HELD_MS / 2;
        const isRight =
          hasWaited === way.waits && report.protocol === way.protocol && tcp === way.tcp && udp === way.quic;
        const isCounted =
          report.isPlainAtOnce !== way.waits &&
          report.protocol === way.protocol &&
          report.held === (way.waits ? 6 : HELD);
        findings.push({
          name: way.name,
          values: { plain: report.plain, arrived: report.held, held: Math.max(...report.heldMs), tcp, udp },
          expected: way.expected,
          verdict: isRight ? "ok" : "failed",
          why: `${tcp} TCP ${tcp === 1 ? "connection" : "connections"} and ${udp} of QUIC to the server; the browser says ${report.protocol}; the last held request was answered after ${(Math.max(...report.heldMs) / 1_000).toFixed(1)} s`,
          source: way.source,
          explain: way.explain,
          capture: way.name,
          counted: {
            expected: way.waits ? "six arrive, the plain request waits" : "nothing waits",
            verdict: isCounted ? "ok" : "failed",
            why: `${report.held} of ${HELD} held requests reached the server before it answered one, the plain one ${report.isPlainAtOnce ? "with them" : "afterwards"}; the browser says ${report.protocol}`,
          },
        });
        captures.push({ name: way.name, hosts: [client, server], seen, ...(keyLog !== "" && { keyLog }) });
      }
      return {
        columns: [
          { key: "plain", title: "plain request", unit: "ms", what: "made 100 ms after the held ones" },
          {
            key: "arrived",
            title: `of ${HELD} held`,
            unit: "count",
            what: "reached the server before it answered one",
          },
          { key: "held", title: "last held", unit: "ms", what: `each is held for ${HELD_MS} ms by the server` },
          { key: "tcp", title: "TCP", unit: "count", what: "connections that carried data, by the capture" },
          { key: "udp", title: "QUIC", unit: "count" },
        ],
        findings,
        check: net.check,
        captures,
        notes: [...versions],
      };
    } finally {
      await net.stop();
    }
  },
};

/**
 * Connections to the port on which the client sent data between these times: a browser opens some that it never
 * uses, and says farewell on them when it ends.
 */
function flowsOf(
  seen: readonly Seen[],
  port: number,
  after: number,
  until: number,
): { readonly tcp: number; readonly udp: number } {
  const tcp = new Set<number>();
  const udp = new Set<number>();
  for (const { from, at, bytes } of seen) {
    if (from !== 0 || at < after || at > until) continue;
    const ip = readIp(bytes, LINK_BYTES);
    const segment = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    const datagram = ip?.protocol === PROTOCOL.udp ? readUdp(ip.payload) : undefined;
    if (segment?.destinationPort === port && segment.payload.length > 0) tcp.add(segment.sourcePort);
    if (datagram?.destinationPort === port) udp.add(datagram.sourcePort);
  }
  return { tcp: tcp.size, udp: udp.size };
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  const late = Promise.withResolvers<T>();
  const timer = setTimeout(() => late.reject(new Error(`the page did not report within ${ms / 1_000} s`)), ms);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}
