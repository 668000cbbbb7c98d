/** What captures say about TCP and UDP. */
import { u16 } from "../../../src/wire/packet/ip.ts";
import type { Segment } from "../../capture/segments.ts";
import type { Judgement, Told } from "./told.ts";

const WRONG = (why: string): Judgement => ({ isRight: false, why });

export function judgeOpen({ conversations, ladder }: Told): Judgement {
  const [syn, answer, last] = conversations[0]?.connection.segments ?? [];
  if (!syn || !answer || !last) return WRONG("no connection was opened");
  const isRight =
    syn.tcp.flags.syn &&
    !syn.tcp.flags.ack &&
    answer.tcp.flags.syn &&
    answer.tcp.flags.ack &&
    answer.acknowledged === 1 &&
    !answer.isOpener &&
    last.isOpener &&
    !last.tcp.flags.syn &&
    last.acknowledged === 1;
  const agreed = ladder.rungs[0]?.label.replace(/^SYN, /, "") ?? "";
  return { isRight, why: `SYN, SYN+ACK, ACK; the SYN itself counts as one number: ACK 1; offered: ${agreed}` };
}

export function judgeData({ conversations }: Told): Judgement {
  const segments = conversations[0]?.connection.segments ?? [];
  const data = segments.filter(({ isOpener, tcp }) => isOpener && tcp.payload.length > 0);
  const mss = Math.min(...segments.filter(({ tcp }) => tcp.flags.syn).map(mssOf));
  let next = 1;
  let isContinuous = true;
  for (const { sequence, tcp } of data) {
    // What is sent again has an older number.
    if (sequence > next) isContinuous = false;
    next = Math.max(next, sequence + tcp.payload.length);
  }
  const largest = Math.max(0, ...data.map(({ tcp }) => tcp.payload.length));
  const numbers = data.slice(0, 3).map(({ sequence }) => sequence.toLocaleString("en"));
  return {
    isRight: data.length > 1 && isContinuous && largest <= mss,
    why: `${data.length} segments of at most ${largest.toLocaleString("en")} bytes (MSS ${mss} less 12 of timestamps), numbered by their first byte: ${numbers.join(", ")}, …`,
  };
}

/** An ACK that was lost is made good by the next one: nothing is sent again for it. */
export function judgeCumulative({ conversations }: Told): Judgement {
  const segments = conversations[0]?.connection.segments ?? [];
  const acks = segments.filter(({ isOpener, tcp }) => !isOpener && tcp.flags.ack && !tcp.flags.syn);
  const lost = acks.filter(({ seen }) => seen.drop !== undefined);
  if (lost.length === 0) return WRONG("no acknowledgement was lost");
  const ends = sentEnds(segments);
  const made = lost.every((each) =>
    acks.some(({ seen, acknowledged }) => {
      return seen.drop === undefined && seen.at > each.seen.at && acknowledged >= each.acknowledged;
    }),
  );
  let before = 1;
  let most = 0;
  for (const { seen, acknowledged } of acks) {
    if (seen.drop !== undefined) continue;
    most = Math.max(most, ends.filter((end) => end > before && end <= acknowledged).length);
    before = Math.max(before, acknowledged);
  }
  const again = segments.filter((each, index) => each.isOpener && isAgain(segments, index)).length;
  return {
    isRight: made && most > 1 && again === 0,
    why: `${lost.length} ACKs were lost and ${again === 0 ? "nothing" : `${again} segments`} sent again: one ACK acknowledged ${most} segments`,
  };
}

export function judgeLoss({ conversations }: Told): Judgement {
  const segments = conversations[0]?.connection.segments ?? [];
  const index = segments.findIndex(
    ({ isOpener, tcp, seen }) => isOpener && tcp.payload.length > 0 && seen.drop !== undefined,
  );
  const lost = segments[index];
  if (!lost) return WRONG("no segment with data was lost");
  const later = segments.slice(index + 1);
  const again = later.find(({ isOpener, sequence, tcp, seen }) => {
    return isOpener && seen.drop === undefined && tcp.payload.length > 0 && sequence === lost.sequence;
  });
  if (!again) return WRONG(`segment ${lost.sequence.toLocaleString("en")} was lost, and never sent again`);
  const asked = later.filter(({ isOpener, seen, acknowledged, tcp }) => {
    return (
      !isOpener &&
      seen.at < again.seen.at &&
      acknowledged === lost.sequence &&
      tcp.options.some(({ kind }) => kind === SACK)
    );
  }).length;
  const end = Math.max(...sentEnds(segments));
  const isWhole = later.some(({ isOpener, acknowledged }) => !isOpener && acknowledged >= end);
  const ms = (again.seen.at - lost.seen.at) / 1e6;
  return {
    isRight: asked > 0 && isWhole,
    why: `segment ${lost.sequence.toLocaleString("en")} was lost; ${asked} duplicate ACKs with SACK told what came after it; it was sent again ${ms.toFixed(0)} ms after the first time, and ${isWhole ? "one ACK covered all" : "not all was acknowledged"}`,
  };
}

export function judgeClose({ conversations }: Told): Judgement {
  const segments = (conversations[0]?.connection.segments ?? []).filter(({ seen }) => seen.drop === undefined);
  const first = segments.find(({ tcp }) => tcp.flags.fin);
  const second = first && segments.find(({ tcp, isOpener }) => tcp.flags.fin && isOpener !== first.isOpener);
  if (!first || !second) return WRONG("not both sides have ended");
  const isAcknowledged = (fin: Segment, by: readonly Segment[]) => {
    const end = fin.sequence + fin.tcp.payload.length + 1;
    return by.find(
      ({ isOpener, acknowledged, seen }) => isOpener !== fin.isOpener && seen.at > fin.seen.at && acknowledged >= end,
    );
  };
  const ack = isAcknowledged(
    first,
    segments.filter(({ tcp }) => !tcp.flags.fin),
  );
  const last = isAcknowledged(second, segments);
  const between = segments.filter(({ isOpener, tcp, seen }) => {
    return isOpener !== first.isOpener && tcp.payload.length > 0 && seen.at > first.seen.at;
  });
  const bytes = between.reduce((sum, { tcp }) => sum + tcp.payload.length, 0);
  const isRight = ack !== undefined && last !== undefined && ack.seen.at <= second.seen.at && bytes > 0;
  if (!isRight)
    return WRONG(
      ack ? "FIN, ACK, FIN without the last ACK" : "the first FIN was acknowledged with the second one: three ways",
    );
  return { isRight, why: `FIN, ACK, FIN, ACK: each direction ends by itself; ${bytes} bytes came after the first FIN` };
}

export function judgeUdp({ ladder }: Told): Judgement {
  const packets = ladder.rungs.filter(({ layers }) => layers.some(({ name }) => name === "UDP"));
  const header = packets[0]?.layers.find(({ name }) => name === "UDP")?.bytes ?? 0;
  const isRight = packets.length === 2 && ladder.rungs.length === 2 && header === 8;
  return {
    isRight,
    why: `${packets.length} datagrams in packets of ${packets.map(({ bytes }) => bytes).join(" and ")} bytes: no opening, no acknowledgement, no close; a header of ${header} bytes`,
  };
}

const SACK = 5;

/** Where each new segment of the opener ends, each once. */
function sentEnds(segments: readonly Segment[]): number[] {
  const ends = segments.filter(({ isOpener, tcp }) => isOpener && tcp.payload.length > 0);
  return [...new Set(ends.map(({ sequence, tcp }) => sequence + tcp.payload.length))];
}

function isAgain(segments: readonly Segment[], index: number): boolean {
  const { isOpener, tcp, sequence } = segments[index]!;
  if (tcp.payload.length === 0) return false;
  return segments.slice(0, index).some((each) => {
    return each.isOpener === isOpener && each.tcp.payload.length > 0 && each.sequence >= sequence;
  });
}

function mssOf({ tcp }: Segment): number {
  const data = tcp.options.find(({ kind }) => kind === 2)?.data;
  return data?.length === 2 ? u16(data, 0) : 536;
}
