import { makeCertificate } from "../../../src/net/certificate.ts";
import { PROTOCOL, readIp, readTcp, u32 } from "../../../src/wire/packet/ip.ts";
import { readEncryptedExtensions } from "../../../src/wire/packet/tls-hello.ts";
import { EARLY_SECRET } from "../../capture/keys.ts";
import { portsOf, quicStory, type Story, tcpStory } from "../../capture/story.ts";
import { type Conditions, clientLink } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Network } from "../../experiment.ts";
import type { Program, Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import type { Visit, Visited } from "../https/client.ts";
import type { Handled, Serving } from "../https/server.ts";

export type Protection = "none" | "425 Too Early" | "single-use tickets";

export interface Case {
  readonly name: string;
  readonly way: "TCP" | "Fast Open" | "QUIC";
  readonly method: "GET" | "POST";
  readonly protection: Protection;
}

const cases = (way: Case["way"], protections: readonly Protection[], methods: readonly Case["method"][]): Case[] =>
  methods.flatMap((method) =>
    protections.map((protection) => ({
      name: `${way}, ${method}${protection === "none" ? "" : `, ${protection}`}`,
      way,
      method,
      protection,
    })),
  );

export const CASES: readonly Case[] = [
  ...cases("TCP", ["none", "425 Too Early", "single-use tickets"], ["GET", "POST"]),
  ...cases("Fast Open", ["none", "425 Too Early", "single-use tickets"], ["POST"]),
  ...cases("QUIC", ["none", "425 Too Early"], ["GET", "POST"]),
];

const EXPLAIN: Readonly<Record<Protection, string>> = {
  none: "Early data is sealed under a key that the ticket gives, before the server has said anything new: whoever has seen the flight can send it again, and the server cannot tell (RFC 8446 §8, RFC 9001 §9.2). It still runs the request.",
  "425 Too Early":
    "A server that does not run an unsafe method from early data answers 425, and the client sends the request again after the handshake, which nobody can replay (RFC 8470 §5.2). Safe methods run as before: running them twice must do no harm.",
  "single-use tickets":
    "A server that takes each ticket once finds no session for the flight that was sent again: it falls back to a full handshake, and early data is refused (RFC 8446 §8.1). It holds in one process, or where all share their tickets.",
};
const SOURCE: Readonly<Record<Protection, string>> = {
  none: "RFC 8446 §8",
  "425 Too Early": "RFC 8470 §5.2",
  "single-use tickets": "RFC 8446 §8.1",
};

export const replay: Experiment = {
  name: "replay",
  title: "a first flight with 0-RTT, sent again",
  question: "How often does the handler run when the network sends a first flight again?",
  // Nothing here is about time; `runs` is how often it is sent again.
  defaults: { rttMs: 20, runs: 3 },
  overLoopback: { columns: ["ran"], platform: "linux" },
  async run({ conditions, network, over, progress, signal }) {
    const { congestion } = conditions;
    const net = await network!({
      hosts: {
        client: { ...clientLink(conditions), congestion, sysctls: { "ipv4/tcp_fastopen": "1" } },
        server: { congestion, sysctls: { "ipv4/tcp_fastopen": "1027" } },
      },
      echoes: 10,
    });
    try {
      const [client, server] = await Promise.all([
        net.hosts["client"]!.start(new URL("../https/client.ts", import.meta.url)),
        net.hosts["server"]!.start(new URL("../https/server.ts", import.meta.url)),
      ]);
      const findings: Finding[] = [];
      const captures: Capture[] = [];
      // The others need packets that were captured.
      const cases = over === "network" ? CASES : CASES.filter(({ way }) => way === "TCP");
      for (const each of cases) {
        if (signal.aborted) break;
        // A server of QUIC takes what comes with the same ids as more of the connection that the first one has opened.
        const runs = each.way === "QUIC" ? 1 : conditions.runs;
        progress(each.name);
        const tried = await tryCase(net, client, server, { ...each, congestion }, runs).catch(
          (thrown: Error) => thrown,
        );
        if (tried instanceof Error) {
          findings.push(notTried(each, tried.message, conditions));
          continue;
        }
        findings.push(conclude(each, runs, tried));
        captures.push({
          name: each.name,
          hosts: [net.hosts["client"]!, net.hosts["server"]!],
          seen: tried.seen,
          keyLog: `${tried.keyLog.join("\n")}\n`,
        });
      }
      return {
        columns: [
          { key: "sent", title: "flights", unit: "count", what: "with the early data, in the capture" },
          { key: "accepted", title: "0-RTT accepted", unit: "count", what: "by EncryptedExtensions in the capture" },
          { key: "ran", title: "handler ran", unit: "count", what: "by the count of the server" },
        ],
        findings,
        check: net.check,
        captures,
        notes:
          over === "loopback"
            ? ["Fast Open and QUIC are left out: there, captured packets are sent again"]
            : [
                "TCP: the bytes of the flight on connections of somebody else; Fast Open and QUIC: the captured packets themselves, put on the wire again",
                "QUIC: sent again once, half a second after the connection was closed; more of the same is no new connection to the server",
                `QUIC with single-use tickets was not tried: node:quic of Bun ${Bun.version} has no such choice`,
              ],
      };
    } finally {
      await net.stop();
    }
  },
};

export interface Tried {
  readonly handled: readonly Handled[];
  /** Of the connections with the flight: the one of the client, then those of who sends it again. */
  readonly stories: readonly Story[];
  readonly status: number;
  readonly seen: readonly Seen[];
  readonly keyLog: readonly string[];
}

async function tryCase(
  net: Network,
  client: Program,
  server: Program,
  tried: Case & Pick<Conditions, "congestion">,
  times: number,
): Promise<Tried> {
  const { way, method, protection, congestion } = tried;
  const { address } = net.hosts["server"]!;
  const { cert, key } = makeCertificate(["localhost"], Date.now());
  const serving: Serving = {
    certificates: [cert],
    key,
    maxEarlyData: 16_384,
    allowReplay: protection !== "single-use tickets",
    tooEarly: protection === "425 Too Early",
    congestion,
  };
  const isQuic = way === "QUIC";
  const port = await server.call<number>(isQuic ? "serveQuic" : "serveTcp", address, serving);
  const call = isQuic ? "visitQuic" : "visitTcp";
  const fastOpen = way === "Fast Open";
  const visit: Visit = {
    address,
    port,
    path: "/",
    method: "GET",
    early: true,
    fastOpen,
    congestion,
    withinMs: WITHIN_MS,
  };
  const visitOnce = async (how: Visit) => {
    const visited = await client.call<Visited>(call, how);
    if (visited.failed) throw new Error(visited.failed.why);
    return visited;
  };
  let visited: Visited;
  let keyLogs: string[][];
  let flight: Seen[];
  for (let tries = 1; ; tries++) {
    const { session } = await visitOnce(visit);
    await Promise.all([net.capture(), server.call("handled"), server.call("keyLogs")]);
    visited = await visitOnce({ ...visit, method, ...(session !== undefined && { session }) });
    await settled(net, server, conditionsMs(net));
    flight = flightOf(await net.capture({ keep: true }), port);
    keyLogs = await server.call<string[][]>("keyLogs");
    const [first] = storiesOf(flight, port, isQuic, keyLogs);
    // On a busy machine the answer can be there before the client has its request ready.
    if ((first && shown(first).hasEarly) || tries === MOST_TRIES) break;
  }
  for (let n = 0; n < times; n++) {
    if (way === "TCP") await client.call("sendAgain", address, port, visited.flight);
    else {
      // A server of QUIC drains a connection before it forgets its ids (RFC 9000 §10.2).
      await Bun.sleep(isQuic ? 500 : 0);
      for (const { bytes } of flight) await net.hosts["client"]!.inject(bytes);
      await settled(net, server, conditionsMs(net));
    }
  }
  const seen = await net.capture();
  keyLogs.push(...(await server.call<string[][]>("keyLogs")));
  const handled = await server.call<Handled[]>("handled");
  return {
    handled,
    stories: storiesOf(seen, port, isQuic, keyLogs),
    status: visited.status,
    seen,
    keyLog: keyLogs.flat(),
  };
}

const conditionsMs = (net: Network) => Math.max(20, (net.check?.rttMs ?? 20) * 2);

/** Until nothing more passes for so long, and the server has had its turns: on a busy machine it is late to answer. */
async function settled(net: Network, server: Program, quietMs: number): Promise<void> {
  for (let before = -1, now = 0; now !== before; ) {
    before = now;
    await server.call("version");
    await Bun.sleep(quietMs);
    await server.call("version");
    now = (await net.capture({ keep: true })).length;
  }
}

/** What the client sent before anything came back, without what belongs to earlier connections. */
function flightOf(seen: readonly Seen[], port: number): Seen[] {
  const own = flowsOf(seen, port)[0] ?? [];
  const answer = own.find(({ from }) => from === 1)?.at ?? Number.POSITIVE_INFINITY;
  return own.filter(({ from, at }) => from === 0 && at < answer);
}

/** By the client's port; a SYN begins another connection from the same port. */
function flowsOf(seen: readonly Seen[], port: number): Seen[][] {
  const flows: Seen[][] = [];
  const current = new Map<number, Seen[]>();
  for (const each of seen.toSorted((a, b) => a.at - b.at)) {
    const ports = portsOf(each);
    // By the server's side alone: the client's own port may be the same number.
    const [own, theirs] = each.from === 0 ? [ports?.source, ports?.destination] : [ports?.destination, ports?.source];
    if (own === undefined || theirs !== port) continue;
    if (!current.has(own) || beginsAgain(each)) {
      const flow: Seen[] = [];
      // Farewells of connections that were opened before.
      if (each.from === 0 && opens(each)) flows.push(flow);
      current.set(own, flow);
    }
    current.get(own)!.push(each);
  }
  return flows;
}

function opens({ bytes }: Seen): boolean {
  const ip = readIp(bytes, LINK_BYTES);
  const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
  if (tcp) return tcp.flags.syn;
  const datagram = ip?.payload.subarray(8) ?? new Uint8Array(0);
  // An Initial (RFC 9000 §17.2.2, RFC 9369 §3.2) in a datagram that is filled up.
  return datagram.length >= 1_200 && (datagram[0]! & 0xf0) === (u32(datagram, 1) === 1 ? 0xc0 : 0xd0);
}

function beginsAgain(seen: Seen): boolean {
  const ip = readIp(seen.bytes, LINK_BYTES);
  if (ip?.protocol === PROTOCOL.tcp) return seen.from === 0 && (readTcp(ip.payload)?.flags.syn ?? false);
  return false;
}

function storiesOf(seen: readonly Seen[], port: number, isQuic: boolean, keyLogs: readonly string[][]): Story[] {
  const story = isQuic ? quicStory : tcpStory;
  const flows = isQuic ? datagramFlows(seen, port) : flowsOf(seen, port);
  // The same flight has the same key, also where the server has refused it.
  const early = keyLogs.flat().filter((line) => line.startsWith(EARLY_SECRET));
  // A flight that the server did not take as a connection of its own has no keys: they go by what they open.
  return flows.map((flow) => {
    const stories = keyLogs.map((keyLog) => story(flow, 0, [...early, ...keyLog]));
    return stories.find((each) => shown(each).isAnswered) ?? stories[0] ?? story(flow, 0, early);
  });
}

/** All of QUIC comes from one port: the same first datagram again begins another connection. */
function datagramFlows(seen: readonly Seen[], port: number): Seen[][] {
  const [first] = flowsOf(seen, port);
  const initial = first?.[0]?.bytes;
  if (!first || !initial) return [];
  const flows: Seen[][] = [];
  for (const each of first) {
    if (each.from === 0 && Buffer.compare(udp(each.bytes), udp(initial)) === 0) flows.push([]);
    flows.at(-1)?.push(each);
  }
  return flows;
}

const udp = (frame: Uint8Array) => frame.subarray(LINK_BYTES + 28);

/** Smaller than the response, larger than anything else that a server seals before it has heard more. */
const RESPONSE_BYTES = 600;

/**
 * What the capture shows of one connection. Early data was taken when EncryptedExtensions say so; where the
 * platform gives no keys (a QUIC handshake that nobody completes), when a response came without another word.
 */
export function shown({ events }: Story): {
  readonly hasEarly: boolean;
  readonly isAnswered: boolean;
  readonly isAccepted: boolean;
} {
  const extensions = events.flatMap(({ what, isClient }) =>
    !isClient && what.kind === "handshake" && what.message.name === "EncryptedExtensions"
      ? [readEncryptedExtensions(what.message.body)]
      : [],
  );
  const isServed = events.some(
    ({ what, isClient }) => !isClient && what.kind === "sealed" && what.isShort === true && what.bytes > RESPONSE_BYTES,
  );
  return {
    hasEarly: events.some(({ what, isClient }) => isClient && what.kind === "data" && what.isEarly),
    isAnswered: extensions.length > 0,
    isAccepted: extensions.length > 0 ? extensions.some(({ hasEarlyData }) => hasEarlyData) : isServed,
  };
}

const MOST_TRIES = 5;

/** A case is left alone after so long: there are many. */
const WITHIN_MS = 5_000;

/** A link that loses may let no visit through; the other cases go on. */
function notTried({ name, protection }: Case, message: string, { loss, drops }: Conditions): Finding {
  return {
    name,
    values: { sent: "", accepted: "", ran: "" },
    verdict: loss || drops.length > 0 ? "refused" : "failed",
    why: message,
    source: SOURCE[protection],
    explain: EXPLAIN[protection],
  };
}

export function conclude({ name, method, protection }: Case, times: number, tried: Tried): Finding {
  const { handled, stories, status } = tried;
  const runsAgain = protection === "none" || (protection === "425 Too Early" && method === "GET");
  const expected = runsAgain ? times + 1 : 1;
  const accepted = stories.filter((story) => shown(story).isAccepted).length;
  const early = handled.filter(({ isEarly }) => isEarly).length;
  const hasAll = stories.length === times + 1 && stories.every((story) => shown(story).hasEarly);
  // What ran on early data must have been accepted on the wire; 425 accepts the data and runs nothing.
  const agrees = protection === "425 Too Early" && method !== "GET" ? early === 0 : early === accepted;
  const isGood = handled.length === expected && agrees && hasAll && status === 200;
  const why = [
    `${stories.length} flights in the capture, ${accepted} accepted as 0-RTT`,
    protection === "single-use tickets" && accepted < stories.length
      ? "the others refused: the ticket was used"
      : protection === "425 Too Early" && method !== "GET"
        ? `425 to ${accepted === stories.length ? "each" : "these; the others were not taken as early data"}, the client asked again after its handshake`
        : early > 1
          ? "the handler ran on each"
          : "",
    agrees ? "" : `the server says that ${early} ran on early data: that is not what the capture shows`,
    hasAll ? "" : `${times + 1} were expected`,
  ];
  const isRun = handled.length === expected && status === 200;
  return {
    name,
    counted: {
      verdict: isRun ? "ok" : "failed",
      why: `sent again ${times} times, the handler ran ${handled.length === 1 ? "once" : `${handled.length} times`}, ${early} of them on early data`,
    },
    values: { sent: stories.length, accepted, ran: handled.length },
    expected: `ran ${expected}`,
    verdict: isGood ? "ok" : "failed",
    why: why.filter(Boolean).join("; "),
    source: SOURCE[protection],
    explain: EXPLAIN[protection],
    capture: name,
  };
}
