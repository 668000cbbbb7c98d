/** Segments of TCP in words, and what the ones before tell about them. */
import { u16, u32 } from "../../src/wire/packet/ip.ts";
import type { RungNote } from "./ladder.ts";
import type { Segment } from "./segments.ts";

/** Flags, options of a SYN, acknowledgement and window; of a segment with data only what is not ordinary. */
export function tcpText({ tcp, acknowledged, window }: Segment, hasData: boolean): string {
  const { syn, ack, fin, rst, ece, cwr, urg } = tcp.flags;
  const words: string[] = [];
  if (syn) words.push(ack ? "SYN+ACK" : "SYN");
  if (fin) words.push("FIN");
  if (rst) words.push("RST");
  if (urg) words.push("URG");
  // RFC 3168 §6.1.1: on a SYN both mean that the host can; afterwards that it saw congestion, or has slowed down.
  if (syn && ece) words.push("ECN");
  else if (ece) words.push("ECN echo");
  if (!syn && cwr) words.push("CWR");
  if (syn) words.push(...synOptions(tcp.options));
  if (ack && !syn && !hasData && !rst) {
    words.push(`ACK ${acknowledged.toLocaleString("en")}`);
    words.push(...sack(tcp.options, acknowledged, tcp.acknowledgement));
    if (!fin) words.push(`window ${kilobytes(window)}`);
  }
  return words.join(", ");
}

function synOptions(options: Segment["tcp"]["options"]): string[] {
  return options.flatMap(({ kind, data }) => {
    if (kind === 2 && data.length === 2) return [`MSS ${u16(data, 0)}`];
    if (kind === 3 && data.length === 1) return [`window scale ${data[0]}`];
    if (kind === 4) return ["SACK"];
    if (kind === 8) return ["timestamps"];
    if (kind === 34) return [data.length === 0 ? "TFO cookie request" : "TFO cookie"];
    return [];
  });
}

/** RFC 2018 §3: blocks that came, with numbers relative to those of the acknowledgement. */
function sack(options: Segment["tcp"]["options"], acknowledged: number, raw: number): string[] {
  const data = options.find(({ kind }) => kind === SACK)?.data;
  if (!data) return [];
  const relative = (number: number) => ((number - raw) | 0) + acknowledged;
  const blocks: { from: number; to: number }[] = [];
  for (let at = 0; at + 8 <= data.length; at += 8) {
    blocks.push({ from: relative(u32(data, at)), to: relative(u32(data, at + 4)) });
  }
  // RFC 2883 §4: a first block that was acknowledged already tells that it came twice.
  const isDuplicate = blocks[0] !== undefined && blocks[0].to <= acknowledged;
  const text = blocks.map(({ from, to }) => `${from.toLocaleString("en")}-${to.toLocaleString("en")}`).join(" ");
  return [`${isDuplicate ? "D-SACK" : "SACK"} ${text}`];
}

const SACK = 5;

function kilobytes(bytes: number): string {
  return bytes < 10_000 ? `${bytes.toLocaleString("en")} B` : `${Math.round(bytes / 1e3)} kB`;
}

interface Direction {
  /** The number after the last that was sent. */
  end: number;
  acknowledged: number;
  window: number;
}

/** Follows one connection; segments must come in the order of time. */
export class TcpNotes {
  readonly #sides = new Map<boolean, Direction>();

  of({ tcp, isOpener, sequence, acknowledged, window }: Segment): RungNote[] {
    const notes: RungNote[] = [];
    const { syn, fin, rst, ack } = tcp.flags;
    const own = this.#side(isOpener);
    const other = this.#side(!isOpener);
    const bytes = tcp.payload.length + (syn ? 1 : 0) + (fin ? 1 : 0);
    const end = sequence + bytes;
    if (!rst) {
      // RFC 9293 §3.8.4: at the place before what comes next, without data as Linux does it.
      const isBefore = own.end > 0 && sequence + 1 === own.end && bytes === 0;
      if (isBefore && other.window === 0 && other.end > 0) notes.push("window probe");
      else if (isBefore) notes.push("keep-alive");
      else if (bytes > 0 && sequence < own.end) notes.push("retransmission");
      else if (sequence > own.end && own.end > 0) notes.push("out of order");
      if (bytes === 0 && ack && own.end > 0 && acknowledged === own.acknowledged && notes.length === 0) {
        // RFC 5681 §2: nothing new, while something is on its way; with SACK also when the window moved (RFC 6675 §2).
        const hasSack = tcp.options.some(({ kind }) => kind === SACK);
        if (window !== own.window && !hasSack) notes.push("window update");
        else if (other.end > acknowledged) notes.push("duplicate ack");
      }
      if (window === 0 && !syn) notes.push("zero window");
    }
    own.end = Math.max(own.end, end);
    if (ack) own.acknowledged = acknowledged;
    own.window = window;
    return notes;
  }

  #side(isOpener: boolean): Direction {
    let side = this.#sides.get(isOpener);
    if (!side) {
      side = { end: 0, acknowledged: 0, window: 0 };
      this.#sides.set(isOpener, side);
    }
    return side;
  }
}
