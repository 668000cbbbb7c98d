/** Runs an experiment: what it has at hand, and what is known about the run besides its findings. */
import { version as kernel, release } from "node:os";
import packageJson from "../package.json";
import { Fault } from "../src/log/index.ts";
import { chromiumPath } from "./browser.ts";
import { CONDITIONS, type Conditions } from "./conditions.ts";
import type { Experiment, Findings, Lab, OverLoopback } from "./experiment.ts";
import { loopback, OVER_LOOPBACK } from "./loopback.ts";
import { makeNetwork } from "./network.ts";
import { type Availability, availability } from "./wire/availability.ts";

export interface RunOptions {
  /** What was asked for; the rest is the experiment's, then the common default. */
  readonly conditions: Partial<Conditions>;
  readonly variant?: string | undefined;
  readonly signal: AbortSignal;
  readonly progress?: (text: string) => void;
}

export interface Run {
  readonly experiment: string;
  readonly title: string;
  readonly question: string;
  readonly variant: string | undefined;
  readonly conditions: Conditions;
  readonly over: Lab["over"];
  readonly startedAt: string;
  readonly tookMs: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly findings: Findings;
}

/**
 * @throws RangeError for a variant that it does not have; Fault `failed_precondition` where the machine cannot run
 * it, with the remedy as its hint
 */
export async function runExperiment(
  experiment: Experiment,
  options: RunOptions,
  found: Availability = availability(),
): Promise<Run> {
  const { variant, signal } = options;
  if (variant !== undefined && experiment.variants?.[variant] === undefined) {
    const names = Object.keys(experiment.variants ?? {});
    throw new RangeError(
      `${experiment.name} has no variant ${JSON.stringify(variant)}: ${names.length === 0 ? "it has none" : `it has ${names.join(", ")}`}`,
    );
  }
  const counted = countedOf(experiment);
  if (!found.isAvailable && typeof counted === "string") {
    throw lacking(`${experiment.name} needs an emulated network, ${counted}: ${found.why}`, found.remedy);
  }
  for (const tool of experiment.needs ?? []) {
    if (!isInstalled(tool))
      throw lacking(`${experiment.name} needs ${tool}, which is not installed`, `install ${tool}`);
  }
  const asked: Conditions = { ...CONDITIONS, ...experiment.defaults, ...options.conditions };
  const over = found.isAvailable ? "network" : "loopback";
  const conditions = over === "network" ? asked : { ...CONDITIONS, ...NO_LINK, seed: asked.seed, runs: asked.runs };
  const lab: Lab = {
    over,
    conditions,
    variant,
    network: found.isAvailable ? (given) => makeNetwork(conditions, given) : loopback,
    signal,
    progress: options.progress ?? (() => {}),
  };
  lab.progress(found.isAvailable ? "making the network" : "starting over loopback");
  const startedAt = new Date();
  const began = performance.now();
  const said = await experiment.run(lab);
  const findings =
    found.isAvailable || typeof counted === "string"
      ? withPackets(said)
      : withoutPackets(said, counted, [found.why, ...unusedOf(options.conditions)].join("; "));
  return {
    experiment: experiment.name,
    title: experiment.title,
    question: experiment.question,
    variant,
    conditions,
    over,
    startedAt: startedAt.toISOString(),
    tookMs: performance.now() - began,
    versions: { backtalk: packageJson.version, bun: Bun.version, kernel: `${release()} ${kernel()}` },
    findings,
  };
}

/** Loopback has no delay that anybody has asked for. */
const NO_LINK = { rttMs: 0 } as const;

/** What of an experiment is true over loopback on this machine, or why nothing is. */
export function countedOf({ overLoopback }: Experiment): OverLoopback | string {
  if (typeof overLoopback === "string") return overLoopback;
  const { platform = process.platform } = overLoopback;
  return platform === process.platform ? overLoopback : `as without one it reads what the kernel of ${platform} counts`;
}

/** The verdict is by the packets. */
function withPackets(said: Findings): Findings {
  return { ...said, findings: said.findings.map(({ counted: _, ...line }) => line) };
}

/** What programs and their kernel counted stays; what only a capture can show is not said. */
function withoutPackets(
  { check: _, captures: __, ...said }: Findings,
  { columns }: OverLoopback,
  why: string,
): Findings {
  const plots = said.plots?.filter(({ series }) => series.some(({ points }) => points.length > 0));
  return {
    ...said,
    columns: said.columns.filter(({ key }) => columns.includes(key)),
    findings: said.findings.map(({ capture: _, counted, values, ...line }) => ({
      ...line,
      values: Object.fromEntries(Object.entries(values).filter(([key]) => columns.includes(key))),
      ...(counted ?? ({ verdict: "refused", why: OVER_LOOPBACK } as const)),
    })),
    ...(plots && { plots }),
    notes: [...(said.notes ?? []), `Over loopback: ${why}.`],
  };
}

/** What was asked of a link, where there is none. */
function unusedOf({ seed: _, runs: __, ...link }: Partial<Conditions>): string[] {
  const names = Object.keys(link).map((name) => `--${name.replace(/Ms$|Bps$|Bytes$|(?<=drop)s$/, "")}`);
  return names.length === 0 ? [] : [`${names.join(", ")} did nothing, as there is no link`];
}

function lacking(message: string, hint: string): Fault {
  return new Fault("failed_precondition", message, { hint });
}

function isInstalled(tool: string): boolean {
  return (tool === "chromium" ? chromiumPath() : Bun.which(tool)) != null;
}

/** Whether every verdict that was given is good. */
export function isGood({ findings }: Run): boolean {
  return findings.findings.every(({ verdict }) => verdict !== "failed");
}
