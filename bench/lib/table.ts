/** What a section found, and how it is printed: at most 100 columns wide. */

export type Cell = string | number | undefined;

export interface Table {
  readonly title?: string;
  /** The first column is text, the others are numbers. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export interface Aim {
  readonly what: string;
  readonly measured: string;
  readonly aim: string;
  readonly met: boolean;
}

export interface Report {
  readonly tables: readonly Table[];
  readonly aims?: readonly Aim[];
  /** How it was measured, and what is missing. */
  readonly notes?: readonly string[];
}

const WIDTH = 98;

export function printed(title: string, { tables, aims = [], notes = [] }: Report): string {
  const lines = ["", `== ${title} ${"=".repeat(Math.max(0, WIDTH - title.length - 4))}`];
  for (const table of tables) lines.push("", ...tableLines(table));
  if (aims.length > 0) lines.push("");
  for (const { what, measured, aim, met } of aims) {
    lines.push(...wrapped(`${met ? "met    " : "NOT MET"}  ${what}: ${measured} (aim: ${aim})`, "         "));
  }
  if (notes.length > 0) lines.push("");
  for (const note of notes) lines.push(...wrapped(`- ${note}`, "  "));
  return lines.join("\n");
}

function tableLines({ title, columns, rows }: Table): string[] {
  const texts = [columns, ...rows.map((row) => columns.map((_, i) => text(row[i])))];
  const widths = columns.map((_, i) => Math.max(...texts.map((row) => row[i]!.length)));
  const lines = texts.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("   "),
  );
  lines.splice(1, 0, "-".repeat(widths.reduce((sum, width) => sum + width + 3, -3)));
  return title === undefined ? lines : [title, "", ...lines];
}

/** Three significant digits, or whole numbers with commas. */
export function text(cell: Cell): string {
  if (cell === undefined || (typeof cell === "number" && !Number.isFinite(cell))) return "-";
  if (typeof cell === "string") return cell;
  if (Math.abs(cell) >= 100 || cell === 0) return Math.round(cell).toLocaleString("en-US");
  return cell.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(cell)))));
}

export function wrapped(line: string, indent: string): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of line.split(" ")) {
    if (current.trim() !== "" && current.length + 1 + word.length > WIDTH) {
      lines.push(current);
      current = indent + word;
    } else current = current === "" ? word : `${current} ${word}`;
  }
  return [...lines, current];
}
