/** The columns of a ladder, and one packet as an arrow between them. */
import type { Row } from "./data.ts";

const SVG = "http://www.w3.org/2000/svg";

export interface Columns {
  /** Where the axis of time ends. */
  readonly left: number;
  at(host: number): number;
  /** From where to where the arrow of a packet goes; that of a dropped one ends on the way. */
  ends(row: Row): readonly [number, number];
  label(
    host: number,
    to: number,
  ): { readonly x: number; readonly anchor: string; readonly characters: number; readonly isBeside: boolean };
  headAnchor(host: number): string;
}

/** Two hosts in a wide window have their labels outside, where no arrow crosses them. */
export function columnsOf(width: number, hosts: number, character: number): Columns {
  const left = width < 560 ? 58 : 84;
  const isWide = width >= 760 && hosts === 2;
  const beside = isWide ? Math.min(360, (width - left) * 0.31) : 0;
  const [first, last] = [left + 10 + beside, width - 14 - beside];
  const at = (host: number) => first + ((last - first) * host) / Math.max(1, hosts - 1);
  const ends = (row: Row): readonly [number, number] => {
    const [, , from, to, , , , , drop] = row;
    const start = at(Math.max(0, from));
    const target = to < 0 || to === from ? (from >= hosts - 1 ? from - 1 : from + 1) : to;
    const end = hosts < 2 ? start + 60 : at(target);
    return [start, drop === "" ? end : start + (end - start) * 0.55];
  };
  return {
    left,
    at,
    ends,
    label(host, to) {
      if (isWide) {
        const x = host === 0 ? first - 10 : last + 10;
        return {
          x,
          anchor: host === 0 ? "end" : "start",
          characters: Math.floor((beside - 14) / character),
          isBeside: true,
        };
      }
      const isRightwards = host < hosts - 1 && (to < 0 || to > host);
      const room = (last - first) / Math.max(1, hosts - 1) - 16;
      return {
        x: at(host) + (isRightwards ? 7 : -7),
        anchor: isRightwards ? "start" : "end",
        characters: Math.floor(room / character),
        isBeside: false,
      };
    },
    headAnchor: (host) => (isWide ? "middle" : host === 0 ? "start" : host === hosts - 1 ? "end" : "middle"),
  };
}

/** Pixels that a character takes in this font, on average and with something to spare. */
export function characterOf(sample: Element): number {
  const pencil = document.createElement("canvas").getContext("2d");
  if (!pencil) return 7;
  const { fontSize, fontFamily } = getComputedStyle(sample);
  pencil.font = `${fontSize} ${fontFamily}`;
  const text = "ClientHello SNI=server ALPN=h2 X25519, ACK 1449, window 64 kB";
  return (pencil.measureText(text).width / text.length) * 1.06;
}

export interface Drawing {
  readonly index: number;
  readonly y: number;
  readonly yEnd: number;
  readonly columns: Columns;
  /** Undefined where there is no room. */
  readonly label: string | undefined;
  readonly time: string | undefined;
  readonly isSelected: boolean;
}

export function drawRow(row: Row, { index, y, yEnd, columns, label, time, isSelected }: Drawing): SVGElement {
  const [, , from, to, , , , kind, drop, notes] = row;
  const [x1, x2] = columns.ends(row);
  const isAgain = notes.includes("retransmission");
  const names = ["rung", `k-${kind}`, drop !== "" && "lost", isAgain && "again", isSelected && "selected"];
  const group = element("g", { class: names.filter(Boolean).join(" "), "data-index": index });
  group.append(element("line", { class: "arrow", x1, x2, y1: y, y2: yEnd }));
  if (drop === "") group.append(element("path", { class: "tip-of", d: arrowhead(x1, y, x2, yEnd) }));
  else group.append(element("path", { class: "cross", d: `M${x2 - 5} ${yEnd - 5}l10 10m0 -10l-10 10` }));
  if (label !== undefined) {
    const { x, anchor, characters, isBeside } = columns.label(from, to);
    const prefix = drop !== "" ? "✕ " : isAgain ? "↻ " : "";
    const text = `${prefix}${label}`;
    const shown = text.length > characters ? `${text.slice(0, Math.max(1, characters - 1))}…` : text;
    group.append(element("text", { class: "label", x, y: isBeside ? y + 4 : y - 4, "text-anchor": anchor }, shown));
  }
  if (time !== undefined) {
    group.append(element("text", { class: "time", x: columns.left - 6, y: y + 4, "text-anchor": "end" }, time));
  }
  return group;
}

function arrowhead(x1: number, y1: number, x2: number, y2: number): string {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const corner = (turn: number) =>
    `${(x2 - 8 * Math.cos(angle + turn)).toFixed(1)} ${(y2 - 8 * Math.sin(angle + turn)).toFixed(1)}`;
  return `M${x2} ${y2.toFixed(1)}L${corner(0.38)}L${corner(-0.38)}Z`;
}

export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  text?: string,
): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, typeof value === "number" ? String(Math.round(value * 10) / 10) : value);
  }
  if (text !== undefined) made.textContent = text;
  return made;
}
