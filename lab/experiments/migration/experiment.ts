import { makeCertificate } from "../../../src/net/certificate.ts";
import { PROTOCOL, readIp, readTcp, u16 } from "../../../src/wire/packet/ip.ts";
import { quicStory } from "../../capture/story.ts";
import { clientLink } from "../../conditions.ts";
import type { Experiment, Finding } from "../../experiment.ts";
import type { Seen } from "../../wire/index.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import type { Told } from "./client.ts";

/** As in `server.ts`, which only its host runs. */
const PORTS = { tcp: 7_001, quic: 7_002, backtalk: 7_003 } as const;
type Name = keyof typeof PORTS;

const CLIENTS: Readonly<Record<Name, { title: string; expected: string; source: string; explain: string }>> = {
  tcp: {
    title: "TCP connection",
    expected: "dies",
    source: "RFC 9293 §3.10.7.1",
    explain:
      "A connection of TCP is its two addresses and ports. What comes from another port belongs to no connection, and is answered with a reset. What the server sends to the old port finds no way in.",
  },
  quic: {
    title: "QUIC connection",
    expected: "goes on",
    source: "RFC 9000 §9.3",
    explain:
      "A connection of QUIC is its connection ids. The server sees a packet that it can open come from another address, proves with PATH_CHALLENGE that the client is there, and goes on to send. The streams notice nothing but what was lost on the way.",
  },
  backtalk: {
    title: "Backtalk call over SSE",
    expected: "goes on",
    source: "PROTOCOL.md",
    explain:
      "Its connection is one of TCP and dies as such. The call does not: the client opens another connection and reads on from its cursor, and every item comes once.",
  },
};

export const migration: Experiment = {
  name: "migration",
  title: "the client's address changes",
  question: "What lives on when a NAT box forgets its mappings and the client comes from another port?",
  // One change of address; more of them tell nothing new.
  defaults: { runs: 1 },
  overLoopback: "as loopback has no NAT box that could forget",
  async run({ conditions, network, progress }) {
    const { congestion } = conditions;
    const net = await network!({
      hosts: {
        client: { ...clientLink(conditions), congestion, nat: { type: "port-restricted", outside: "10.0.0.100" } },
        server: { congestion },
      },
      echoes: 10,
    });
    try {
      const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
      const now = monotonic(openLibc());
      const [clients, answerer] = await Promise.all([
        client.start(new URL("./client.ts", import.meta.url)),
        server.start(new URL("./server.ts", import.meta.url)),
      ]);
      await answerer.call("serve", server.address, makeCertificate(["localhost"], Date.now()), congestion);
      await net.capture();
      progress("clients begin");
      await clients.call("begin", server.address, PORTS, congestion);
      progress("the NAT box forgets");
      const at = now();
      await client.rebind();
      await Bun.sleep(Math.max(1_000, conditions.rttMs * 8));
      const { told, keyLog } = await clients.call<{ told: Record<Name, Told>; keyLog: string[] }>("end");
      const seen = await net.capture();
      return {
        columns: [
          { key: "gap", title: "longest gap", unit: "ms", what: "between two lines or items, after the change" },
          { key: "before", title: "before", unit: "count", what: "lines or items until the change" },
          { key: "after", title: "after", unit: "count" },
          { key: "ports", title: "ports outside", unit: "count", what: "of the client, in the capture" },
        ],
        findings: (Object.keys(CLIENTS) as Name[]).map((name) =>
          conclude(name, told[name], shownOf(name, seen, at, keyLog), at),
        ),
        check: net.check,
        captures: [
          {
            name: "migration",
            hosts: [client, server],
            seen,
            keyLog: `${keyLog.join("\n")}\n`,
            marks: [{ at, host: "client", text: "the NAT box has forgotten its mappings" }],
          },
        ],
        notes: [
          "The connection of SSE notices because data was on the way when the box forgot; without it, silence shows it after 30 s",
        ],
      };
    } finally {
      await net.stop();
    }
  },
};

/** What the capture shows of one client, around the change. */
export interface Shown {
  /** Outside ports of the client, in the order in which the server saw them. */
  readonly ports: readonly number[];
  /** A reset of the server after the change, milliseconds after it. */
  readonly resetMs: number | undefined;
  /** Packets from the server that the box did not let in. */
  readonly shutOut: number;
  /** TCP: connections that were opened after the change. QUIC: hellos of the client in all. */
  readonly opened: number;
  readonly challengeMs: number | undefined;
  readonly responseMs: number | undefined;
  /** QUIC: data of the server that got through after the change. */
  readonly dataAfter: number;
}

export function shownOf(name: Name, seen: readonly Seen[], at: number, keyLog: readonly string[]): Shown {
  const ports = new Set<number>();
  const own: Seen[] = [];
  let [reset, shutOut, opened] = [undefined as number | undefined, 0, 0];
  for (const each of seen) {
    const ip = readIp(each.translated ?? each.bytes, LINK_BYTES);
    if (!ip || (ip.protocol !== PROTOCOL.tcp && ip.protocol !== PROTOCOL.udp)) continue;
    const [source, destination] = [u16(ip.payload, 0), u16(ip.payload, 2)];
    if (source !== PORTS[name] && destination !== PORTS[name]) continue;
    own.push(each);
    if (each.from === 0) ports.add(source);
    if (each.from !== 0 && each.drop === "nat") shutOut++;
    const tcp = ip.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (each.at < at || !tcp) continue;
    if (each.from !== 0 && tcp.flags.rst) reset ??= each.at;
    if (each.from === 0 && tcp.flags.syn) opened++;
  }
  const events = name === "quic" ? quicStory(own, 0, keyLog).events : [];
  const path = (frame: "PATH_CHALLENGE" | "PATH_RESPONSE", isClient: boolean) =>
    events.find(
      (each) => each.at > at && each.isClient === isClient && each.what.kind === "path" && each.what.frame === frame,
    )?.at;
  const ms = (time: number | undefined) => (time === undefined ? undefined : (time - at) / 1e6);
  return {
    ports: [...ports],
    resetMs: ms(reset),
    shutOut,
    opened:
      name === "quic"
        ? events.filter(({ what }) => what.kind === "handshake" && what.message.name === "ClientHello").length
        : opened,
    challengeMs: ms(path("PATH_CHALLENGE", false)),
    responseMs: ms(path("PATH_RESPONSE", true)),
    dataAfter: events.filter(({ what, isClient, at: time }) => !isClient && time > at && what.kind === "data").length,
  };
}

export function conclude(name: Name, told: Told, shown: Shown, at: number): Finding {
  const { title, expected, source, explain } = CLIENTS[name];
  const after = told.at.filter((time) => time > at);
  const times = [at, ...after];
  const gap = Math.max(0, ...times.slice(1).map((time, n) => (time - times[n]!) / 1e6));
  const { ports, resetMs, shutOut, opened, challengeMs, responseMs, dataAfter } = shown;
  const text = (ms: number) => `${ms.toFixed(0)} ms`;
  const reset = resetMs === undefined ? "no reset" : `reset by the server after ${text(resetMs)}`;
  let isGood = false;
  let why: string;
  if (name === "tcp") {
    isGood = resetMs !== undefined && !told.isWhole && told.broke !== undefined && opened === 0 && ports.length > 1;
    why = `${reset}; ${shutOut} packets to the old port not let in; the program saw ${told.broke?.how ?? "nothing"}`;
  } else if (name === "quic") {
    isGood = told.isWhole && opened === 1 && ports.length > 1 && dataAfter > 0 && challengeMs !== undefined;
    const proof =
      challengeMs === undefined
        ? "no PATH_CHALLENGE in the capture"
        : `PATH_CHALLENGE after ${text(challengeMs)}, ${responseMs === undefined ? "no PATH_RESPONSE" : `PATH_RESPONSE after ${text(responseMs)}`}`;
    why = `${opened} handshake; ${proof}; ${told.isWhole ? "the stream is whole" : `the stream broke: ${told.broke?.how ?? "lines are missing"}`}`;
  } else {
    isGood = told.isWhole && resetMs !== undefined && opened >= 1 && ports.length > 1;
    why = `${reset}; ${opened} new connection${opened === 1 ? "" : "s"}; ${told.isWhole ? "every item once, in order" : "items are missing"}`;
  }
  // Whoever only reads sends nothing by which the server could tell.
  const isUnnoticed = name === "backtalk" && resetMs === undefined && told.broke === undefined;
  if (isUnnoticed) why = `no data was on the way when the box forgot: silence shows it after 30 s; ${why}`;
  return {
    name: title,
    values: {
      gap: after.length === 0 ? Number.NaN : gap,
      before: told.at.length - after.length,
      after: after.length,
      ports: ports.length,
    },
    expected,
    verdict: isGood ? "ok" : isUnnoticed ? "refused" : "failed",
    why,
    source,
    explain,
    capture: "migration",
  };
}
