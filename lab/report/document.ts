/**
 * A run as other programs read it: `run.json`, and what `--json` prints. `run.schema.json` beside this file says what
 * each field is; a field is only ever added within a version.
 */
import type { Finding, Verdict } from "../experiment.ts";
import type { Run } from "../run.ts";
import { median } from "../units.ts";

export const SCHEMA_VERSION = 1;

/** Samples of a number. */
export interface Measured {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
}

export interface RunDocument extends Omit<Run, "variant" | "conditions" | "findings"> {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly variant: string | null;
  /** The worst of all lines. */
  readonly verdict: Verdict;
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly link: Run["findings"]["check"] | null;
  readonly columns: Run["findings"]["columns"];
  readonly findings: readonly LineDocument[];
  readonly plots: readonly unknown[];
  readonly captures: readonly CaptureDocument[];
  readonly notes: readonly string[];
}

export interface LineDocument extends Omit<Finding, "values"> {
  /** By the key of the column; null where it was measured and there is no number. */
  readonly values: Readonly<Record<string, Measured | string | null>>;
}

export interface CaptureDocument {
  readonly name: string;
  /** Beside `run.json`; null when none was written. */
  readonly file: string | null;
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly packets: number;
  readonly dropped: number;
}

/** @param files names of the captures' files, in their order */
export function documentOf(run: Run, files: readonly string[] = []): RunDocument {
  const { columns, findings, check, plots = [], captures = [], notes = [] } = run.findings;
  const { experiment, title, question, over, startedAt, tookMs, versions } = run;
  return {
    schemaVersion: SCHEMA_VERSION,
    experiment,
    title,
    question,
    variant: run.variant ?? null,
    verdict: worst(findings.map(({ verdict }) => verdict)),
    over,
    startedAt,
    tookMs: Math.round(tookMs),
    versions,
    conditions: {
      ...run.conditions,
      rateBps: run.conditions.rateBps ?? null,
      queueBytes: run.conditions.queueBytes ?? null,
    },
    link: check ? finite(check) : null,
    columns,
    findings: findings.map(({ values, ...line }) => ({
      ...line,
      values: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, measured(value)])),
    })),
    plots: plots.map((plot) => ({
      ...plot,
      series: plot.series.map(({ name, points }) => ({
        name,
        points: points.filter((point) => point.every(Number.isFinite)),
      })),
    })),
    captures: captures.map(({ name, hosts, seen }, index) => ({
      name,
      file: files[index] ?? null,
      hosts: hosts.map(({ name, address }) => ({ name, address })),
      packets: seen.length,
      dropped: seen.filter(({ drop }) => drop !== undefined).length,
    })),
    notes,
  };
}

/** `failed` before `refused` before `ok`; `none` when nothing was judged. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  return (["failed", "refused", "ok"] as const).find((each) => verdicts.includes(each)) ?? "none";
}

function measured(value: Finding["values"][string]): Measured | string | null {
  if (typeof value === "string") return value;
  const samples = (typeof value === "number" ? [value] : value).filter(Number.isFinite);
  if (samples.length === 0) return null;
  const [min, max] = [Math.min(...samples), Math.max(...samples)];
  return { median: median(samples), min, max, samples };
}

/** JSON has no word for what is no number. */
function finite<T extends object>(given: T): T {
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => [key, Number.isFinite(value) ? value : null]),
  ) as T;
}
