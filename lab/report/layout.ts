/**
 * The table of a run on a terminal: one line for each way where that fits; in a narrower window the why below its
 * line; in the narrowest a card for each.
 */
import { pad, table as plain, type Style, widthOf, wrap } from "../../cli/table.ts";
import type { TextTable } from "./text.ts";

/** What the last column needs to be read beside the others. */
const LEAST_WHY = 36;
const INDENT = "    ";

export function layout({ header, rows, numeric }: TextTable, style: Style): string[] {
  const widths = header.map((name, column) =>
    Math.max(widthOf(name), ...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  const line = (cells: readonly string[]) =>
    cells
      .slice(0, -1)
      .map((text, column) =>
        numeric[column] ? `${" ".repeat(widths[column]! - widthOf(text))}${text}  ` : pad(text, widths[column]! + 2),
      )
      .join("");
  const last = Math.min(widths.at(-1)!, style.width - before);
  if (last >= Math.min(LEAST_WHY, widths.at(-1)!)) {
    return [
      style.dim(line(header) + header.at(-1)!),
      ...rows.flatMap((row) => {
        const [first, ...rest] = wrap(row.at(-1) ?? "", last);
        return [`${line(row)}${first}`.trimEnd(), ...rest.map((more) => " ".repeat(before) + more)];
      }),
    ];
  }
  if (before - 2 <= style.width) {
    const room = style.width - INDENT.length;
    return [
      style.dim(line(header).trimEnd()),
      ...rows.flatMap((row) => [
        line(row).trimEnd(),
        ...wrap(row.at(-1) ?? "", room).map((each) => style.dim(INDENT + each)),
      ]),
    ];
  }
  return cards(header, rows, style);
}

/** Below each other: the name as a title, then `column  value`. */
function cards(header: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const rest = header.slice(1);
  return rows.flatMap((row, index) => [
    ...(index === 0 ? [] : [""]),
    ...wrap(row[0] ?? "", style.width).map(style.bold),
    ...plain(
      ["", ""],
      rest.map((name, column) => [name, row[column + 1] ?? ""]).filter(([, text]) => text !== ""),
      style,
    ).slice(1),
  ]);
}
