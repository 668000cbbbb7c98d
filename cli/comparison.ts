/** Two runs of an experiment beside each other, as lines. */
import type { Change, Comparison } from "../lab/report/compare.ts";
import { headOf } from "../lab/report/text.ts";
import { type Style, table, wrap } from "./table.ts";

/** Of conditions, as a reader calls them. */
const NAMES: Readonly<Record<string, string>> = {
  over: "run over",
  rttMs: "round trip, ms",
  jitterMs: "jitter, ms",
  rateBps: "rate, bit/s",
  queueBytes: "queue, bytes",
  reorder: "reordered",
  duplicate: "duplicated",
  drops: "dropped",
};

export function comparisonLines(compared: Comparison, a: string, b: string, style: Style): string[] {
  const { experiment, differences, verdicts, changes, unchanged } = compared;
  const title = wrap(style.bold(`${experiment}: ${a} → ${b}`), style.width);
  const same = `${unchanged} ${unchanged === 1 ? "value is" : "values are"} the same, or within the spread of the samples.`;
  const parts = [
    differences.length === 0
      ? []
      : [
          "",
          ...table(
            ["NOT THE SAME", "A", "B"],
            differences.map((each) => [NAMES[each.what] ?? each.what, each.a, each.b]),
            style,
          ),
          ...(differences.some(({ what }) => what === "over")
            ? ["", ...wrap("One of them was over loopback: its times are not those of a link.", style.width)]
            : []),
        ],
    verdicts.length === 0
      ? ["", "The verdicts are the same."]
      : [
          "",
          ...table(
            ["VERDICT OF", "A", "B", "WHY"],
            verdicts.map((each) => [each.line, each.a, word(each), each.why]),
            style,
          ),
        ],
    changes.length === 0
      ? []
      : [
          "",
          ...table(
            ["LINE", "COLUMN", "A", "B", "CHANGE"],
            changes.map((each) => [
              each.line,
              headOf({ title: each.column, unit: each.unit }),
              each.a,
              each.b,
              partText(each),
            ]),
            style,
          ),
        ],
  ];
  return [...title, ...parts.flat(), "", ...wrap(same, style.width)];
}

function word({ b, isWorse }: Comparison["verdicts"][number]): string {
  return isWorse ? `${b} (worse)` : b;
}

function partText({ part }: Change): string {
  if (part === null) return "";
  if (part > 9) return `×${Math.round(1 + part).toLocaleString("en")}`;
  return `${part > 0 ? "+" : "−"}${(Math.abs(part) * 100).toFixed(Math.abs(part) < 0.1 ? 1 : 0)}%`;
}
