/** A run as lines of text: header cells and rows for a table, and what is said around it. */
import type { Column, Finding } from "../experiment.ts";
import type { Run } from "../run.ts";
import { median } from "../units.ts";

export interface TextTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export function textTable({ findings: { columns, findings } }: Run): TextTable {
  const hasExpected = findings.some(({ expected }) => expected !== undefined);
  return {
    header: ["", ...columns.map(({ title }) => title), ...(hasExpected ? ["expected"] : []), "verdict", "why"],
    rows: findings.map((finding) => [
      finding.name,
      ...columns.map((column) => cell(finding, column)),
      ...(hasExpected ? [finding.expected ?? ""] : []),
      finding.verdict === "none" ? "" : finding.verdict,
      finding.why,
    ]),
  };
}

/** The line above the table: what was run, and under what. */
export function headline({ title, variant, conditions, findings: { check }, over }: Run): string {
  const { rttMs, runs, loss, rateBps, seed } = conditions;
  const link =
    check && ` (link measured: ${check.rttMs.toFixed(1)} ms, p99 +${(check.p99Ms - check.rttMs).toFixed(1)})`;
  const parts = [
    variant === undefined ? title : `${title}, ${variant}`,
    over === "loopback" ? "over loopback: nothing is said about delay" : `${rttMs} ms round trip${link ?? ""}`,
    ...(loss ? [`loss ${typeof loss === "number" ? `${(loss * 100).toFixed(1)}%` : "in bursts"}`] : []),
    ...(rateBps === undefined ? [] : [`${(rateBps / 1e6).toFixed(1)} Mbit/s`]),
    `${runs} runs each`,
    `seed ${seed}`,
  ];
  return parts.join(" · ");
}

export function cell({ values }: Finding, { key, unit }: Column): string {
  const value = values[key];
  if (value === undefined) return "-";
  if (typeof value === "string") return value;
  const number = typeof value === "number" ? value : median(value);
  if (Number.isNaN(number)) return "-";
  switch (unit) {
    case "rt":
      return number.toFixed(2);
    case "ms":
      return number < 10 ? number.toFixed(2) : number.toFixed(1);
    case "percent":
      return `${(number * 100).toFixed(1)}%`;
    case "bytes":
      return Math.round(number).toLocaleString("en");
    default:
      return Number.isInteger(number) ? number.toLocaleString("en") : number.toFixed(1);
  }
}
