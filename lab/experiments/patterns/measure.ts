/** What the capture says of one flow: its bytes by layer, what the client asked, when each event came. */

import { readHttp2 } from "../../../src/wire/packet/http2.ts";
import { PROTOCOL, readIp, readTcp } from "../../../src/wire/packet/ip.ts";
import { RECORD_HEADER_BYTES, readRecords } from "../../../src/wire/packet/tls.ts";
import { readWebSocket } from "../../../src/wire/packet/websocket.ts";
import { type Connection, connectionsOf } from "../../capture/segments.ts";
import type { Seen } from "../../wire/index.ts";
import { LINK_BYTES } from "../../wire/router.ts";
import { type Span, Stream } from "./stream.ts";
import type { Carrier } from "./ways.ts";

/** Bytes both ways. */
export interface Layers {
  readonly link: number;
  readonly ip: number;
  /** TCP's headers, and what it sent again. */
  readonly tcp: number;
  /** Headers of records, their tags, and handshakes. */
  readonly tls: number;
  /** What is around the events: HTTP, frames, cursors, requests. */
  readonly framing: number;
  /** The JSON of the events that came. */
  readonly payload: number;
}

export interface Measured {
  readonly packets: number;
  /** Of them those that say nothing but what has come. */
  readonly acks: number;
  readonly bytes: number;
  readonly layers: Layers;
  /** What the client asked: requests, messages; with TLS its records, which hide what is in them. */
  readonly asks: number;
}

/** RFC 8446 §5.2: the type of the content, and the tag of 16 bytes that all its ciphers have. */
const TLS_EXPANSION = 17;
const TCP_FRAMES_PREFACE = "backtalk.v1\n";

export class FlowCapture {
  readonly seen: readonly Seen[];
  readonly #connections: readonly { readonly up: Stream; readonly down: Stream; readonly texts: Texts }[];
  readonly #carrier: Carrier;
  readonly #isTls: boolean;

  constructor(seen: readonly Seen[], carrier: Carrier, isTls: boolean) {
    this.seen = seen;
    this.#carrier = carrier;
    this.#isTls = isTls;
    this.#connections = connectionsOf(seen).map((connection: Connection) => {
      const [up, down] = [new Stream(connection, true), new Stream(connection, false)];
      return { up, down, texts: { up: up.text, down: down.text } };
    });
  }

  /** When bytes that have this mark had all come to the client; undefined where the capture has no such. */
  cameAt(mark: string): number | undefined {
    for (const { down, texts } of this.#connections) {
      const at = texts.down.indexOf(mark);
      if (at >= 0) return down.cameAt(at + mark.length - 1);
    }
    return undefined;
  }

  /** Whether this is said by either side, in letters of any size. */
  has(sign: string): boolean {
    return this.#connections.some(({ texts: { up, down } }) => {
      return up.toLowerCase().includes(sign) || down.toLowerCase().includes(sign);
    });
  }

  /** When the client asked for the last time before this. */
  lastAskBefore(time: number): number {
    return Math.max(...this.#askedAt().filter((at) => at < time));
  }

  /** @param payload bytes of the events in it */
  measure(span: Span, payload: number): Measured {
    let [packets, acks, link, ip, tcp, content] = [0, 0, 0, 0, 0, 0];
    for (const { at, bytes } of this.seen) {
      if (!isIn(at, span)) continue;
      const packet = readIp(bytes, LINK_BYTES);
      const segment = packet?.protocol === PROTOCOL.tcp ? readTcp(packet.payload) : undefined;
      if (!packet || !segment) continue;
      packets++;
      if (segment.payload.length === 0) acks++;
      link += LINK_BYTES;
      ip += packet.headerBytes;
      tcp += segment.headerBytes;
      content += segment.payload.length;
    }
    const streams = this.#connections.flatMap(({ up, down }) => [up, down]);
    const fresh = sum(streams.map((stream) => stream.newBytes(span)));
    const tls = this.#isTls ? sum(streams.map((stream) => tlsBytes(stream, span))) : 0;
    const layers = { link, ip, tcp: tcp + content - fresh, tls, framing: fresh - tls - payload, payload };
    const asks = this.#askedAt().filter((at) => isIn(at, span)).length;
    return { packets, acks, bytes: sum(Object.values(layers)), layers, asks };
  }

  /**
   * What befell the packets of this time that is not in the delay of the link, `leastMs` to `mostMs`: then
   * nothing that is known of delays holds.
   */
  disturbance(span: Span, [leastMs, mostMs]: readonly [leastMs: number, mostMs: number]): string | undefined {
    const here = this.seen.filter(({ at }) => isIn(at, span));
    const lost = here.filter(({ drop }) => drop !== undefined).length;
    if (lost > 0) return `${lost} of its ${here.length} packets were lost, and what came after them waited`;
    const took = here.map(({ at, leftAt }) => (leftAt! - at) / 1e6);
    const odd = took.filter((ms) => ms < leastMs || ms > mostMs).length;
    return odd === 0 ? undefined : `${odd} of its ${here.length} packets took another time than the delay of the link`;
  }

  /** Packets that follow each other closely are one burst; by each its packets, its bytes and its first time. */
  bursts(span: Span, gapNs: number): { readonly at: number; readonly packets: number; readonly bytes: number }[] {
    const bursts: { at: number; packets: number; bytes: number; last: number }[] = [];
    for (const { at, size } of this.seen.toSorted((a, b) => a.at - b.at)) {
      if (!isIn(at, span)) continue;
      const burst = bursts.at(-1);
      if (burst && at - burst.last < gapNs) {
        burst.packets++;
        burst.bytes += size;
        burst.last = at;
      } else bursts.push({ at, packets: 1, bytes: size, last: at });
    }
    return bursts;
  }

  #askedAt(): number[] {
    return this.#connections.flatMap(({ up, texts }) => {
      const places = this.#isTls ? recordsOf(up) : placesOf(up.bytes, texts.up, this.#carrier);
      return places.map((at) => up.sentAt(at));
    });
  }
}

interface Texts {
  readonly up: string;
  readonly down: string;
}

/** Only what the client says of its own: answers to pings and what HTTP/2 says of its windows do not count. */
function placesOf(bytes: Uint8Array, text: string, carrier: Carrier): number[] {
  switch (carrier) {
    case "http1":
      return [...text.matchAll(/(?:GET|HEAD|POST|PUT|DELETE|QUERY) \S+ HTTP\/1\.1\r\n/g)].map(({ index }) => index);
    case "http2":
      return readHttp2(bytes).flatMap(({ name, at }) => (name === "HEADERS" ? [at] : []));
    case "websocket": {
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) return [];
      return readWebSocket(bytes, head + 4).flatMap(({ opcode, at }) => (opcode <= 2 ? [at] : []));
    }
    case "frames": {
      const places: number[] = [];
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = TCP_FRAMES_PREFACE.length; at + 4 <= bytes.length; at += 4 + view.getUint32(at)) places.push(at);
      return places;
    }
  }
}

/** Without the first, which is the client's Finished (RFC 8446 §4.4.4). */
function recordsOf(up: Stream): number[] {
  const { records } = readRecords(up.bytes);
  return records.flatMap(({ type, at }) => (type === "application_data" ? [at] : [])).slice(1);
}

function tlsBytes(stream: Stream, span: Span): number {
  const own = readRecords(stream.bytes).records.map(({ type, at, length }) => {
    if (!isIn(stream.sentAt(at), span)) return 0;
    return type === "application_data" ? RECORD_HEADER_BYTES + TLS_EXPANSION : RECORD_HEADER_BYTES + length;
  });
  return sum(own);
}

/** The packets of the flow whose server has this port. */
export function ofPort(seen: readonly Seen[]): ReadonlyMap<number, Seen[]> {
  const flows = new Map<number, Seen[]>();
  for (const each of seen) {
    const packet = readIp(each.bytes, LINK_BYTES);
    const segment = packet?.protocol === PROTOCOL.tcp ? readTcp(packet.payload) : undefined;
    if (!segment) continue;
    const port = each.from === 0 ? segment.destinationPort : segment.sourcePort;
    const flow = flows.get(port);
    if (flow) flow.push(each);
    else flows.set(port, [each]);
  }
  return flows;
}

const isIn = (at: number, { from, until }: Span) => at >= from && at <= until;
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
