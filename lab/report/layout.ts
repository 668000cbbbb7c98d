/**
 * The table of a run on a terminal: one line for each way where that fits; in a narrower window the why below its
 * line, what was expected with it, the name above; in the narrowest a card for each.
 */
import { pad, table as plain, type Style, widthOf, wrap } from "../../cli/table.ts";
import type { TextTable } from "./text.ts";

/** What the last column needs to be read beside the others. */
const LEAST_WHY = 36;
const INDENT = "    ";
const NAMED_INDENT = "  ";

export function layout(table: TextTable, style: Style): string[] {
  const { header, rows } = table;
  const widths = header.map((name, column) =>
    Math.max(widthOf(name), ...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  const widthBefore = (columns: readonly number[]) => columns.reduce((sum, column) => sum + widths[column]! + 2, 0);
  const all = header.map((_, column) => column);
  const [why, expected] = [header.length - 1, header.indexOf("expected")];
  const before = widthBefore(all.slice(0, -1));
  const last = Math.min(widths[why]!, style.width - before);
  const line = lineOf(table, widths);
  if (last >= Math.min(LEAST_WHY, widths[why]!)) {
    const beside = all.slice(0, -1);
    return [
      style.dim(line(header, beside) + header[why]),
      ...rows.flatMap((row) => {
        const [first, ...rest] = wrap(row[why] ?? "", last);
        return [`${line(row, beside)}${first}`.trimEnd(), ...rest.map((more) => " ".repeat(before) + more)];
      }),
    ];
  }
  // What is long gets lines of its own: the why below, then what was expected, then the name above.
  for (const [isNamed, below] of [
    [true, [why]],
    [true, [expected, why]],
    [false, [why]],
    [false, [expected, why]],
  ] as const) {
    const beside = all.filter((column) => !below.includes(column) && (isNamed || column > 0));
    const indent = isNamed ? "" : NAMED_INDENT;
    if (below.some((column) => column < 0) || indent.length + widthBefore(beside) - 2 > style.width) continue;
    const room = style.width - INDENT.length;
    const more = (row: readonly string[], column: number) => {
      const text = row[column] ?? "";
      if (text === "") return [];
      return wrap(column === expected ? `expected: ${text}` : text, room).map((each) => style.dim(INDENT + each));
    };
    return [
      style.dim(indent + line(header, beside).trimEnd()),
      ...rows.flatMap((row) => [
        ...(isNamed ? [] : wrap(row[0] ?? "", style.width).map(style.bold)),
        indent + line(row, beside).trimEnd(),
        ...below.flatMap((column) => more(row, column)),
      ]),
    ];
  }
  return cards(table, style);
}

/** Cells of these columns, each as wide as its column. */
function lineOf({ numeric }: TextTable, widths: readonly number[]) {
  return (cells: readonly string[], columns: readonly number[]) =>
    columns
      .map((column) => {
        const text = cells[column]!;
        return numeric[column]
          ? `${" ".repeat(widths[column]! - widthOf(text))}${text}  `
          : pad(text, widths[column]! + 2);
      })
      .join("");
}

/** So many numbers of one line are told in running text: below each other nobody would find the next line. */
const MANY = 6;

/** Below each other: the name as a title, then `column  value`. */
function cards({ header, rows, numeric }: TextTable, style: Style): string[] {
  const columns = header.map((_, column) => column).slice(1);
  const running = columns.filter((column) => numeric[column]);
  const isRunning = running.length >= MANY;
  return rows.flatMap((row, index) => {
    const told = (column: number) => (row[column] ?? "") !== "";
    const numbers = running
      .filter((column) => told(column) && row[column] !== "-")
      .map((column) => `${header[column]} ${row[column]}`.replaceAll(" ", KEPT));
    const beneath = columns.filter((column) => told(column) && !(isRunning && numeric[column]));
    return [
      ...(index === 0 ? [] : [""]),
      ...wrap(row[0] ?? "", style.width).map(style.bold),
      ...(isRunning ? wrap(numbers.join(", "), style.width).map((line) => line.replaceAll(KEPT, " ")) : []),
      ...plain(
        ["", ""],
        beneath.map((column) => [header[column]!, row[column]!]),
        style,
      ).slice(1),
    ];
  });
}

/** A space at which no line ends. */
const KEPT = "\u00a0";
