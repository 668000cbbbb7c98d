/**
 * A capture as a file for Wireshark. It shows what the client saw, in the order in which it saw it: what the
 * client sent when it reached the wire, what others sent when it left the wire for the client. What was
 * dropped is there too, on an interface of its own, with the reason as a comment.
 */
import { type CapturedPacket, writePcapng } from "../../src/wire/packet/pcapng.ts";
import type { Capture } from "../experiment.ts";
import type { DropReason, Seen } from "../wire/index.ts";
import { monotonic, openLibc, realtime } from "../wire/libc.ts";

const WHY: Readonly<Record<DropReason, string>> = {
  loss: "lost on the wire",
  queue: "dropped by the wire: its queue was full",
  rule: "dropped by a rule",
  mtu: "dropped by the wire: larger than the MTU",
  nat: "dropped by the NAT box: no mapping lets it in",
  route: "dropped by the wire: nobody has the address",
  cut: "dropped by the wire: the host was cut off",
};

export interface FileOptions {
  /** The host whose view it is (default: the first). */
  readonly from?: number;
  readonly comment?: string;
  /** What is added to a time of the capture to get nanoseconds since 1970 (default: measured now). */
  readonly offset?: bigint;
}

export function captureFile({ hosts, seen, keyLog, name }: Capture, options: FileOptions = {}): Uint8Array {
  const viewer = options.from ?? 0;
  const offset = options.offset ?? clockOffset();
  const packets = seen.flatMap((each): CapturedPacket[] => {
    const packet = packetOf(each, viewer, offset);
    return packet ? [packet] : [];
  });
  return writePcapng({
    application: "backtalk lab",
    comment: [name, options.comment].filter(Boolean).join("; "),
    interfaces: [
      { name: hosts[viewer]?.name ?? "host", description: "what passed, as this host saw it" },
      { name: "dropped", description: "what the wire did not deliver, when it came to the wire" },
    ],
    ...(keyLog && { keyLog }),
    packets: packets.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
  });
}

function packetOf(seen: Seen, viewer: number, offset: bigint): CapturedPacket | undefined {
  const { from, to, drop, at, leftAt, size, bytes, translated } = seen;
  const time = (ns: number) => BigInt(Math.round(ns)) + offset;
  const whole = (kept: Uint8Array) => ({ bytes: kept, ...(size !== kept.length && { size }) });
  if (drop !== undefined) {
    const comment = `${WHY[drop]} (from host ${from})`;
    return { interface: 1, at: time(at), ...whole(bytes), comment };
  }
  if (from === viewer) return { interface: 0, at: time(at), ...whole(bytes) };
  if (to === viewer) return { interface: 0, at: time(leftAt ?? at), ...whole(translated ?? bytes) };
  return undefined;
}

/** From the clock of captures to that of the calendar. */
export function clockOffset(): bigint {
  const libc = openLibc();
  return BigInt(Math.round(realtime(libc)() - monotonic(libc)()));
}
