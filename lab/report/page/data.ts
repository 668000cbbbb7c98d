/** What the page is given of a ladder: names once, packets as rows of numbers, so that thousands stay small. */
import type { Ladder, LayerName, RungKind, RungNote } from "../../capture/ladder.ts";

export interface PageLadder {
  readonly name: string;
  readonly file: string | null;
  readonly hosts: Ladder["hosts"];
  readonly spanNs: number;
  /** Packets of the capture; the page has the first `rows.length` of them. */
  readonly total: number;
  readonly flows: readonly string[];
  /** Labels and texts of layers, by index. */
  readonly texts: readonly string[];
  readonly rows: readonly Row[];
  readonly marks: Ladder["marks"];
}

/** at, leftAt (-1: dropped), from, to, bytes, flow, label, kind, drop or "", notes, layers: name, bytes, osi, text... */
export type Row = readonly [
  at: number,
  leftAt: number,
  from: number,
  to: number,
  bytes: number,
  flow: number,
  label: number,
  kind: RungKind,
  drop: string,
  notes: readonly RungNote[],
  layers: readonly (readonly [LayerName, bytes: number, osi: number, text: number])[],
];

export function pageLadder(ladder: Ladder, file: string | null, most: number): PageLadder {
  const texts = new Map<string, number>();
  const indexOf = (text: string): number => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    texts.set(text, texts.size);
    return texts.size - 1;
  };
  const rows = ladder.rungs
    .slice(0, most)
    .map(
      ({ at, leftAt, from, to, bytes, flow, label, kind, drop, notes, layers }): Row => [
        Math.round(at),
        leftAt === undefined ? -1 : Math.round(leftAt),
        from,
        to,
        bytes,
        flow,
        indexOf(label),
        kind,
        drop ?? "",
        notes,
        layers.map((layer) => [layer.name, layer.bytes, layer.osi, indexOf(layer.text)] as const),
      ],
    );
  return {
    name: ladder.name,
    file,
    hosts: ladder.hosts.map(({ name, address }) => ({ name, address })),
    spanNs: ladder.spanNs,
    total: ladder.rungs.length,
    flows: ladder.flows.map(({ protocol, opener, other }) => `${protocol} ${opener} – ${other}`),
    texts: [...texts.keys()],
    rows,
    marks: ladder.marks,
  };
}
