/**
 * The table of a run on a terminal: one line for each way where that fits; in a narrower window the why below its
 * line, what was expected with it, titles broken at words, the name above; of many numbers as many columns at a time
 * as fit, each with the names; in the narrowest a card for each.
 */
import { labelled, pad, type Style, widthOf, wrap } from "../../cli/table.ts";
import type { TextTable } from "./text.ts";

/** What the last column needs to be read beside the others. */
const LEAST_WHY = 36;
const INDENT = "    ";
const NAMED_INDENT = "  ";
/** So many numbers are compared from way to way, in columns; on cards nobody would find the next one's. */
const MANY = 6;

export function layout(table: TextTable, style: Style): string[] {
  const { header, rows, numeric } = table;
  const all = header.map((_, column) => column);
  const [why, expected] = [header.length - 1, header.indexOf("expected")];
  const whole = gridOf(table, { isBroken: false });
  const beside = all.slice(0, -1);
  const before = whole.width(beside) + 2;
  const last = Math.min(whole.widths[why]!, style.width - before);
  if (last >= Math.min(LEAST_WHY, whole.widths[why]!)) {
    return [
      ...whole.head(all).map(style.dim),
      ...rows.flatMap((row) => {
        const [first, ...rest] = wrap(row[why] ?? "", last);
        return [`${whole.line(row, beside)}${first}`.trimEnd(), ...rest.map((more) => " ".repeat(before) + more)];
      }),
    ];
  }
  const told = (row: readonly string[], below: readonly number[]) =>
    below.flatMap((column) => {
      const text = row[column] ?? "";
      if (text === "") return [];
      const lines = wrap(column === expected ? `expected: ${text}` : text, style.width - INDENT.length);
      return lines.map((each) => style.dim(INDENT + each));
    });
  const name = (row: readonly string[]) => wrap(row[0] ?? "", style.width).map(style.bold);
  // What is long gets lines of its own: the why below, then what was expected, then the name above.
  const broken = gridOf(table, { isBroken: true });
  for (const [isNamed, below, grid] of [
    [true, [why], whole],
    [true, [expected, why], whole],
    [true, [why], broken],
    [true, [expected, why], broken],
    [false, [why], whole],
    [false, [expected, why], whole],
    [false, [why], broken],
    [false, [expected, why], broken],
  ] as const) {
    const columns = all.filter((column) => !below.includes(column) && (isNamed || column > 0));
    const indent = isNamed ? "" : NAMED_INDENT;
    if (below.some((column) => column < 0) || indent.length + grid.width(columns) > style.width) continue;
    return [
      ...grid.head(columns).map((line) => style.dim(indent + line)),
      ...rows.flatMap((row) => [
        ...(isNamed ? [] : name(row)),
        indent + grid.line(row, columns).trimEnd(),
        ...told(row, below),
      ]),
    ];
  }
  const short = all.filter((column) => column > 0 && column !== expected && column !== why);
  const blocks = numeric.filter((each) => each).length < MANY ? [] : blocksOf(broken, short, style.width);
  if (blocks.length === 0) return cards(table, style);
  return [
    ...blocks.flatMap((columns) => [
      ...broken.head(columns).map(style.dim),
      ...rows.map((row) => broken.line(row, columns).trimEnd()),
      "",
    ]),
    ...rows.flatMap((row) => [...name(row), ...told(row, [expected, why])]),
  ];
}

interface Grid {
  readonly widths: readonly number[];
  /** Of a line of these columns. */
  width(columns: readonly number[]): number;
  head(columns: readonly number[]): string[];
  /** Each cell as wide as its column, numbers at its right. */
  line(cells: readonly string[], columns: readonly number[]): string;
}

/** Broken: titles take as many lines as they need to be no wider than what is below them, or their longest word. */
function gridOf({ header, rows, numeric }: TextTable, { isBroken }: { readonly isBroken: boolean }): Grid {
  const widths = header.map((title, column) => {
    const least = isBroken ? Math.max(...title.split(" ").map(widthOf)) : widthOf(title);
    return Math.max(least, ...rows.map((row) => widthOf(row[column] ?? "")));
  });
  const line = (cells: readonly string[], columns: readonly number[]) =>
    columns
      .map((column) => {
        const text = cells[column] ?? "";
        return numeric[column]
          ? `${" ".repeat(widths[column]! - widthOf(text))}${text}  `
          : pad(text, widths[column]! + 2);
      })
      .join("");
  const titles = header.map((title, column) => atWords(title, widths[column]!));
  return {
    widths,
    line,
    width: (columns) => columns.reduce((sum, column) => sum + widths[column]! + 2, -2),
    head(columns) {
      const height = Math.max(...columns.map((column) => titles[column]!.length));
      return Array.from({ length: height }, (_, at) => {
        const cells = titles.map((lines) => lines[at - height + lines.length] ?? "");
        return line(cells, columns).trimEnd();
      });
    },
  };
}

/** `wrap` leaves no line shorter than is good for running text. */
function atWords(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length === 0 || widthOf(longer) > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

/** As many columns at a time as fit beside the names; none when one alone does not. */
function blocksOf({ width }: Grid, columns: readonly number[], most: number): number[][] {
  const blocks = [[0]];
  for (const column of columns) {
    if (width([...blocks.at(-1)!, column]) <= most) blocks.at(-1)!.push(column);
    else if (width([0, column]) <= most) blocks.push([0, column]);
    else return [];
  }
  return blocks.filter((block) => block.length > 1);
}

/** Below each other: the name as a title, then `column  value`, or `column: value` where there is no room for columns. */
function cards({ header, rows }: TextTable, style: Style): string[] {
  const titles = header.slice(1);
  const widest = Math.max(...titles.map(widthOf));
  const hasRoom = style.width - widest - 2 >= 24;
  return rows.flatMap(([name = "", ...row], index) => [
    ...(index === 0 ? [] : [""]),
    ...wrap(name, style.width).map(style.bold),
    ...titles.flatMap((title, column) => {
      const text = row[column] ?? "";
      if (text === "") return [];
      return hasRoom ? labelled(title, text, style, widest) : wrap(`${title}: ${text}`, style.width);
    }),
  ]);
}
