/** Runs an experiment: what it has at hand, and what is known about the run besides its findings. */
import { version as kernel, release } from "node:os";
import packageJson from "../package.json";
import { Fault } from "../src/log/index.ts";
import { chromiumPath } from "./browser.ts";
import { CONDITIONS, type Conditions } from "./conditions.ts";
import type { Experiment, Findings, Lab } from "./experiment.ts";
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
  /** `network`: emulated and measured. `loopback`: the machine has no namespaces, and nothing is claimed about delay. */
  readonly over: "network" | "loopback";
  readonly startedAt: string;
  readonly tookMs: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly findings: Findings;
}

/**
 * @throws RangeError for a variant that it does not have, or conditions that loopback has not; Fault
 * `failed_precondition` where the machine cannot run it, with the remedy as its hint
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
  if (!found.isAvailable && !experiment.overLoopback) {
    throw lacking(`${experiment.name} needs an emulated network: ${found.why}`, found.remedy);
  }
  for (const tool of experiment.needs ?? []) {
    if (!isInstalled(tool))
      throw lacking(`${experiment.name} needs ${tool}, which is not installed`, `install ${tool}`);
  }
  const conditions: Conditions = { ...CONDITIONS, ...experiment.defaults, ...options.conditions };
  const lab: Lab = {
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
  const findings = found.isAvailable ? said : unjudged(said, found.why);
  return {
    experiment: experiment.name,
    title: experiment.title,
    question: experiment.question,
    variant,
    conditions,
    over: found.isAvailable ? "network" : "loopback",
    startedAt: startedAt.toISOString(),
    tookMs: performance.now() - began,
    versions: { backtalk: packageJson.version, bun: Bun.version, kernel: `${release()} ${kernel()}` },
    findings,
  };
}

/** What programs saw stays; what only a capture can show is not said. */
function unjudged({ check: _, captures: __, ...said }: Findings, why: string): Findings {
  return {
    ...said,
    findings: said.findings.map(({ capture: _, ...line }) => ({ ...line, verdict: "refused", why: OVER_LOOPBACK })),
    notes: [...(said.notes ?? []), `Over loopback: ${why}.`],
  };
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
