/** Finds out what an address speaks, by trying it: nothing is believed, and what is absent has its reason. */
import { type Finding, notTried, type Report, SCHEMA, TRIED_NAMES, type TriedName } from "./finding.ts";
import type { Reason } from "./reason.ts";
import { Run } from "./run.ts";
import { ms, Setting, type Told } from "./setting.ts";
import { parseTarget } from "./target.ts";

export interface ProbeOptions {
  /** `host:port`, or an address of http, https, ws, wss, grpc or grpcs. */
  readonly target: string;
  /** PEM of those who are trusted instead of the usual ones. */
  readonly ca?: string | undefined;
  /** An untrusted certificate is told of, and everything else tried all the same. */
  readonly isInsecure?: boolean;
  /** Longest time of one try, in milliseconds (default 5,000). */
  readonly timeoutMs?: number;
  /** Longest time of all but the watching of `idleMs`, in milliseconds (default 20,000). */
  readonly overallMs?: number;
  /** How long an idle connection is watched, in milliseconds (default 0: it is not). */
  readonly idleMs?: number;
  /** Offered in the handshake of a WebSocket (default `backtalk.v1`). */
  readonly subprotocols?: readonly string[];
  readonly signal?: AbortSignal;
  /** Told of what is being tried. */
  readonly progress?: (text: string) => void;
}

export interface Probed {
  readonly report: Report;
  /** Each request of HTTP with its answer, for the HAR. */
  readonly requests: readonly Told[];
}

const DEFAULTS = { timeoutMs: 5_000, overallMs: 20_000, idleMs: 0, subprotocols: ["backtalk.v1"] } as const;

/** @throws RangeError when the target is written wrong, and the signal's reason when it is aborted */
export async function probe(options: ProbeOptions): Promise<Probed> {
  const all = { ...DEFAULTS, ...options };
  const target = parseTarget(options.target);
  const setting = new Setting({
    target,
    ca: options.ca,
    isInsecure: options.isInsecure ?? false,
    timeoutMs: all.timeoutMs,
    overallMs: all.overallMs,
    signal: options.signal ?? new AbortController().signal,
  });
  const startedAt = new Date();
  const run = new Run(setting, all, options.progress ?? (() => {}));
  await run.all();
  setting.signal.throwIfAborted();
  const findings = TRIED_NAMES.map((name) => run.findings.get(name) ?? notTried(name, "there was no way to it"));
  const reason = whySilent(run.findings);
  const { meter } = setting;
  const report: Report = {
    schema: SCHEMA,
    target: {
      url: target.url,
      host: target.host,
      port: target.port,
      addresses: run.addresses,
      speaks: run.speaks,
    },
    startedAt: startedAt.toISOString(),
    durationMs: ms(performance.now() - setting.startedAt),
    findings,
    cost: {
      tcpConnections: meter.tcpConnections,
      quicConnections: meter.quicConnections,
      requests: meter.requests.length + meter.otherRequests,
      bytesSent: meter.bytesSent,
      bytesReceived: meter.bytesReceived,
    },
    spoke: reason === undefined,
    ...(reason && { reason }),
  };
  return { report, requests: meter.requests };
}

/** Undefined when anything was spoken. */
function whySilent(findings: ReadonlyMap<TriedName, Finding>): Reason | undefined {
  const seen = (name: TriedName): boolean => findings.get(name)?.isPresent ?? false;
  if ((["h1", "h2", "h2c", "h3", "grpc"] as const).some(seen)) return undefined;
  const reason = findings.get("h1")?.reason;
  const hasTls = (["tls1.0", "tls1.1", "tls1.2", "tls1.3"] as const).some(seen);
  // TLS with something else in it is spoken too.
  if (hasTls && reason?.code !== "certificate") return undefined;
  const { dns, tcp } = { dns: findings.get("dns"), tcp: findings.get("tcp") };
  return dns?.reason ?? tcp?.reason ?? reason ?? { code: "closed" };
}
