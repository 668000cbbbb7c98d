/** Text in columns, as wide as the terminal and not wider. */

/** Columns that a terminal shows for this text: wide characters take two, marks and colours none. */
export function widthOf(text: string): number {
  return Bun.stringWidth(text);
}

export function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

/** Breaks at spaces, and keeps what is before the first word; a word that is longer than a line is broken too. */
export function wrap(text: string, width: number): string[] {
  const indent = /^ */.exec(text)![0];
  if (indent !== "" && indent.length <= width - 24) {
    return wrap(text.slice(indent.length), width - indent.length).map((line) => indent + line);
  }
  const most = Math.max(8, width);
  const lines: string[] = [];
  let line = "";
  for (const given of text.split(" ")) {
    let word = given;
    if (line !== "" && widthOf(line) + 1 + widthOf(word) > most) {
      lines.push(line);
      line = "";
    }
    // Measured piece by piece: a word can be megabytes of somebody else.
    for (let part = fitting(word, most); part.length < word.length; part = fitting(word, most)) {
      lines.push(part);
      word = word.slice(part.length);
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** A command over as many lines as it needs, to be copied as it is: broken between arguments, with `\` at the ends. */
export function commandLines(text: string, width: number, indent = "  "): string[] {
  if (widthOf(indent + text) <= width) return [indent + text];
  // An option stays with its value.
  const words = text.match(/(?:-[\w-]+ (?!-))?(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? [];
  const lines: string[] = [];
  let line = indent.slice(1);
  for (const word of words) {
    if (line.trim() !== "" && widthOf(`${line} ${word} \\`) > width) {
      lines.push(`${line} \\`);
      line = `${indent} `;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** Shortens with an ellipsis. */
export function clip(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  return width < 1 ? "" : `${fitting(text, width - 1, 0)}…`;
}

/** The beginning of the text that fits; at least one character, so that whoever goes on comes to an end. */
function fitting(text: string, width: number, atLeast = 1): string {
  let part = "";
  for (const character of text) {
    if (part.length >= atLeast && widthOf(part + character) > width) break;
    part += character;
  }
  return part;
}

export interface Style {
  readonly width: number;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
}

/**
 * A table with a header where it fits; else each row as a card of `name: value` lines. The last column is
 * wrapped when that makes the table fit and leaves it at least 24 columns.
 */
export function table(header: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const widths = header.map((name, column) => {
    return Math.max(widthOf(name), ...rows.map((row) => widthOf(row[column] ?? "")));
  });
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  const last = Math.min(widths.at(-1)!, style.width - before);
  if (last < Math.min(24, widths.at(-1)!)) return cards(header, rows, style);
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => (column === cells.length - 1 ? cell : pad(cell, widths[column]! + 2))).join("");
  const lines = [style.dim(line(header))];
  for (const row of rows) {
    const [first, ...rest] = wrap(row.at(-1) ?? "", last);
    lines.push(line([...row.slice(0, -1), first!]).trimEnd());
    for (const more of rest) lines.push(" ".repeat(before) + more);
  }
  return lines;
}

function cards(header: readonly string[], rows: readonly (readonly string[])[], style: Style): string[] {
  const labelWidth = Math.max(...header.map(widthOf));
  return rows.flatMap((row, index) => [
    ...(index === 0 ? [] : [""]),
    ...header.flatMap((name, column) => labelled(name, row[column] ?? "", style, labelWidth)),
  ]);
}

/** `label  text`, the text wrapped beside its label, or below it in a narrow window. */
export function labelled(label: string, text: string, style: Style, labelWidth = 12): string[] {
  const room = style.width - labelWidth - 2;
  if (room < 24) return [style.dim(label), ...wrap(text, style.width - 2).map((line) => `  ${line}`)];
  const [first, ...rest] = wrap(text, room);
  return [`${style.dim(pad(label, labelWidth))}  ${first}`, ...rest.map((line) => " ".repeat(labelWidth + 2) + line)];
}
