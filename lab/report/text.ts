/** A run as text: header cells and rows for a table, and what is said around it. */
import type { Column, Finding } from "../experiment.ts";
import type { Run } from "../run.ts";
import { median } from "../units.ts";
import type { DropRule } from "../wire/drops.ts";

export interface TextTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Columns of numbers, which are aligned at their right. */
  readonly numeric: readonly boolean[];
}

export function textTable({ findings: { columns, findings } }: Run): TextTable {
  const hasExpected = findings.some(({ expected }) => expected !== undefined);
  return {
    header: ["way", ...columns.map(headOf), ...(hasExpected ? ["expected"] : []), "verdict", "why"],
    rows: findings.map((finding) => [
      finding.name,
      ...columns.map((column) => cell(finding, column)),
      ...(hasExpected ? [finding.expected ?? ""] : []),
      finding.verdict === "none" ? "" : finding.verdict,
      finding.why,
    ]),
    numeric: [false, ...columns.map(({ unit }) => unit !== "text"), ...(hasExpected ? [false] : []), false, false],
  };
}

/** `per message, ms`: what a number counts is said where its title does not. */
export function headOf({ title, unit }: Pick<Column, "title" | "unit">): string {
  const name = { rt: "", ms: "ms", bytes: "", count: "", text: "", percent: "", rate: "bit/s" }[unit];
  return name === "" || title.split(/[ ,]/).includes(name) ? title : `${title}, ${name}`;
}

/** The line above the table: what was run, and under what. */
export function headline({ title, variant, conditions, findings: { check }, over }: Run): string {
  const { rttMs, runs, loss, rateBps, seed } = conditions;
  const link =
    check && ` (link measured: ${check.rttMs.toFixed(1)} ms, p99 +${(check.p99Ms - check.rttMs).toFixed(1)})`;
  const parts = [
    variant === undefined ? title : `${title}, ${variant}`,
    over === "loopback" ? "over loopback: nothing is said about delay" : `${rttMs} ms round trip${link ?? ""}`,
    ...(loss && over === "network" ? [`loss ${lossText(loss)}`] : []),
    ...(rateBps === undefined || over === "loopback" ? [] : [rateText(rateBps)]),
    runs === 1 ? "1 run each" : `${runs} runs each`,
    `seed ${seed}`,
  ];
  return parts.join(" · ");
}

/** All conditions by name, for the report; what is not there is left out, but for the loss. */
export function conditionsText({ conditions, over }: Run): readonly (readonly [string, string])[] {
  const { rttMs, loss, jitterMs, rateBps, queueBytes, reorder, duplicate, seed, runs, congestion, drops } = conditions;
  const ruled = drops.map(dropText);
  const link: (readonly [string, string])[] = [
    ["round trip", `${rttMs} ms`],
    ["loss", loss ? `${lossText(loss)} each way` : "none"],
    ["rate", rateBps === undefined ? "no limit" : rateText(rateBps)],
    ...(jitterMs ? [["jitter", `up to ${jitterMs} ms`] as const] : []),
    ...(queueBytes === undefined ? [] : [["queue", `${queueBytes.toLocaleString("en")} bytes`] as const]),
    ...(reorder ? [["reordered", percent(reorder)] as const] : []),
    ...(duplicate ? [["duplicated", percent(duplicate)] as const] : []),
    ...(ruled.length === 0 ? [] : [["dropped", ruled.join(", ")] as const]),
    ["congestion control", congestion],
  ];
  return [...(over === "loopback" ? [] : link), ["runs of each", String(runs)], ["seed", String(seed)]];
}

/** As `--drop` takes it. */
export function dropText({ host, of, first, last }: DropRule): string {
  return `${host} ${of} ${first}${last === first ? "" : `-${last}`}`;
}

export interface Explained {
  /** Of the lines that it is of. */
  readonly names: readonly string[];
  readonly source: string | undefined;
  readonly explain: string | undefined;
}

/** What is said of several lines is said once, where the first of them is. */
export function explained(findings: readonly Finding[]): readonly Explained[] {
  const all = Map.groupBy(
    findings.filter(({ source, explain }) => source !== undefined || explain !== undefined),
    ({ source, explain }) => JSON.stringify([source, explain]),
  );
  return [...all.values()].map((lines) => {
    const { source, explain } = lines[0]!;
    return { names: lines.map(({ name }) => name), source, explain };
  });
}

export function cell({ values }: Finding, { key, unit }: Column): string {
  const value = values[key];
  if (value === undefined) return "-";
  if (typeof value === "string") return value;
  return valueText(typeof value === "number" ? value : median(value), unit);
}

/** `0.04 to 0.21`, where the samples differ as they are shown. */
export function spreadText({ values }: Finding, { key, unit }: Column): string | undefined {
  const value = values[key];
  if (typeof value !== "object") return undefined;
  const finite = value.filter(Number.isFinite);
  if (finite.length < 2) return undefined;
  const [least, most] = [Math.min(...finite), Math.max(...finite)].map((each) => valueText(each, unit));
  return least === most ? undefined : `${least} to ${most}`;
}

export function valueText(number: number, unit: Column["unit"]): string {
  if (!Number.isFinite(number)) return "-";
  switch (unit) {
    case "rt":
      return number.toFixed(2);
    case "ms":
      return Math.abs(number) < 10 ? number.toFixed(2) : number.toFixed(1);
    case "percent":
      return percent(number);
    case "bytes":
      return Math.round(number).toLocaleString("en");
    default:
      return Number.isInteger(number) ? number.toLocaleString("en") : number.toFixed(1);
  }
}

function lossText(loss: NonNullable<Run["conditions"]["loss"]>): string {
  return typeof loss === "number"
    ? percent(loss)
    : `in bursts (${percent(loss.toBad)} to begin, ${percent(loss.toGood)} to end)`;
}

function rateText(bps: number): string {
  return bps < 1e6 ? `${(bps / 1e3).toFixed(1)} kbit/s` : `${(bps / 1e6).toFixed(1)} Mbit/s`;
}

function percent(part: number): string {
  return `${(part * 100).toFixed(1)}%`;
}
