/** What the wire has seen, as the daemon writes it to a file and the lab reads it: a packet each. */
import type { DropReason } from "./link.ts";

export interface Seen {
  /** When it came to the wire, in nanoseconds since the machine was started. */
  readonly at: number;
  /** When it left; absent when it was dropped. A packet that came twice is there twice. */
  readonly leftAt?: number;
  readonly drop?: DropReason;
  /** The hosts, by their index; `to` is -1 where nobody has the address. */
  readonly from: number;
  readonly to: number;
  /** Bytes on the link, more than `bytes` has when the packet was cut for the capture. */
  readonly size: number;
  /** With its Ethernet header, as the sender sent it. */
  readonly bytes: Uint8Array;
  /** After a NAT box: as the receiver gets it. */
  readonly translated?: Uint8Array;
}

const REASONS: readonly DropReason[] = ["loss", "queue", "rule", "mtu", "nat", "route", "cut"];
const HEAD = 36;

export function encodeSeen(seen: Seen): Uint8Array {
  const { bytes, translated } = seen;
  const record = new Uint8Array(HEAD + bytes.length + (translated?.length ?? 0));
  const view = new DataView(record.buffer);
  view.setFloat64(0, seen.at, true);
  view.setFloat64(8, seen.leftAt ?? -1, true);
  view.setInt8(16, seen.drop === undefined ? -1 : REASONS.indexOf(seen.drop));
  view.setInt8(17, seen.from);
  view.setInt8(18, seen.to);
  view.setUint32(20, seen.size, true);
  view.setUint32(24, bytes.length, true);
  view.setUint32(28, translated?.length ?? 0, true);
  view.setUint32(32, 0x5eef, true);
  record.set(bytes, HEAD);
  if (translated) record.set(translated, HEAD + bytes.length);
  return record;
}

/** @throws RangeError for a file that is no record of the wire; a record that is cut at the end is left out */
export function decodeSeen(file: Uint8Array): Seen[] {
  const seen: Seen[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 0; at + HEAD <= file.length; ) {
    if (view.getUint32(at + 32, true) !== 0x5eef) throw new RangeError(`no record of the wire at byte ${at}`);
    const length = view.getUint32(at + 24, true);
    const more = view.getUint32(at + 28, true);
    const body = at + HEAD;
    if (body + length + more > file.length) break;
    const left = view.getFloat64(at + 8, true);
    const reason = REASONS[view.getInt8(at + 16)];
    seen.push({
      at: view.getFloat64(at, true),
      ...(left >= 0 && { leftAt: left }),
      ...(reason !== undefined && { drop: reason }),
      from: view.getInt8(at + 17),
      to: view.getInt8(at + 18),
      size: view.getUint32(at + 20, true),
      bytes: file.subarray(body, body + length),
      ...(more > 0 && { translated: file.subarray(body + length, body + length + more) }),
    });
    at = body + length + more;
  }
  return seen;
}
