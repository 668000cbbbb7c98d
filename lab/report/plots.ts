/**
 * Plots as SVG that needs no script: axes with units, the value of each mark as its tooltip, and the numbers as a
 * table for those who do not see it. Colours are the page's. Each is drawn twice, for wide and for narrow
 * windows, because text that is scaled down cannot be read.
 */
import type { Plot } from "../experiment.ts";
import { median } from "../units.ts";
import { escapeMarkup } from "./escape.ts";
import { logScale, type Scale, scale, tickText } from "./scale.ts";

/** Marks of one series; more are thinned, so that a report can be opened. */
const MOST_MARKS = 600;
/** Rows of the table beside a plot. */
const MOST_ROWS = 200;
export const COLOURS = 6;

type Point = readonly [number, number];

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const WIDE: Frame = { width: 760, height: 320, left: 64, right: 748, top: 28, bottom: 270 };
const NARROW: Frame = { width: 350, height: 260, left: 48, right: 342, top: 28, bottom: 210 };

export function plotFigure(plot: Plot, id: string): string {
  const isByCategory = plot.kind === "bars" || (plot.kind === "dots" && plot.x.unit === undefined);
  const drawn = (frame: Frame, name: string) =>
    svg(plot, frame, `${id}-${name}`, isByCategory ? categories(plot, frame) : points(plot, frame), name);
  const legend = plot.series.length > 1 && !isByCategory ? legendOf(plot) : "";
  return `<figure class="plot"><figcaption>${escapeMarkup(plot.title)}</figcaption>${legend}
${plot.series.some(({ points }) => points.length > 0) ? drawn(WIDE, "wide") + drawn(NARROW, "narrow") : '<p class="muted">There was nothing to show.</p>'}
${numbers(plot, isByCategory)}</figure>`;
}

function svg(plot: Plot, { width, height }: Frame, id: string, body: string, name: string): string {
  const { title, x, y, kind, series } = plot;
  const what = `${kind} of ${titleOf(y)} by ${titleOf(x)}: ${series.map((each) => each.name).join(", ")}. The numbers are in the table below.`;
  return `<svg class="${name}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-t ${id}-d"><title id="${id}-t">${escapeMarkup(title)}</title><desc id="${id}-d">${escapeMarkup(what)}</desc>${body}</svg>`;
}

/** Each series is a category: its samples, and its median as a bar or a line. */
function categories(plot: Plot, frame: Frame): string {
  const { left, right, bottom, top } = frame;
  const isBars = plot.kind === "bars";
  const values = plot.series.flatMap(({ points }) => points.map(([, value]) => value));
  const y = scale([...values, 0], [bottom, top], 5);
  const slot = (right - left) / Math.max(1, plot.series.length);
  const marks = plot.series.map((series, index) => {
    const middle = left + slot * (index + 0.5);
    const half = Math.min(slot * 0.36, 36);
    const samples = series.points.map(([, value]) => value).filter(Number.isFinite);
    const typical = median(samples);
    const tip = `${series.name}: median ${tickText(round(typical))}${unitOf(plot.y)} of ${samples.length}, from ${tickText(round(Math.min(...samples)))} to ${tickText(round(Math.max(...samples)))}`;
    const shown = thinned(series.points);
    const dots = shown.map(([, value], at) => {
      // Beside each other, so that samples of the same value can be counted.
      const x = middle + (shown.length < 2 ? 0 : ((at % 9) / 8 - 0.5) * half * 1.2);
      return `<circle cx="${px(x)}" cy="${px(y.at(value))}" r="2.5"><title>${escapeMarkup(`${series.name}: ${tickText(round(value))}${unitOf(plot.y)}`)}</title></circle>`;
    });
    const height = Math.abs(y.at(0) - y.at(typical));
    const bar =
      samples.length === 0
        ? ""
        : isBars
          ? `<rect class="bar" x="${px(middle - half)}" y="${px(Math.min(y.at(typical), y.at(0)))}" width="${px(half * 2)}" height="${px(Math.max(height, 1))}" rx="2"><title>${escapeMarkup(tip)}</title></rect>`
          : `<line class="median" x1="${px(middle - half)}" x2="${px(middle + half)}" y1="${px(y.at(typical))}" y2="${px(y.at(typical))}"><title>${escapeMarkup(tip)}</title></line>`;
    const text = tickText(Number(typical.toPrecision(3)));
    const value =
      samples.length === 0
        ? ""
        : isBars
          ? `<text class="value" x="${px(middle)}" y="${px(y.at(Math.max(...samples)) - 7)}" text-anchor="middle">${text}</text>`
          : `<text class="value" x="${px(middle + half + 5)}" y="${px(y.at(typical))}" dominant-baseline="middle">${text}</text>`;
    const drawnDots = samples.length > 1 ? dots.join("") : isBars ? "" : dots.join("");
    return `<g class="series s${index % COLOURS}">${bar}${drawnDots}${value}${label(series.name, middle, frame, slot)}</g>`;
  });
  return axisY(plot, y, frame) + marks.join("");
}

function points(plot: Plot, frame: Frame): string {
  const { left, right, top, bottom } = frame;
  const hasPlace = ([at, value]: Point) => (!plot.x.isLogarithmic || at > 0) && (!plot.y.isLogarithmic || value > 0);
  const all = plot.series.flatMap((series) => series.points.filter(hasPlace));
  const [across, up] = [all.map(([at]) => at), all.map(([, value]) => value)];
  const x = plot.x.isLogarithmic
    ? logScale(across, [left, right])
    : scale(across, [left, right], frame.width > 500 ? 8 : 4);
  const y = plot.y.isLogarithmic ? logScale(up, [bottom, top]) : scale([...up, 0], [bottom, top], 5);
  const marks = plot.series.map((series, index) => {
    const shown = thinned(series.points.filter(hasPlace));
    const tip = ([at, value]: Point) =>
      `<title>${escapeMarkup(`${series.name}: ${tickText(round(value))}${unitOf(plot.y)} at ${tickText(round(at))}${unitOf(plot.x)}`)}</title>`;
    if (plot.kind === "dots") {
      const dots = shown.map(
        (point) => `<circle cx="${px(x.at(point[0]))}" cy="${px(y.at(point[1]))}" r="2">${tip(point)}</circle>`,
      );
      return `<g class="series s${index % COLOURS}">${dots.join("")}</g>`;
    }
    const path = shown.map(([at, value], index) => {
      const [h, v] = [px(x.at(at)), px(y.at(value))];
      return index === 0 ? `M${h} ${v}` : plot.kind === "steps" ? `H${h}V${v}` : `L${h} ${v}`;
    });
    // Wide and unseen: what the pointer finds.
    const targets =
      shown.length > 150
        ? ""
        : shown
            .map(
              (point) =>
                `<circle class="target" cx="${px(x.at(point[0]))}" cy="${px(y.at(point[1]))}" r="7">${tip(point)}</circle>`,
            )
            .join("");
    return `<g class="series s${index % COLOURS}"><path class="line ${dashOf(index)}" d="${path.join("")}"><title>${escapeMarkup(series.name)}</title></path>${targets}</g>`;
  });
  return axisY(plot, y, frame) + axisX(plot, x, frame) + marks.join("");
}

function axisY({ y: { title, unit } }: Plot, y: Scale, { left, right, top, width }: Frame): string {
  const lines = y.ticks.map((tick) => {
    const at = px(y.at(tick));
    return `<line class="${tick === 0 ? "axis" : "grid"}" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/><text x="${left - 8}" y="${at}" text-anchor="end" dominant-baseline="middle">${tickText(tick)}</text>`;
  });
  return `<g class="frame">${lines.join("")}<text class="title" x="0" y="${top - 16}">${escapeMarkup(clipped(titleOf({ title, ...(unit !== undefined && { unit }) }), width))}</text></g>`;
}

function axisX({ x: { title, unit } }: Plot, x: Scale, { right, bottom, top, height, width }: Frame): string {
  const lines = x.ticks.map((tick) => {
    const at = px(x.at(tick));
    return `<line class="grid" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/><text x="${at}" y="${bottom + 18}" text-anchor="middle">${tickText(tick)}</text>`;
  });
  return `<g class="frame">${lines.join("")}<text class="title" x="${right}" y="${height - 10}" text-anchor="end">${escapeMarkup(clipped(titleOf({ title, ...(unit !== undefined && { unit }) }), width))}</text></g>`;
}

/** The name of a category below it, in at most three lines. */
function label(name: string, middle: number, { bottom }: Frame, slot: number): string {
  const most = Math.max(4, Math.floor(slot / 6.4));
  const lines: string[] = [];
  for (const word of name.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && `${last} ${word}`.length <= most) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  const shown = lines.slice(0, 3).map((line) => (line.length > most ? `${line.slice(0, most - 1)}…` : line));
  if (lines.length > 3) shown[2] = `${shown[2]!.slice(0, most - 1)}…`;
  return shown
    .map(
      (line, index) =>
        `<text x="${px(middle)}" y="${bottom + 18 + index * 14}" text-anchor="middle">${escapeMarkup(line)}</text>`,
    )
    .join("");
}

/** Another one where the colours begin again. */
const dashOf = (index: number) => `d${(index + Math.floor(index / COLOURS)) % 3}`;

/** Each name with its mark: a stroke, or a dot. */
function legendOf({ kind, series }: Plot): string {
  const items = series.map(({ name }, index) => {
    return `<li class="s${index % COLOURS}${kind === "dots" ? "" : ` stroke ${dashOf(index)}`}">${escapeMarkup(name)}</li>`;
  });
  return `<ul class="legend">${items.join("")}</ul>`;
}

/** The same in numbers: of a category its median and range, of a line its points. */
function numbers({ series, x, y }: Plot, isByCategory: boolean): string {
  const cell = (value: number) => `<td>${tickText(round(value))}</td>`;
  if (isByCategory) {
    const rows = series.map(({ name, points }) => {
      const samples = points.map(([, value]) => value).filter(Number.isFinite);
      if (samples.length === 0) return `<tr><th scope="row">${escapeMarkup(name)}</th><td>0</td></tr>`;
      return `<tr><th scope="row">${escapeMarkup(name)}</th><td>${samples.length}</td>${cell(median(samples))}${cell(Math.min(...samples))}${cell(Math.max(...samples))}</tr>`;
    });
    return details(["", "samples", `median${inUnit(y)}`, "least", "most"], rows, 0);
  }
  const all = series.flatMap(({ name, points }) => points.map((point) => ({ name, point })));
  const every = Math.max(1, Math.ceil(all.length / MOST_ROWS));
  const rows = all
    .filter((_, index) => index % every === 0)
    .map(({ name, point }) => `<tr><th scope="row">${escapeMarkup(name)}</th>${cell(point[0])}${cell(point[1])}</tr>`);
  return details(["", titleOf(x), titleOf(y)], rows, all.length - rows.length);
}

function details(header: readonly string[], rows: readonly string[], left: number): string {
  const more = left > 0 ? `<p class="muted">${left} more points are in run.json.</p>` : "";
  const heads = header.map((each) => `<th scope="col">${escapeMarkup(each)}</th>`).join("");
  return `<details class="numbers"><summary>numbers</summary><div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>${more}</details>`;
}

/** Of many points the least and the most of each stretch, so that no peak is lost. */
function thinned(points: readonly Point[]): readonly Point[] {
  const finite = points.filter((point) => point.every(Number.isFinite));
  if (finite.length <= MOST_MARKS) return finite;
  const stretch = Math.ceil(finite.length / (MOST_MARKS / 2));
  const kept: Point[] = [];
  for (let from = 0; from < finite.length; from += stretch) {
    const part = finite.slice(from, from + stretch);
    const least = part.reduce((a, b) => (b[1] < a[1] ? b : a));
    const most = part.reduce((a, b) => (b[1] > a[1] ? b : a));
    const inOrder = part.indexOf(least) < part.indexOf(most) ? [least, most] : [most, least];
    kept.push(...(least === most ? [least] : inOrder));
  }
  return kept;
}

/** What fits the width, at about 6.5 pixels for a character. */
function clipped(text: string, width: number): string {
  const most = Math.floor(width / 6.5);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function titleOf({ title, unit }: { readonly title: string; readonly unit?: string }): string {
  return unit === undefined ? title : `${title}, ${unit}`;
}

const inUnit = ({ unit }: Plot["y"]) => (unit === undefined ? "" : `, ${unit}`);
const unitOf = ({ unit }: Plot["y"]) => (unit === undefined ? "" : ` ${unit}`);
const px = (value: number) => Number(value.toFixed(1));
const round = (value: number) => Number(value.toPrecision(4));
