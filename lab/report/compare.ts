/** What changed from one run to another: by line and column, with medians and spread, and the verdicts. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Verdict } from "../experiment.ts";
import type { DropRule } from "../wire/drops.ts";
import { type LineDocument, type Measured, type RunDocument, SCHEMA_VERSION } from "./document.ts";
import { dropText, valueText } from "./text.ts";

export interface Comparison {
  readonly experiment: string;
  /** Of conditions, variant and versions: what was not the same. The figures compare the runs in spite of it. */
  readonly differences: readonly { readonly what: string; readonly a: string; readonly b: string }[];
  readonly verdicts: readonly {
    readonly line: string;
    readonly a: Verdict | "absent";
    readonly b: Verdict | "absent";
    /** It failed, and it did not before. */
    readonly isWorse: boolean;
    readonly why: string;
  }[];
  readonly changes: readonly Change[];
  /** Values that are the same, or within the spread of their samples. */
  readonly unchanged: number;
  readonly isWorse: boolean;
}

export interface Change {
  readonly line: string;
  readonly column: string;
  readonly unit: RunDocument["columns"][number]["unit"];
  /** The median with its range, or the text. */
  readonly a: string;
  readonly b: string;
  /** (b - a) / a of the medians; null for texts, and where a is 0. */
  readonly part: number | null;
}

/** @throws RangeError that says which file cannot be read, and why */
export function readRun(path: string): RunDocument {
  let text: string;
  try {
    const isFolder = statSync(path).isDirectory();
    if (isFolder && !existsSync(join(path, "run.json"))) throw new RangeError(`${path} has no run.json`);
    text = readFileSync(isFolder ? join(path, "run.json") : path, "utf8");
  } catch (thrown) {
    if (thrown instanceof RangeError) throw thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    throw new RangeError(code === "ENOENT" ? `there is no run at ${path}` : `${path} cannot be read: ${message}`);
  }
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw new RangeError(`${path} is not JSON`);
  }
  const wrong = wrongOf(given);
  if (wrong !== undefined) throw new RangeError(`${path} is no run of backtalk lab: ${wrong}`);
  return given as RunDocument;
}

/** What of a document is not as a run has it, as far as it is read here. */
function wrongOf(given: unknown): string | undefined {
  if (!isObject(given)) return "it is no object";
  const { schemaVersion, experiment, columns, findings } = given;
  if (schemaVersion !== SCHEMA_VERSION)
    return `it has schemaVersion ${schemaVersion}, and this reads ${SCHEMA_VERSION}`;
  if (typeof experiment !== "string") return "it does not say of which experiment";
  for (const part of ["conditions", "versions"]) if (!isObject(given[part])) return `it has no ${part}`;
  if (!Array.isArray(columns) || !columns.every((each) => isObject(each) && areTexts(each, ["key", "title", "unit"]))) {
    return "its columns are not as they should be";
  }
  if (!Array.isArray(findings)) return "it has no findings";
  for (const [index, line] of findings.entries()) {
    const isLine = isObject(line) && areTexts(line, ["name", "why"]) && isObject(line["values"]);
    if (!isLine) return `findings[${index}] is no line`;
    if (!VERDICTS.includes(line["verdict"] as Verdict)) return `findings[${index}] has the verdict ${line["verdict"]}`;
    for (const [key, value] of Object.entries(line["values"] as object)) {
      if (!isValue(value)) return `findings[${index}].values.${key} is neither numbers nor text`;
    }
  }
  return undefined;
}

const VERDICTS: readonly Verdict[] = ["ok", "failed", "refused", "none"];

function isObject(given: unknown): given is Readonly<Record<string, unknown>> {
  return typeof given === "object" && given !== null && !Array.isArray(given);
}

function areTexts(given: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean {
  return keys.every((key) => typeof given[key] === "string");
}

function isValue(value: unknown): boolean {
  if (value === null || typeof value === "string") return true;
  return isObject(value) && ["median", "min", "max"].every((key) => typeof value[key] === "number");
}

/** @throws RangeError for runs of two experiments */
export function compare(a: RunDocument, b: RunDocument): Comparison {
  if (a.experiment !== b.experiment) {
    throw new RangeError(`one is a run of ${a.experiment}, the other of ${b.experiment}: they have nothing in common`);
  }
  const names = [...new Set([...a.findings, ...b.findings].map(({ name }) => name))];
  const columns = new Map([...a.columns, ...b.columns].map((column) => [column.key, column]));
  const verdicts: Comparison["verdicts"][number][] = [];
  const changes: Change[] = [];
  let unchanged = 0;
  for (const line of names) {
    const [before, after] = [a, b].map(({ findings }) => findings.find(({ name }) => name === line));
    const [was, is] = [before?.verdict ?? "absent", after?.verdict ?? "absent"] as const;
    if (was !== is) {
      verdicts.push({
        line,
        a: was,
        b: is,
        isWorse: is === "failed",
        why: after?.why ?? "the line is not there any more",
      });
    }
    if (!before || !after) continue;
    for (const [key, column] of columns) {
      const [from, to] = [before.values[key], after.values[key]];
      if (isSame(from, to)) {
        unchanged++;
        continue;
      }
      const part = isMeasured(from) && isMeasured(to) && from.median !== 0 ? to.median / from.median - 1 : null;
      changes.push({
        line,
        column: column.title,
        unit: column.unit,
        a: shown(from, column),
        b: shown(to, column),
        part,
      });
    }
  }
  return {
    experiment: a.experiment,
    differences: differencesOf(a, b),
    verdicts,
    changes,
    unchanged,
    isWorse: verdicts.some(({ isWorse }) => isWorse),
  };
}

/** What is smaller than this is no change, where there are no samples that show a spread. */
const NOTHING = 0.01;

/** Numbers are the same when each one's median lies in the other's range, or they differ by a hundredth. */
function isSame(a: LineDocument["values"][string] | undefined, b: LineDocument["values"][string] | undefined): boolean {
  if (!isMeasured(a) || !isMeasured(b)) return (a ?? null) === (b ?? null);
  const within = (value: number, { min, max }: Measured) => value >= min && value <= max;
  const isNear = Math.abs(a.median - b.median) < NOTHING * Math.abs(a.median);
  return isNear || (within(a.median, b) && within(b.median, a));
}

function isMeasured(value: LineDocument["values"][string] | undefined): value is Measured {
  return typeof value === "object" && value !== null;
}

function shown(value: LineDocument["values"][string] | undefined, column: RunDocument["columns"][number]): string {
  if (!isMeasured(value)) return value ?? "-";
  const text = valueText(value.median, column.unit);
  const [least, most] = [valueText(value.min, column.unit), valueText(value.max, column.unit)];
  return least === most ? text : `${text} (${least} to ${most})`;
}

function differencesOf(a: RunDocument, b: RunDocument): Comparison["differences"] {
  const flat = ({ conditions, versions, variant, over }: RunDocument) => ({
    variant,
    over,
    ...conditions,
    ...versions,
  });
  const [left, right] = [flat(a), flat(b)] as [Record<string, unknown>, Record<string, unknown>];
  const text = (value: unknown) => {
    if (typeof value === "string") return value;
    if (Array.isArray(value) && value.length === 0) return "null";
    if (Array.isArray(value) && value.every(isObject))
      return (value as unknown as readonly DropRule[]).map(dropText).join(", ");
    return JSON.stringify(value) ?? "-";
  };
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .map((what) => ({ what, a: text(left[what] ?? null), b: text(right[what] ?? null) }))
    .filter((each) => each.a !== each.b)
    .map(({ what, a, b }) => ({ what, a: a === "null" ? "-" : a, b: b === "null" ? "-" : b }));
}
