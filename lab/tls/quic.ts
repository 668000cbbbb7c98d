/** QUIC versions 1 and 2 out of captured packets, opened by the key log (RFC 9000 §17, RFC 9001 §5, RFC 9369). */
import { PROTOCOL, readIp, readUdp, u16, u32 } from "../../src/wire/packet/ip.ts";
import type { Seen } from "../wire/index.ts";
import { LINK_BYTES } from "../wire/router.ts";
import { readHandshake } from "./handshake.ts";
import { type Frame, readFrames, readVarint } from "./quic-frames.ts";
import { initialSecrets, Opener, SECRET, secretsOf } from "./secrets.ts";
import type { Event, Packet, Story } from "./story.ts";

type Level = "initial" | "early" | "handshake" | "application";
type Version = 1 | 2;
const VERSIONS: Readonly<Record<number, Version>> = { 1: 1, 1798521807: 2 };
/** By the type bits of a long header; RFC 9369 §3.2 has turned them by one. */
const TYPES = {
  1: ["initial", "early", "handshake", "retry"],
  2: ["retry", "initial", "early", "handshake"],
} as const;
const PREFIX = { 1: "quic ", 2: "quicv2 " } as const;

/** Packets of one QUIC connection; `client` is the index of its host. */
export function quicStory(seen: readonly Seen[], client: number, keyLog: readonly string[]): Story {
  const reader = new Reader(secretsOf(keyLog));
  const packets: Packet[] = [];
  const passed = seen
    .flatMap((each) =>
      each.leftAt === undefined
        ? []
        : [{ ...each, leftAt: each.leftAt, time: each.from === client ? each.at : each.leftAt }],
    )
    .toSorted((a, b) => a.time - b.time);
  let name = "";
  for (const each of passed) {
    const ip = readIp(each.bytes, LINK_BYTES);
    const udp = ip?.protocol === PROTOCOL.udp ? readUdp(ip.payload) : undefined;
    if (!ip || !udp) continue;
    const isClient = each.from === client;
    if (isClient && name === "") name = `${ip.source}:${udp.sourcePort}`;
    packets.push({ at: each.time, sentAt: each.at, arrivedAt: each.leftAt, isClient, bytes: ip.totalBytes });
    reader.datagram(udp.payload, each.time, isClient);
  }
  reader.retrySealed();
  return { isQuic: true, client: name, packets, events: reader.events.toSorted((a, b) => a.at - b.at) };
}

interface Unopened {
  readonly bytes: Uint8Array;
  readonly numberAt: number;
  readonly level: Level;
  readonly version: Version;
  readonly at: number;
  readonly isClient: boolean;
}

class Reader {
  readonly events: Event[] = [];
  readonly #secrets: ReadonlyMap<string, Uint8Array>;
  readonly #openers = new Map<string, Opener>();
  /** Destinations of the first Initial packets: their keys come from there. */
  readonly #initials: Uint8Array[] = [];
  /** The one that the server has chosen (RFC 9368): packets with a short header do not say. */
  #version: Version = 1;
  /** Length of the connection id that a side has chosen for what is sent to it. */
  readonly #idBytes = { client: 0, server: 0 };
  readonly #largest = new Map<string, number>();
  readonly #crypto = new Map<string, { offset: number; readonly pieces: Map<number, Uint8Array> }>();
  readonly #unopened: Unopened[] = [];
  #suite: number | undefined;

  constructor(secrets: ReadonlyMap<string, Uint8Array>) {
    this.#secrets = secrets;
  }

  datagram(bytes: Uint8Array, at: number, isClient: boolean): void {
    for (let rest = bytes; rest.length > 0; ) {
      const length = this.#packet(rest, at, isClient);
      if (length === 0) return;
      rest = rest.subarray(length);
    }
  }

  /** Packets that came before what opens them, such as a 1-RTT packet that overtook the ServerHello. */
  retrySealed(): void {
    for (const each of this.#unopened.splice(0)) {
      if (!this.#open(each)) {
        this.events.push({
          at: each.at,
          isClient: each.isClient,
          what: { kind: "sealed", bytes: each.bytes.length, isShort: each.level === "application" },
        });
      }
    }
  }

  /** Bytes of the first packet of these; zero when nothing can be read. */
  #packet(bytes: Uint8Array, at: number, isClient: boolean): number {
    const first = bytes[0]!;
    if ((first & 0x80) === 0) {
      const numberAt = 1 + (isClient ? this.#idBytes.server : this.#idBytes.client);
      this.#openOrKeep({ bytes, numberAt, level: "application", version: this.#version, at, isClient });
      return bytes.length;
    }
    const version = bytes.length < 7 ? undefined : VERSIONS[u32(bytes, 1)];
    if (version === undefined) return 0;
    const destination = bytes.subarray(6, 6 + bytes[5]!);
    const sourceAt = 6 + destination.length;
    const source = bytes.subarray(sourceAt + 1, sourceAt + 1 + (bytes[sourceAt] ?? 0));
    let place = sourceAt + 1 + source.length;
    this.#idBytes[isClient ? "client" : "server"] = source.length;
    if (!isClient) this.#version = version;
    const type = TYPES[version][(first >> 4) & 3]!;
    if (type === "retry") {
      this.events.push({ at, isClient, what: { kind: "retry" } });
      this.#initials.push(source);
      return bytes.length;
    }
    const level: Level = type;
    if (level === "initial") {
      if (this.#initials.length === 0 && isClient) this.#initials.push(destination);
      const token = readVarint(bytes, place);
      if (!token) return 0;
      place = token.end + token.value;
    }
    const length = readVarint(bytes, place);
    if (!length || length.end + length.value > bytes.length) return 0;
    const end = length.end + length.value;
    this.#openOrKeep({ bytes: bytes.subarray(0, end), numberAt: length.end, level, version, at, isClient });
    return end;
  }

  #openOrKeep(packet: Unopened): void {
    if (!this.#open(packet)) this.#unopened.push(packet);
  }

  #open({ bytes, numberAt, level, version, at, isClient }: Unopened): boolean {
    for (const opener of this.#openersOf(level, version, isClient)) {
      const space = `${isClient} ${level === "early" ? "application" : level}`;
      const opened = unseal(opener, bytes, numberAt, this.#largest.get(space) ?? -1);
      if (!opened) continue;
      this.#largest.set(space, Math.max(opened.number, this.#largest.get(space) ?? -1));
      for (const frame of readFrames(opened.payload)) this.#frame(frame, level, at, isClient);
      return true;
    }
    return false;
  }

  #frame(frame: Frame, level: Level, at: number, isClient: boolean): void {
    if (frame.kind === "crypto") this.#cryptoFrame(frame.offset, frame.bytes, `${isClient} ${level}`, at, isClient);
    else if (frame.kind === "path") this.events.push({ at, isClient, what: { kind: "path", frame: frame.frame } });
    // Streams that a client opens in both directions carry requests (RFC 9114 §6.1).
    else if (frame.bytes > 0 && frame.stream % 4 === 0) {
      const { bytes, stream } = frame;
      this.events.push({ at, isClient, what: { kind: "data", bytes, isEarly: level === "early", stream } });
    }
  }

  #cryptoFrame(offset: number, bytes: Uint8Array, space: string, at: number, isClient: boolean): void {
    const state = this.#crypto.get(space) ?? { offset: 0, pieces: new Map<number, Uint8Array>() };
    this.#crypto.set(space, state);
    if (offset + bytes.length <= state.offset) return;
    state.pieces.set(offset, bytes);
    const parts: Uint8Array[] = [];
    let end = state.offset;
    for (const [from, piece] of [...state.pieces].toSorted(([a], [b]) => a - b)) {
      if (from > end || from + piece.length <= end) continue;
      parts.push(piece.subarray(end - from));
      end = from + piece.length;
    }
    const { messages, read } = readHandshake(Buffer.concat(parts));
    state.offset += read;
    for (const message of messages) {
      this.#suite ??= message.suite;
      this.events.push({ at, isClient, what: { kind: "handshake", message } });
    }
  }

  #openersOf(level: Level, version: Version, isClient: boolean): Opener[] {
    if (level === "initial") {
      return this.#initials.map((id) => {
        return this.#opener(`${version} ${isClient} ${Buffer.from(id).toString("hex")}`, version, undefined, () => {
          return initialSecrets(id, version)[isClient ? "client" : "server"];
        });
      });
    }
    const label = LABELS[level][isClient ? "client" : "server"];
    const secret = label && this.#secrets.get(label);
    if (!secret || (level !== "early" && this.#suite === undefined)) return [];
    return [this.#opener(`${version} ${label}`, version, this.#suite, () => secret)];
  }

  #opener(name: string, version: Version, suite: number | undefined, secret: () => Uint8Array): Opener {
    let opener = this.#openers.get(name);
    if (!opener) {
      opener = new Opener(secret(), suite, PREFIX[version]);
      this.#openers.set(name, opener);
    }
    return opener;
  }
}

const LABELS = {
  early: { client: SECRET.early, server: undefined },
  handshake: { client: SECRET.clientHandshake, server: SECRET.serverHandshake },
  application: { client: SECRET.client, server: SECRET.server },
} as const;

/**
 * Which bits of a short header's first byte are hidden: those of RFC 9001 §5.4.1, or without the two that the
 * loss bits of draft-ferrieuxhamchaoui-quic-lossbits show to everybody when both sides agree on them.
 */
const SHORT_BITS = [0x1f, 0x07];
const LONG_BITS = [0x0f];

function unseal(opener: Opener, packet: Uint8Array, numberAt: number, largest: number) {
  if (packet.length < numberAt + 20) return undefined;
  const mask = opener.mask(packet.subarray(numberAt + 4, numberAt + 20));
  for (const bits of (packet[0]! & 0x80) === 0 ? SHORT_BITS : LONG_BITS) {
    const opened = unsealWith(mask, bits, opener, packet, numberAt, largest);
    if (opened) return opened;
  }
  return undefined;
}

/** RFC 9001 §5.4, RFC 9000 §A.3 */
function unsealWith(
  mask: Uint8Array,
  bits: number,
  opener: Opener,
  packet: Uint8Array,
  numberAt: number,
  largest: number,
) {
  const first = packet[0]! ^ (mask[0]! & bits);
  const numberBytes = (first & 3) + 1;
  const header = Buffer.from(packet.subarray(0, numberAt + numberBytes));
  header[0] = first;
  let truncated = 0;
  for (let n = 0; n < numberBytes; n++) {
    header[numberAt + n]! ^= mask[1 + n]!;
    truncated = truncated * 256 + header[numberAt + n]!;
  }
  const window = 256 ** numberBytes;
  const expected = largest + 1;
  let number = expected - (expected % window) + truncated;
  if (number <= expected - window / 2) number += window;
  else if (number > expected + window / 2 && number >= window) number -= window;
  const payload = opener.open(number, header, packet.subarray(numberAt + numberBytes));
  return payload && { number, payload };
}

/** The port of each side, for telling connections apart. */
export function portsOf({ bytes }: Seen): { readonly source: number; readonly destination: number } | undefined {
  const ip = readIp(bytes, LINK_BYTES);
  if (!ip || ip.payload.length < 4 || (ip.protocol !== PROTOCOL.tcp && ip.protocol !== PROTOCOL.udp)) return undefined;
  return { source: u16(ip.payload, 0), destination: u16(ip.payload, 2) };
}
