/** A report for people: header cells and rows for tables, and what is said around them. */
import type { Finding, Phases, Report } from "./finding.ts";
import { type Reason, reasonText } from "./reason.ts";

export interface TextTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export function headline({ target, durationMs, cost }: Report): string {
  const { tcpConnections, quicConnections, requests, bytesSent, bytesReceived } = cost;
  const where = target.addresses.length === 0 ? "" : ` (${target.addresses.slice(0, 3).join(", ")})`;
  const connections = `${tcpConnections} TCP and ${quicConnections} QUIC connections, ${requests} requests`;
  const size = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`;
  const time = durationMs < 1_000 ? `${durationMs.toFixed(0)} ms` : `${(durationMs / 1000).toFixed(1)} s`;
  return (
    `${target.url}${where} in ${time}: ` + `${connections}, ${size(bytesSent)} sent, ${size(bytesReceived)} received`
  );
}

/** The ways that were spoken, with the time of each phase in milliseconds. */
export function timeTable({ findings }: Report): TextTable {
  const timed = findings.filter(({ name, isPresent, phases }) => isPresent && phases && TIMED.has(name));
  return {
    header: ["MS", "DNS", "CONNECT", "TLS", "FIRST BYTE", "TOTAL", "ROUND TRIPS"],
    rows: timed.map(({ name, phases }) => [name, ...phaseCells(phases!)]),
  };
}

/** They were tried alone, but for the last two. */
const TIMED: ReadonlySet<string> = new Set(["h1", "h2", "h2c", "h3", "0rtt-tcp", "0rtt-quic"]);

/** How long each took; the report has when each was over, as curl does. */
function phaseCells({ namelookup, connect, appconnect, starttransfer, total, roundTrips }: Phases): string[] {
  const step = (from: number | undefined, to: number | undefined): string =>
    to === undefined ? "" : Math.max(0, to - (from ?? namelookup)).toFixed(1);
  return [
    namelookup.toFixed(1),
    step(namelookup, connect),
    step(connect, appconnect),
    step(appconnect ?? connect, starttransfer),
    total === undefined ? "" : total.toFixed(1),
    roundTrips === undefined ? "" : String(roundTrips),
  ];
}

/** Why nothing is spoken, with what can be done. */
export function silence(reason: Reason): string {
  return reason.code === "certificate"
    ? `its certificate is not trusted: ${reason.detail}; --insecure goes on all the same`
    : `no way was found to speak with it: ${reasonText(reason)}`;
}

/** Everything that was tried. */
export function findingTable({ findings }: Report): TextTable {
  const tried = findings.filter(({ reason }) => reason?.code !== "not_tried");
  return { header: ["WHAT", "FOUND", "SEEN, OR WHY NOT"], rows: tried.map(row) };
}

function row({ name, isPresent, reason, text }: Finding): string[] {
  if (isPresent) return [name, "yes", text];
  const why = reasonText(reason!);
  return [name, reason!.code === "platform" ? "-" : "no", text === "" ? why : `${why}: ${text}`];
}

/** The rest, by the reason: such as `no TLS is spoken here` and the names. */
export function untried({ findings }: Report): (readonly [why: string, names: readonly string[]])[] {
  const groups = new Map<string, string[]>();
  for (const { name, reason } of findings) {
    if (reason?.code !== "not_tried") continue;
    const why = reason.detail ?? "";
    groups.set(why, [...(groups.get(why) ?? []), name]);
  }
  return [...groups];
}
