import { developmentCertificate } from "../../../src/net/certificate.ts";
import type { Experiment, Lab, Network } from "../../experiment.ts";
import { scratch } from "../../wire/scratch.ts";
import type { Came } from "./client.ts";
import type { Circumstances } from "./judge.ts";
import { ofPort } from "./measure.ts";
import { type FlowRun, read } from "./reading.ts";
import { report } from "./report.ts";
import { schedule } from "./schedule.ts";
import type { Said } from "./server.ts";
import { type Flow, graceMs, RATES, type Rate, WAYS, type Way } from "./ways.ts";

export interface PatternsOptions {
  readonly ways?: readonly Way[];
  readonly rates?: readonly Rate[];
  /** How long is looked at connections on which nothing happens, in milliseconds (default 18,000). */
  readonly idleMs?: number;
}

export const patterns: Experiment = patternsOf();

export function patternsOf({ ways = WAYS, rates = RATES, idleMs = 18_000 }: PatternsOptions = {}): Experiment {
  return {
    name: "patterns",
    title: "one job, and eight ways to hear of it",
    question: "How late is an event, and what does it cost, by polling, long polling, SSE, WebSocket, gRPC, pub/sub?",
    defaults: { rttMs: 40, runs: 1 },
    variants: { tls: "the same over TLS 1.3" },
    overLoopback: "as its costs are those of packets",
    async run(lab) {
      const isTls = lab.variant === "tls";
      const net = await lab.network!();
      using folder = isTls ? scratch("patterns") : undefined;
      try {
        const tls = folder === undefined ? null : await developmentCertificate({ directory: folder.path });
        const pem = tls && { cert: tls.cert, key: tls.key };
        const counted = rates.map((rate) => ({ ...rate, events: rate.events * lab.conditions.runs }));
        const { flows, circumstances, keyLog } = await follow(lab, net, { ways, rates: counted, idleMs, pem });
        const hosts = [net.hosts["client"]!, net.hosts["server"]!];
        return report({ flows, circumstances, keyLog, hosts, check: net.check, rates: counted, ways });
      } finally {
        await net.stop();
      }
    },
  };
}

interface Plan {
  readonly ways: readonly Way[];
  readonly rates: readonly Rate[];
  readonly idleMs: number;
  readonly pem: { readonly cert: string; readonly key: string } | null;
}

/** All ways at all rates, side by side on one link: it has no limit of rate, so they do not meet. */
async function follow({ conditions, progress, signal }: Lab, net: Network, { ways, rates, idleMs, pem }: Plan) {
  const { rttMs, jitterMs, seed } = conditions;
  const plan = ways.flatMap((way) => [...rates.map((rate) => ({ way, rate })), { way, rate: undefined }]);
  const flows = plan.map(
    ({ way, rate }): Flow => ({ follow: way.follow, isIdle: rate === undefined, events: rate?.events ?? 0 }),
  );
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [reader, speaker] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  progress("connections are opened");
  const ports = await speaker.call<number[]>("serve", server.address, flows, pem);
  await net.capture();
  const withPorts = flows.map((flow, index) => ({ ...flow, port: ports[index]! }));
  await reader.call("open", server.address, withPorts, pem !== null);
  await speaker.call("begun");
  // What the opening has left to acknowledge is no part of what follows.
  await Bun.sleep(graceMs(rttMs));
  signal.throwIfAborted();
  const last = Math.max(...rates.map(({ perSecond, events, afterMs = 0 }) => afterMs / 1e3 + events / perSecond));
  progress(`events for ${Math.round(last)} s`);
  const times = plan.map(({ rate }, index) => (rate ? schedule(rate, seed + index) : []));
  const start = await speaker.call<number>("go", times);
  const all = within(reader.call<Came[]>("all"), last * 1e3 + TAIL_MS, signal);
  const [came] = await Promise.all([all, Bun.sleep(idleMs)]);
  await Bun.sleep(graceMs(rttMs));
  const seen = await net.capture();
  const said = await speaker.call<Said[]>("said");
  const late = await Promise.all([reader.call<number>("lateness"), speaker.call<number>("lateness")]);
  const keyLog = await reader.call<string[]>("keyLog");
  await reader.call("stop");
  const circumstances: Circumstances = {
    rttMs,
    jitterMs,
    isTls: pem !== null,
    refusal: net.refusal,
    spreadMs: net.check ? net.check.p99Ms - net.check.rttMs : 0,
    programsLateMs: Math.max(...late),
  };
  const byPort = ofPort(seen);
  const runs = plan.map(({ way, rate }, index): FlowRun => {
    const packets = byPort.get(ports[index]!) ?? [];
    const own = { way, index, seen: packets, start, came: came[index]!, said: said[index]! };
    return read({ ...own, ...(rate && { rate }), idleUntil: start + idleMs * 1e6 }, circumstances);
  });
  return { flows: runs, circumstances, keyLog };
}

/** How long after the last event a client may still wait for what was lost. */
const TAIL_MS = 30_000;

/** @throws Error when it takes longer, and the signal's reason when it aborts */
async function within<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  const abort = () => stopped.reject(signal.reason);
  const text = `not every event came within ${TAIL_MS / 1e3} s of the last one: the link loses too much`;
  const timer = setTimeout(() => stopped.reject(new Error(text)), ms);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, stopped.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}
