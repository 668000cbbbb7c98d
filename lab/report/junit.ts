/**
 * A run as JUnit XML, as machines for continuous integration read it: a line is a test case. Refused is skipped, with
 * the reason; a line of which nothing was expected is left out.
 */
import type { RunDocument } from "./document.ts";
import { escapeMarkup as safe } from "./escape.ts";

export function junitOf(run: RunDocument): string {
  const suite = suiteName(run.experiment, run.variant);
  const judged = run.findings.filter(({ verdict }) => verdict !== "none");
  const cases = judged.map(({ name, verdict, why, expected, source }) => {
    const more = [`expected: ${expected ?? "as theory has it"}`, ...(source === undefined ? [] : [source])].join("\n");
    const inside =
      verdict === "failed"
        ? `<failure message="${safe(why)}" type="verdict">${safe(more)}</failure>`
        : verdict === "refused"
          ? `<skipped message="${safe(why)}"/>`
          : `<system-out>${safe(why)}</system-out>`;
    return `    <testcase classname="${safe(suite)}" name="${safe(name)}" time="${share(run.tookMs, judged.length)}">${inside}</testcase>`;
  });
  const count = (which: string) => judged.filter(({ verdict }) => verdict === which).length;
  const properties = Object.entries({ ...run.conditions, variant: run.variant, over: run.over, ...run.versions })
    .filter(([, value]) => value !== null)
    .map(([name, value]) => {
      const text = typeof value === "object" ? JSON.stringify(value) : String(value);
      return `      <property name="${safe(name)}" value="${safe(text)}"/>`;
    });
  return document(
    suite,
    { tests: judged.length, failures: count("failed"), errors: 0, skipped: count("refused") },
    run.tookMs,
    run.startedAt,
    [`    <properties>\n${properties.join("\n")}\n    </properties>`, ...cases],
  );
}

/** Of a run that came to no verdict. */
export function junitOfError(experiment: string, variant: string | undefined, thrown: unknown): string {
  const suite = suiteName(experiment, variant ?? null);
  const [message, trace] = thrown instanceof Error ? [thrown.message, thrown.stack ?? ""] : [String(thrown), ""];
  const error = `<error message="${safe(message)}" type="Error">${safe(trace)}</error>`;
  const testcase = `    <testcase classname="${safe(suite)}" name="run" time="0">${error}</testcase>`;
  return document(suite, { tests: 1, failures: 0, errors: 1, skipped: 0 }, 0, new Date().toISOString(), [testcase]);
}

function document(
  suite: string,
  counts: Readonly<Record<string, number>>,
  tookMs: number,
  startedAt: string,
  lines: readonly string[],
): string {
  const numbers = Object.entries(counts)
    .map(([name, value]) => `${name}="${value}"`)
    .join(" ");
  const time = share(tookMs, 1);
  const head = `name="${safe(suite)}" ${numbers} time="${time}" timestamp="${startedAt.replace(/\.\d+Z$/, "")}"`;
  const root = `name="backtalk lab" ${numbers} time="${time}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ${root}>\n  <testsuite ${head}>\n${lines.join("\n")}\n  </testsuite>\n</testsuites>\n`;
}

/** Lines are measured together: each has its part of the time, in seconds. */
function share(tookMs: number, count: number): string {
  return (tookMs / 1_000 / Math.max(1, count)).toFixed(3);
}

function suiteName(experiment: string, variant: string | null): string {
  return `backtalk.lab.${experiment}${variant === null ? "" : `.${variant}`}`;
}
