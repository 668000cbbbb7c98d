/** For the tests of experiments: skipped by a line where there is no network, but never in CI. */
import { expect } from "bun:test";
import type { Conditions } from "./conditions.ts";
import type { Experiment, Finding } from "./experiment.ts";
import { TOO_BUSY } from "./network.ts";
import { type Run, runExperiment } from "./run.ts";
import { availability } from "./wire/availability.ts";

/** Whether experiments can run here. @throws Error in CI, where they must */
export function hasNetwork(what: string): boolean {
  const found = availability();
  if (found.isAvailable) return true;
  if (process.env["CI"]) throw new Error(`${found.why}; ${found.remedy}`);
  console.log(`skipped: ${what}: ${found.why}`);
  return false;
}

export interface Tried {
  readonly run: Run;
  /** No verdict was possible on a busy machine, which a line says: there is nothing more to assert. Then nothing has failed either. */
  readonly isTooBusy: boolean;
  /** @throws Error when there is no such line */
  finding(name: string): Finding;
}

export async function tryOut(
  experiment: Experiment,
  conditions: Partial<Conditions> = {},
  variant?: string,
): Promise<Tried> {
  const run = await runExperiment(experiment, { conditions, variant, signal: new AbortController().signal });
  const { findings } = run.findings;
  const refused = findings.find(({ verdict, why }) => verdict === "refused" && why.includes(TOO_BUSY));
  if (refused) {
    console.log(`not judged: ${experiment.name}, ${refused.name}: ${refused.why}`);
    const failed = findings.filter(({ verdict }) => verdict === "failed");
    expect(failed.map(({ name, why }) => `${name}: ${why}`)).toEqual([]);
  }
  return {
    run,
    isTooBusy: refused !== undefined,
    finding(name) {
      const found = run.findings.findings.find((each) => each.name === name);
      if (found) return found;
      throw new Error(`no line ${name}: there are ${run.findings.findings.map((each) => each.name).join(", ")}`);
    },
  };
}
