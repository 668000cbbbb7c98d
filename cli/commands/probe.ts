/** `backtalk probe`: finds out what an address speaks by trying it, and what each way costs. */
import { writeFile } from "node:fs/promises";
import { type Report, TRIED, TRIED_NAMES, type TriedName } from "../../lab/probe/finding.ts";
import { har } from "../../lab/probe/har.ts";
import { probe } from "../../lab/probe/probe.ts";
import { REASONS, reasonText } from "../../lab/probe/reason.ts";
import { parseTarget, type Target } from "../../lab/probe/target.ts";
import { findingTable, headline, silence, timeTable, untried } from "../../lab/probe/text.ts";
import { parseDuration } from "../../lab/units.ts";
import { type Args, type Spec, suggestion } from "../args.ts";
import type { CommandContext } from "../command.ts";
import { DEFECT, OK, UsageError } from "../exit.ts";
import { harmless } from "../screen.ts";
import { table, wrap } from "../table.ts";
import { trustOf } from "../trust.ts";

/** Longest time that an idle connection is watched. */
const MOST_IDLE_MS = 300_000;
const MOST_TIMEOUT_MS = 60_000;

export const spec: Spec = {
  name: "probe",
  summary: "find out by trying what an address speaks, and what it costs",
  positionals: [{ name: "ADDRESS", what: "host:port, or a URL of http, https, ws, wss, grpc or grpcs" }],
  options: {
    insecure: { what: "go on with a certificate that is not trusted" },
    cacert: { value: "FILE", what: "trust the certificates of this PEM file" },
    expect: { value: "NAMES", what: "exit with 1 when one of them is missing, such as h3,h2,websocket" },
    idle: {
      value: "TIME",
      what: "watch for so long how long an idle connection is kept (default: not; at most 5 min)",
    },
    subprotocol: { value: "NAME", what: "offered to a WebSocket (default backtalk.v1)", multiple: true },
    timeout: { value: "TIME", what: "of each try (default 5s); all of it takes at most four times as long" },
    json: { what: "print the report as JSON" },
    har: { value: "FILE", what: "write the requests as HAR 1.2" },
  },
  examples: [
    "backtalk probe localhost:4400",
    "backtalk probe https://localhost:4443 --insecure",
    "backtalk probe example.org --expect h3,h2 --json",
  ],
  notes: [
    "It sends little, only what is well-formed, and only to this address: redirects are not followed.",
    `What is tried: ${TRIED_NAMES.join(", ")}.`,
    "Exit codes: 0 something is spoken; 1 something of --expect is missing; else why nothing is, as curl has it: 6 dns_failed, 7 refused or unreachable, 8 malformed, 28 timeout, 35 TLS failed, 52 closed, 56 reset, 60 certificate.",
  ],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const target = args.positionals[0]!;
  const { host } = targetOf(target);
  const expected = expectedOf(args);
  const { report, requests } = await probe({
    target,
    ...trusted(host, args),
    ...times(args),
    ...(args.texts("subprotocol").length > 0 && { subprotocols: args.texts("subprotocol") }),
    signal: interrupt,
    progress: (text) => screen.status(() => `probe: ${text}`),
  });
  screen.status(undefined);
  const file = args.text("har");
  if (file !== undefined) await write(file, `${JSON.stringify(har(requests), null, 2)}\n`);
  if (args.has("json")) await screen.print(harmless(JSON.stringify(report)));
  else await screen.printAll(linesOf(report, screen.style));
  return verdict(report, expected, (line) => screen.explain([line]));
}

function linesOf(report: Report, style: CommandContext["screen"]["style"]): string[] {
  const [times, all] = [timeTable(report), findingTable(report)];
  const clean = (rows: readonly (readonly string[])[]) => rows.map((row) => row.map(harmless));
  return [
    ...wrap(style.bold(harmless(headline(report))), style.width),
    ...(times.rows.length === 0 ? [] : ["", ...table(times.header, clean(times.rows), style)]),
    "",
    ...table(all.header, clean(all.rows), style),
    ...untried(report).flatMap(([why, names], index) => [
      ...(index === 0 ? [""] : []),
      ...wrap(`not tried, because ${harmless(why)}: ${names.join(", ")}`, style.width),
    ]),
    ...(report.spoke ? [] : ["", ...wrap(harmless(silence(report.reason!)), style.width)]),
  ];
}

function verdict(report: Report, expected: readonly TriedName[], explain: (line: string) => void): number {
  const missing = report.findings.filter(({ name, isPresent }) => expected.includes(name) && !isPresent);
  for (const { name, reason } of missing) explain(`expected ${name}, and it is missing: ${reasonText(reason!)}`);
  if (missing.length > 0) return DEFECT;
  return report.spoke || expected.length > 0 ? OK : REASONS[report.reason!.code];
}

/** @throws UsageError */
function targetOf(text: string): Target {
  try {
    return parseTarget(text);
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}

/** @throws UsageError */
function expectedOf(args: Args): TriedName[] {
  const text = args.text("expect");
  if (text === undefined) return [];
  return text.split(",").map((part) => {
    const name = part.trim();
    if (Object.hasOwn(TRIED, name)) return name as TriedName;
    throw new UsageError(
      `--expect: nothing is called ${JSON.stringify(name)}`,
      suggestion(name, TRIED_NAMES, TRIED_NAMES.join(", ")),
    );
  });
}

/** @throws UsageError */
function times(args: Args) {
  const read = (name: string, most: number): number | undefined => {
    const text = args.text(name);
    if (text === undefined) return undefined;
    try {
      const value = parseDuration(text);
      if (value > 0 && value <= most) return value;
    } catch (thrown) {
      throw new UsageError(`--${name}: ${(thrown as Error).message}`);
    }
    throw new UsageError(`--${name} is more than 0 and at most ${most / 1000} s`);
  };
  const timeoutMs = read("timeout", MOST_TIMEOUT_MS);
  const idleMs = read("idle", MOST_IDLE_MS);
  return { ...(timeoutMs && { timeoutMs, overallMs: 4 * timeoutMs }), ...(idleMs && { idleMs }) };
}

/** As every command trusts: the development certificate too, on this machine. @throws UsageError */
function trusted(host: string, args: Args): { readonly ca?: string; readonly isInsecure: boolean } {
  const isInsecure = args.has("insecure");
  const url = `https://${host.includes(":") ? `[${host}]` : host}/`;
  const { ca } = (trustOf(url, { cacert: args.text("cacert"), isInsecure }).tls(false) ?? {}) as { ca?: string };
  return { isInsecure, ...(ca !== undefined && { ca }) };
}

/** @throws UsageError */
async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (thrown) {
    throw new UsageError(`--har ${file} cannot be written: ${(thrown as Error).message}`);
  }
}
