/**
 * The packets of a QUIC connection in the order in which they were sent. Initials are always opened; the rest
 * by the key log, else only their headers are told.
 */
import { hex } from "../../src/wire/packet/cursor.ts";
import {
  type Http3Frame,
  isBidirectional,
  readHttp3,
  readHttp3Frames,
  readHttp3Settings,
} from "../../src/wire/packet/http3.ts";
import { readQpack } from "../../src/wire/packet/qpack.ts";
import { type QuicPacket, readQuic } from "../../src/wire/packet/quic.ts";
import { type QuicFrame, readFrames } from "../../src/wire/packet/quic-frames.ts";
import { Reassembly } from "../../src/wire/packet/reassembly.ts";
import { type HandshakeMessage, readHandshake } from "../../src/wire/packet/tls.ts";
import {
  type ClientHello,
  readClientHello,
  readServerHello,
  type ServerHello,
} from "../../src/wire/packet/tls-hello.ts";
import { EARLY_SECRET, initialKeys, type KeyLog, type Keys, openPacket, quicKeys, suiteOf } from "./keys.ts";
import { size, summary } from "./parts.ts";
import { messageText } from "./tls-text.ts";

export type QuicSide = "client" | "server";

export interface ReadQuicPacket {
  readonly packet: QuicPacket;
  readonly side: QuicSide;
  /** Undefined when it could not be opened. */
  readonly number: number | undefined;
  readonly frames: readonly QuicFrame[] | undefined;
  /** Of the handshake, those that became whole with it. */
  readonly messages: readonly HandshakeMessage[];
  /** In a few words: its type and what it carries. */
  readonly label: string;
  /** Bytes of the frames' own content: of STREAM what applications sent. */
  readonly http3Bytes: number;
  readonly dataBytes: number;
}

/** Where secrets come from in the key log, by the type of the packet. */
const SECRETS: Readonly<Record<string, Readonly<Record<QuicSide, string>>>> = {
  "0-RTT": { client: EARLY_SECRET, server: "" },
  Handshake: { client: "CLIENT_HANDSHAKE_TRAFFIC_SECRET", server: "SERVER_HANDSHAKE_TRAFFIC_SECRET" },
  "1-RTT": { client: "CLIENT_TRAFFIC_SECRET_0", server: "SERVER_TRAFFIC_SECRET_0" },
};

export class QuicFlow {
  readonly #keyLog: KeyLog;
  /** Destination ids that Initial keys may come from: the first one, and after a Retry another (RFC 9001 §5.2). */
  readonly #firstIds: Uint8Array[] = [];
  /** Length of the id that a side chose for packets to it. */
  readonly #idBytes = new Map<QuicSide, number>();
  readonly #crypto = new Map<string, Reassembly>();
  /** Messages of the handshake that were told of already, by the stream that they came on. */
  readonly #told = new Map<string, number>();
  readonly #largest = new Map<string, number>();
  readonly #streams = new Map<string, Reassembly>();
  readonly #keys = new Map<string, Keys | undefined>();
  #version = 1;
  clientHello: ClientHello | undefined;
  serverHello: ServerHello | undefined;

  constructor(keyLog: KeyLog) {
    this.#keyLog = keyLog;
  }

  /** What a side has sent on a stream, as far as it was opened. */
  streamBytes(side: QuicSide, stream: number): Uint8Array {
    return this.#streams.get(`${side} ${stream}`)?.bytes ?? new Uint8Array(0);
  }

  /** The streams of a side, in order. */
  streams(side: QuicSide): number[] {
    return [...this.#streams.keys()]
      .filter((key) => key.startsWith(`${side} `))
      .map((key) => Number(key.slice(side.length + 1)))
      .sort((a, b) => a - b);
  }

  /** The packets of a datagram, which must be the next in the order of time. */
  read(datagram: Uint8Array, side: QuicSide): ReadQuicPacket[] {
    const other: QuicSide = side === "client" ? "server" : "client";
    return readQuic(datagram, this.#idBytes.get(other) ?? 0).map((packet) => {
      // The server chooses (RFC 9368); packets with a short header do not say.
      if (packet.version && side === "server") this.#version = packet.version;
      if (packet.version !== undefined) this.#idBytes.set(side, packet.sourceId.length);
      if (packet.type === "Initial" && side === "client") this.#remember(packet.destinationId);
      if (packet.type === "Retry") this.#remember(packet.sourceId);
      return this.#read(datagram, packet, side);
    });
  }

  /** A packet that nothing opened when it came, such as one that overtook the ServerHello: once more, at the end. */
  again(datagram: Uint8Array, { packet, side }: ReadQuicPacket): ReadQuicPacket {
    return this.#read(datagram, packet, side);
  }

  #read(datagram: Uint8Array, packet: QuicPacket, side: QuicSide): ReadQuicPacket {
    const opened = this.#open(datagram, packet, side);
    const frames = opened && readFrames(opened.payload);
    const messages: HandshakeMessage[] = [];
    const told = frames ? this.#tell(frames, packet, side, messages) : { words: [], http3Bytes: 0, dataBytes: 0 };
    return {
      packet,
      side,
      number: opened?.number,
      frames,
      messages,
      label: `QUIC ${packet.type}${frames ? listed(told.words) : ` ${size(packet.size)}`}`,
      http3Bytes: told.http3Bytes,
      dataBytes: told.dataBytes,
    };
  }

  #remember(id: Uint8Array): void {
    if (!this.#firstIds.some((known) => hex(known) === hex(id))) this.#firstIds.push(id);
  }

  #open(datagram: Uint8Array, packet: QuicPacket, side: QuicSide) {
    const space = packet.type === "0-RTT" ? "1-RTT" : packet.type;
    const key = `${side} ${space}`;
    for (const keys of this.#keysFor(packet, side)) {
      const opened = openPacket(datagram, packet, keys, this.#largest.get(key));
      if (!opened) continue;
      this.#largest.set(key, Math.max(opened.number, this.#largest.get(key) ?? -1));
      return opened;
    }
    return undefined;
  }

  #keysFor(packet: QuicPacket, side: QuicSide): Keys[] {
    if (packet.type === "Initial") {
      return this.#firstIds.flatMap((id) => initialKeys(packet.version!, id, side) ?? []);
    }
    const label = SECRETS[packet.type]?.[side];
    const secret = label && this.clientHello && this.#keyLog.secret(label, this.clientHello.random);
    if (!label || !this.clientHello || !secret) return [];
    const early = packet.type === "0-RTT" ? suiteOf(secret, this.clientHello.cipherSuites) : undefined;
    const suite = this.serverHello?.cipherSuite ?? early;
    if (suite === undefined) return [];
    const version = packet.version ?? this.#version;
    const cached = `${label} ${version} ${suite} ${hex(this.clientHello.random)}`;
    if (!this.#keys.has(cached)) this.#keys.set(cached, quicKeys(suite, version, secret));
    return [this.#keys.get(cached) ?? []].flat();
  }

  #tell(frames: readonly QuicFrame[], packet: QuicPacket, side: QuicSide, messages: HandshakeMessage[]) {
    const words: string[] = [];
    let [http3Bytes, dataBytes] = [0, 0];
    for (const frame of frames) {
      if (frame.name === "CRYPTO") words.push(...this.#handshake(frame, packet.type, side, messages));
      else if (frame.name === "STREAM") {
        const told = this.#stream(frame, side);
        words.push(...told.words);
        http3Bytes += told.http3Bytes;
        dataBytes += told.dataBytes;
      } else if (frame.name !== "PADDING") words.push(frame.name === "ACK" ? `ACK ${frame.largest}` : frame.name);
    }
    return { words, http3Bytes, dataBytes };
  }

  /** The messages that became whole with this frame. */
  #handshake({ offset, data }: QuicFrame, type: string, side: QuicSide, into: HandshakeMessage[]): string[] {
    const key = `${side} ${type}`;
    const whole = this.#crypto.get(key) ?? new Reassembly();
    this.#crypto.set(key, whole);
    whole.add(offset!, data!);
    const messages = readHandshake(whole.bytes).filter(({ isWhole }) => isWhole);
    const fresh = messages.slice(this.#told.get(key) ?? 0);
    into.push(...fresh);
    this.#told.set(key, messages.length);
    for (const { name, body } of fresh) {
      if (name === "ClientHello") this.clientHello = readClientHello(body);
      if (name === "ServerHello") this.serverHello = readServerHello(body);
    }
    return fresh.length > 0 ? fresh.map((message) => messageText(message, side, true)) : ["CRYPTO"];
  }

  /** The frames of HTTP/3 that begin in this piece of a stream, and the bytes that are theirs. */
  #stream({ stream, offset, data, isLast }: QuicFrame, side: QuicSide) {
    const key = `${side} ${stream}`;
    const whole = this.#streams.get(key) ?? new Reassembly();
    this.#streams.set(key, whole);
    whole.add(offset!, data!);
    const [from, to] = [offset!, offset! + data!.length];
    const bytes = whole.bytes;
    const { kind, frames } = readHttp3(stream!, bytes);
    const begun = frames.filter(({ at }) => at >= from && at < to);
    let dataBytes = 0;
    for (const { name, at, headerBytes, payload } of frames) {
      if (name !== "DATA") continue;
      const begin = at + headerBytes;
      dataBytes += Math.max(0, Math.min(to, begin + payload.length) - Math.max(from, begin));
    }
    const names = begun.map(http3Text);
    const what = isBidirectional(stream!) ? "" : ` (${kind})`;
    const words = [`stream ${stream}${what}${names.length > 0 ? ` ${names.join(" ")}` : ""}${isLast ? " end" : ""}`];
    return { words, http3Bytes: data!.length - dataBytes, dataBytes };
  }
}

/** All frames of HTTP/3 of a side on a stream of requests. */
export function requestFrames(flow: QuicFlow, side: QuicSide, stream: number): Http3Frame[] {
  return readHttp3Frames(flow.streamBytes(side, stream));
}

function http3Text(frame: Http3Frame): string {
  if (frame.name === "HEADERS") return `HEADERS${frame.isWhole ? summary(readQpack(frame.payload)) : ""}`;
  if (frame.name === "DATA") return `DATA ${size(frame.length)}`;
  if (frame.name === "SETTINGS") return `SETTINGS (${readHttp3Settings(frame)?.length ?? 0})`;
  return frame.name;
}

function listed(words: readonly string[]): string {
  return words.length === 0 ? " PADDING" : `: ${words.join(", ")}`;
}
