/** Where each moment of a ladder is on the page: by time, or by order with quiet times made short. Pure. */
import type { PageLadder, Row } from "./data.ts";

export type Mode = "order" | "time";

export interface Positions {
  readonly height: number;
  /** Of the packet's departure and arrival, in pixels from the top. */
  readonly from: Float64Array;
  readonly to: Float64Array;
  readonly marks: Float64Array;
  /** The lowest point of all packets up to this one: what ends above the window need not be looked at. */
  readonly reach: Float64Array;
}

const TOP = 26;
const BOTTOM = 40;
/** Browsers draw no element that is much higher. */
export const MOST_PIXELS = 8_000_000;
const DEPARTURE = 24;
const ARRIVAL = 7;
const LOST = 16;

export function positions(ladder: PageLadder, rows: readonly Row[], mode: Mode, zoom: number, view: number): Positions {
  const place = mode === "time" ? byTime(ladder, zoom, view) : byOrder(ladder, rows, zoom);
  const from = Float64Array.from(rows, ([at]) => place(at, true));
  const to = Float64Array.from(rows, ([at, leftAt], index) => {
    return leftAt < 0 ? from[index]! + LOST : Math.max(from[index]!, place(Math.max(leftAt, at), false));
  });
  // In a burst packets come to the wire at one moment, each still has a line of its own.
  const reach = new Float64Array(rows.length);
  let lowest = 0;
  for (let index = 0; index < rows.length; index++) {
    lowest = Math.max(lowest, to[index]!, from[index]!);
    reach[index] = lowest;
  }
  const marks = Float64Array.from(ladder.marks, ({ at }) => place(at, false));
  const height = Math.max(lowest, ...marks, 0) + BOTTOM;
  return { height, from, to, marks, reach };
}

type Place = (ns: number, isDeparture: boolean) => number;

function byTime({ spanNs }: PageLadder, zoom: number, view: number): Place {
  const room = Math.min(MOST_PIXELS, Math.max(120, view - TOP - BOTTOM) * zoom);
  return (ns) => TOP + (Math.max(0, ns) / Math.max(1, spanNs)) * room;
}

/** Moments in their order; a departure takes a line, and a pause grows slower than it lasts. */
function byOrder({ marks }: PageLadder, rows: readonly Row[], zoom: number): Place {
  const moments = [
    ...rows.map(([at]) => ({ ns: at, step: DEPARTURE })),
    ...rows.filter(([, leftAt]) => leftAt >= 0).map(([, leftAt]) => ({ ns: leftAt, step: ARRIVAL })),
    ...marks.map(({ at }) => ({ ns: at, step: DEPARTURE })),
  ].sort((a, b) => a.ns - b.ns);
  const total = moments.reduce((sum, { step }) => sum + step, 0);
  const unit = Math.min(zoom, MOST_PIXELS / Math.max(1, total * 2));
  const times: number[] = [];
  const places: number[] = [];
  let y = TOP;
  let last: number | undefined;
  for (const { ns, step } of moments) {
    if (last !== undefined) y += (step + Math.min(48, 6 * Math.log2(1 + (ns - last) / 1e6))) * unit;
    last = ns;
    times.push(ns);
    places.push(y);
  }
  // Several packets of one moment follow each other: each departure takes the next of its places.
  const used = new Map<number, number>();
  return (ns, isDeparture) => {
    const first = lowerBound(times, ns);
    if (times[first] !== ns) return between(times, places, first, ns);
    if (!isDeparture) return places[first]!;
    const nth = used.get(ns) ?? 0;
    used.set(ns, nth + 1);
    const index = Math.min(first + nth, times.length - 1);
    return places[times[index] === ns ? index : first]!;
  };
}

function between(times: readonly number[], places: readonly number[], next: number, ns: number): number {
  if (times.length === 0) return TOP;
  if (next === 0) return places[0]!;
  if (next >= times.length) return places.at(-1)!;
  const part = (ns - times[next - 1]!) / (times[next]! - times[next - 1]!);
  return places[next - 1]! + part * (places[next]! - places[next - 1]!);
}

/** The first index whose value is not less. */
export function lowerBound(values: ArrayLike<number>, value: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `0.02 ms`, `43.6 ms`, `1.204 s`. */
export function timeText(ns: number): string {
  const ms = ns / 1e6;
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(3)} s`;
  return `${ms >= 100 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/** Pixels that a label needs to itself. */
export const LABEL_PX = 14;

/**
 * Which of the packets that are drawn have their label: it needs a line of its own on its side. Where there is none
 * for all, what is selected, lost or sent again has it.
 */
export function labelled(
  from: Float64Array,
  rows: readonly Row[],
  drawn: readonly number[],
  selected: number,
): ReadonlySet<number> {
  const chosen = new Set<number>();
  /** By host and line of the page: where a label is in it. */
  const taken = new Map<string, number>();
  const rank = (index: number) => (index === selected ? 0 : isLoss(rows[index]!) ? 1 : 2);
  for (const index of drawn.toSorted((a, b) => rank(a) - rank(b) || a - b)) {
    const [y, host] = [from[index]!, rows[index]![2]];
    const line = Math.floor(y / LABEL_PX);
    const isTaken = [-1, 0, 1].some((by) => {
      const other = taken.get(`${host} ${line + by}`);
      return other !== undefined && Math.abs(other - y) < LABEL_PX;
    });
    if (isTaken) continue;
    taken.set(`${host} ${line}`, y);
    chosen.add(index);
  }
  return chosen;
}

/** It was lost, or sent again. */
export function isLoss(row: Row): boolean {
  return row[8] !== "" || row[9].includes("retransmission");
}
