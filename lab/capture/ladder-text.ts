/** A ladder as lines of text, at most 100 columns wide. */
import type { Ladder, Rung } from "./ladder.ts";

export interface TextOptions {
  /** Columns (default 100, at least 60). */
  readonly width?: number;
  /** Shows so many packets at most (default all); what is left out is said. */
  readonly most?: number;
}

export function ladderText(
  ladder: Ladder,
  { width = 100, most = Number.POSITIVE_INFINITY }: TextOptions = {},
): string[] {
  const { hosts, rungs, marks } = ladder;
  const columns = Math.max(60, width);
  const lines = [cut(`${ladder.name}: ${hosts.map(({ name, address }) => `${name} ${address}`).join(", ")}`, columns)];
  const entries = [
    ...rungs.slice(0, most).map((rung) => ({ at: rung.at, line: rungLine(rung, ladder, columns) })),
    ...marks.map(({ at, host, text }) => ({
      at,
      line: cut(`${ms(at)}  * ${hosts[host]?.name ?? ""} ${text}`, columns),
    })),
  ];
  lines.push(...entries.sort((a, b) => a.at - b.at).map(({ line }) => line));
  if (rungs.length > most) lines.push(`… ${(rungs.length - most).toLocaleString("en")} more packets`);
  return lines;
}

function rungLine(rung: Rung, { hosts }: Ladder, columns: number): string {
  const name = (index: number) => hosts[index]?.name ?? "?";
  const isForward = rung.from <= rung.to || rung.to < 0;
  const [left, right] = isForward ? [rung.from, rung.to] : [rung.to, rung.from];
  const arrow = rung.drop !== undefined ? (isForward ? "──✕ " : " ✕──") : isForward ? "───▶" : "◀───";
  const notes = [...(rung.drop === undefined ? [] : [`dropped: ${rung.drop}`]), ...rung.notes];
  const head = `${ms(rung.at)} ${name(left)} ${arrow} ${name(right)} ${String(rung.bytes).padStart(5)} B  `;
  return cut(`${head}${rung.label}${notes.length > 0 ? ` [${notes.join(", ")}]` : ""}`, columns);
}

function ms(ns: number): string {
  return (ns / 1e6).toFixed(2).padStart(9);
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;
}
