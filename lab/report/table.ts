/** The table of the page: what was found, with the spread of the samples and a way to the packets. */
import type { Ladder } from "../capture/ladder.ts";
import type { Column, Finding, Verdict } from "../experiment.ts";
import type { Run } from "../run.ts";
import { escapeMarkup as safe } from "./escape.ts";
import { cell, spreadText } from "./text.ts";

/** With so many columns the why has no room beside them: it gets a row of its own. */
const MANY = 7;

export function findingsTable({ findings: { columns, findings } }: Run, ladders: readonly Ladder[]): string {
  if (findings.length === 0) {
    return `<section><h2>What was found</h2><p class="muted">Nothing: the experiment has no lines.</p></section>`;
  }
  const isTall = columns.length >= MANY;
  const hasExpected = findings.some(({ expected }) => expected !== undefined);
  const numbers = columns.map(
    (column) =>
      `<th scope="col"${column.unit === "text" ? "" : ` class="number"`}>${safe(column.title)}${unitText(column)}</th>`,
  );
  const judged = [...(hasExpected ? [`<th scope="col">expected</th>`] : []), `<th scope="col">verdict</th>`];
  const way = `<th scope="col">way</th>`;
  const heads = isTall ? [way, ...judged, ...numbers] : [way, ...numbers, ...judged, `<th scope="col">why</th>`];
  const rows = findings.map((finding) => {
    const name = `<th class="way" scope="row">${safe(finding.name)}</th>`;
    const values = columns.map((column) => valueCell(finding, column));
    const verdicts = [...(hasExpected ? [expectedCell(finding)] : []), verdictCell(finding)];
    const why = `<span class="told">${safe(finding.why)}${packetsLink(finding, ladders)}</span></td>`;
    if (!isTall) return `<tr>${name}${values.join("")}${verdicts.join("")}<td class="why" data-label="why">${why}</tr>`;
    return `<tr class="above">${name}${verdicts.join("")}${values.join("")}</tr><tr class="below"><td class="why" colspan="${heads.length}" data-label="why">${why}</tr>`;
  });
  return `<section><h2>What was found</h2><div class="scroll"><table class="findings"><thead><tr>${heads.join("")}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>${legend(columns)}</section>`;
}

export function badge(verdict: Verdict, text: string = verdict): string {
  return `<span class="badge ${verdict}">${safe(text)}</span>`;
}

function valueCell(finding: Finding, column: Column): string {
  const text = cell(finding, column);
  const range = spreadText(finding, column);
  const names = [column.unit === "text" ? "words" : "number", ...(text === "" ? ["none"] : [])].join(" ");
  const unit = unitOf(column);
  const label = unit === undefined ? column.title : `${column.title}, ${unit}`;
  const spread = range === undefined ? "" : `<span class="spread">${safe(range)}</span>`;
  return `<td class="${names}" data-label="${safe(label)}"><span>${safe(text)}${spread}</span></td>`;
}

function expectedCell({ expected = "" }: Finding): string {
  return `<td class="expected${expected === "" ? " none" : ""}" data-label="expected">${safe(expected)}</td>`;
}

function verdictCell({ verdict }: Finding): string {
  if (verdict === "none") return `<td class="none" data-label="verdict"></td>`;
  return `<td data-label="verdict"><span>${badge(verdict)}</span></td>`;
}

function packetsLink({ name, capture }: Finding, ladders: readonly Ladder[]): string {
  const index = ladders.findIndex((ladder) => ladder.name === capture);
  if (index < 0) return "";
  return ` <a href="#ladder" data-ladder="${index}" aria-label="packets of ${safe(name)}">packets</a>`;
}

function legend(columns: readonly Column[]): string {
  const items = columns
    .filter(({ what }) => what !== undefined)
    .map(({ title, what }) => `<li><strong>${safe(title)}</strong>: ${safe(what!)}</li>`);
  return items.length === 0 ? "" : `<ul class="columns">${items.join("")}</ul>`;
}

const UNITS: Readonly<Partial<Record<Column["unit"], string>>> = {
  rt: "round trips",
  ms: "ms",
  bytes: "bytes",
  rate: "bit/s",
};

/** Where the title does not say it already. */
function unitOf({ title, unit }: Column): string | undefined {
  const name = UNITS[unit];
  return name === undefined || title.split(/[ ,/]/).includes(name) ? undefined : name;
}

function unitText(column: Column): string {
  const name = unitOf(column);
  return name === undefined ? "" : `<span class="spread">${name}</span>`;
}
