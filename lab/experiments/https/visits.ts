/** Who visits what: the hosts, a listener for each way, and the visits of one run. */
import { makeCertificate } from "../../../src/net/certificate.ts";
import { type Conditions, clientLink } from "../../conditions.ts";
import type { Network } from "../../experiment.ts";
import type { HostSpec, Program } from "../../wire/index.ts";
import { type Chain, makeChain } from "./chain.ts";
import type { Visit, Visited } from "./client.ts";
import type { Serving } from "./server.ts";
import { type Variant, WAYS, type Way } from "./ways.ts";

const EARLY_BYTES = 16_384;
/** Further runs when the programs were late in so many that nothing can be said: a busy machine. */
export const SPARE_RUNS = 3;
/** Two at a time; the kernel keeps the cookies of Fast Open by namespace, so each lane has one such way. */
export const LANES: readonly (readonly Way[])[] = [
  WAYS.filter((_, n) => n % 2 === 1),
  WAYS.filter((_, n) => n % 2 === 0),
];
/** A SYN is sent again after 1, 2, 3, 4, 5 and 7 s: so long is a visit waited for, or as many round trips. */
const PATIENCE_MS = 10_000;
const PATIENCE_TRIPS = 20;

export interface Visits {
  readonly way: Way;
  /** Index of the client's host, and the server's port. */
  readonly client: number;
  readonly port: number;
  readonly path: string;
  readonly first: Visited;
  /** Not made on an open connection, nor after a first visit that came to nothing. */
  readonly again: Visited | undefined;
}

export const clientName = (run: number, lane: number) =>
  run + lane === 0 ? "client" : `client-${run + 1}-${lane + 1}`;

export function hostsOf(conditions: Conditions): Record<string, HostSpec> {
  const { congestion } = conditions;
  const client: HostSpec = { ...clientLink(conditions), congestion, sysctls: { "ipv4/tcp_fastopen": "1" } };
  // 1 client, 2 server, 0x400 for every listener without asking it.
  const server: HostSpec = { congestion, sysctls: { "ipv4/tcp_fastopen": "1027" } };
  const [first = "client", ...rest] = clientNames(conditions);
  return { [first]: client, server, ...Object.fromEntries(rest.map((name) => [name, client])) };
}

/** What is said of the client holds for each of them, and is counted for each. */
export function dropsOf(conditions: Conditions): Conditions["drops"] {
  return conditions.drops.flatMap((rule) =>
    rule.host === "client" ? clientNames(conditions).map((host) => ({ ...rule, host })) : [rule],
  );
}

function clientNames({ runs }: Conditions): string[] {
  return Array.from({ length: runs + SPARE_RUNS }, (_, run) => LANES.map((_, lane) => clientName(run, lane))).flat();
}

/** The port of each way. */
export async function serveAll(
  server: Program,
  address: string,
  variant: Variant | undefined,
  { congestion }: Conditions,
): Promise<Map<Way, number>> {
  const { certificates, key } = variant === "chain" ? makeChain() : alone();
  const ports = new Map<Way, number>();
  for (const way of WAYS) {
    const serving: Serving = {
      certificates,
      key,
      version: way.version,
      // On QUIC the platform gives no tickets without; a client that does not want early data sends none.
      maxEarlyData: (way.early || way.isQuic) && variant !== "ticket-only" ? EARLY_BYTES : 0,
      congestion,
      retry: variant === "retry",
      ...(variant === "hrr" && { groups: "P-256" }),
      ...(variant === "pq" && way.isQuic && { groups: "X25519MLKEM768:X25519" }),
    };
    ports.set(way, await server.call<number>(way.isQuic ? "serveQuic" : "serveTcp", address, serving));
  }
  return ports;
}

function alone(): Chain {
  const { cert, key } = makeCertificate(["localhost"], Date.now());
  return { certificates: [cert], key };
}

export interface Trip {
  /** The client's host. */
  readonly name: string;
  readonly ways: readonly Way[];
  readonly ports: ReadonlyMap<Way, number>;
  readonly variant: Variant | undefined;
  readonly conditions: Conditions;
}

/** A new process in its own namespace visits each way for the first time, and again. */
export async function visitAll(net: Network, { name, ways, ports, variant, conditions }: Trip): Promise<Visits[]> {
  if (ways.length === 0) return [];
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
        congestion: conditions.congestion,
        early: way.early,
        requests: way.isReused ? 2 : 1,
        withinMs: Math.max(PATIENCE_MS, PATIENCE_TRIPS * conditions.rttMs),
        ...(variant === "hrr" && { groups: "X25519:P-256" }),
        ...(variant === "pq" && (way.isQuic ? { groups: "X25519MLKEM768:X25519" } : { fillingBytes: SHARE_BYTES })),
      };
      const make = (how: Visit) =>
        program
          .call<Visited>(way.isQuic ? "visitQuic" : "visitTcp", how)
          .catch((thrown: Error) => ended(thrown.message));
      const first = await make(visit);
      const again =
        way.isReused || first.failed
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

/** The program has ended, or could not even begin: no other visit is to suffer from it. */
function ended(message: string): Visited {
  const failed = { why: `no visit (${message})`, isTime: false };
  return { failed, keyLog: [], status: 0, triedEarly: false, claimsEarly: false };
}

/** Of X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): a key of ML-KEM-768 and one of X25519, and the head of the share. */
const SHARE_BYTES = 1_184 + 32 + 4;
