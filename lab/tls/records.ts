/** TLS over TCP out of captured packets, opened by the key log: records (RFC 8446 §5), and when each passed. */
import { PROTOCOL, readIp, readTcp, u16 } from "../../src/wire/packet/ip.ts";
import type { Seen } from "../wire/index.ts";
import { LINK_BYTES } from "../wire/router.ts";
import { type HandshakeMessage, readHandshake } from "./handshake.ts";
import { Opener, SECRET, secretsOf } from "./secrets.ts";
import type { Event, Packet, Story } from "./story.ts";

const RECORD = { changeCipherSpec: 20, alert: 21, handshake: 22, data: 23 } as const;
const FAST_OPEN = 34;

/** Packets of one TCP connection; `client` is the index of the host that opened it. */
export function tcpStory(seen: readonly Seen[], client: number, keyLog: readonly string[]): Story {
  const packets: Packet[] = [];
  const streams = { client: new Stream(), server: new Stream() };
  let name = "";
  for (const each of seen) {
    const ip = readIp(each.bytes, LINK_BYTES);
    const tcp = ip?.protocol === PROTOCOL.tcp ? readTcp(ip.payload) : undefined;
    if (!ip || !tcp || each.leftAt === undefined) continue;
    const isClient = each.from === client;
    const at = isClient ? each.at : each.leftAt;
    if (isClient) name = `${ip.source}:${tcp.sourcePort}`;
    const option = tcp.options.find(({ kind }) => kind === FAST_OPEN)?.data.length;
    packets.push({
      at,
      sentAt: each.at,
      arrivedAt: each.leftAt,
      isClient,
      bytes: ip.totalBytes,
      ...(tcp.flags.syn && {
        syn: { data: tcp.payload.length, cookie: option || undefined, asksCookie: option === 0 },
      }),
    });
    const stream = isClient ? streams.client : streams.server;
    stream.add(tcp.sequence, tcp.flags.syn, tcp.payload, at);
  }
  const secrets = secretsOf(keyLog);
  const server = readRecords(streams.server, [SECRET.serverHandshake, SECRET.server], secrets, undefined, false);
  const suite = server.suite;
  const clientKeys = [SECRET.early, SECRET.clientHandshake, SECRET.client];
  const sent = readRecords(streams.client, clientKeys, secrets, suite, true);
  const events = [...sent.events, ...server.events].toSorted((a, b) => a.at - b.at);
  return { isQuic: false, client: name, packets: packets.toSorted((a, b) => a.at - b.at), events };
}

/** The bytes of one direction, in order, and when each was first there. */
class Stream {
  #first: number | undefined;
  readonly #pieces: { readonly at: number; readonly from: number; readonly bytes: Uint8Array }[] = [];

  add(sequence: number, isSyn: boolean, bytes: Uint8Array, at: number): void {
    if (isSyn) this.#first = (sequence + 1) >>> 0;
    if (bytes.length === 0 || this.#first === undefined) return;
    const from = isSyn ? 0 : (sequence - this.#first) >>> 0;
    this.#pieces.push({ at, from, bytes });
  }

  /** As far as there is no hole. */
  bytes(): Uint8Array {
    const parts: Uint8Array[] = [];
    let end = 0;
    for (const { from, bytes } of this.#pieces.toSorted((a, b) => a.from - b.from)) {
      if (from > end) break;
      if (from + bytes.length <= end) continue;
      parts.push(bytes.subarray(end - from));
      end = from + bytes.length;
    }
    return Buffer.concat(parts);
  }

  /** When the byte at this place first passed. */
  timeOf(place: number): number {
    const holding = this.#pieces.filter(({ from, bytes }) => from <= place && place < from + bytes.length);
    return Math.min(...holding.map(({ at }) => at));
  }
}

/** `keys` in the order in which they come into use; a record that one does not open is tried with the next. */
function readRecords(
  stream: Stream,
  keys: readonly string[],
  secrets: ReadonlyMap<string, Uint8Array>,
  suite: number | undefined,
  isClient: boolean,
): { readonly events: Event[]; readonly suite: number | undefined } {
  const events: Event[] = [];
  const bytes = stream.bytes();
  const known = keys.filter((key) => secrets.has(key));
  const isTls12 = !secrets.has(SECRET.server);
  let found = suite;
  let key = 0;
  let number = 0;
  let opener: Opener | undefined;
  let isSealed = false;
  let pending: Uint8Array = new Uint8Array(0);
  const push = (at: number, what: Event["what"]) => events.push({ at, isClient, what });
  const handshake = (at: number, part: Uint8Array) => {
    pending = Buffer.concat([pending, part]);
    const { messages, read } = readHandshake(pending);
    pending = pending.subarray(read);
    for (const message of messages) {
      found ??= (message as HandshakeMessage).suite;
      push(at, { kind: "handshake", message });
    }
  };
  const open = (header: Uint8Array, sealed: Uint8Array): { bytes: Uint8Array; label: string } | undefined => {
    for (let next = key; next < known.length; next++) {
      const isCurrent = next === key && opener !== undefined;
      const tried: Opener = isCurrent ? opener! : new Opener(secrets.get(known[next]!)!, found, "");
      const opened = tried.open(isCurrent ? number : 0, header, sealed);
      if (!opened) continue;
      number = isCurrent ? number + 1 : 1;
      key = next;
      opener = tried;
      return { bytes: opened, label: known[next]! };
    }
    return undefined;
  };
  for (let at = 0; at + 5 <= bytes.length; ) {
    const type = bytes[at]!;
    const end = at + 5 + u16(bytes, at + 3);
    if (end > bytes.length) break;
    const [header, body, time] = [bytes.subarray(at, at + 5), bytes.subarray(at + 5, end), stream.timeOf(at)];
    at = end;
    if (type === RECORD.changeCipherSpec) isSealed = isTls12;
    else if (type === RECORD.handshake && !isSealed) handshake(time, body);
    else if (type === RECORD.handshake) {
      // TLS 1.2 after its ChangeCipherSpec: nothing but Finished comes there.
      push(time, { kind: "handshake", message: { kind: "Finished", bytes: 16, extensions: new Set() } });
    } else if (type === RECORD.data && isTls12) {
      // Explicit nonce and tag of AES-GCM (RFC 5288 §3).
      push(time, { kind: "data", bytes: body.length - 24, isEarly: false, stream: 0 });
    } else if (type === RECORD.data) {
      const opened = open(header, body);
      const inner = opened && innerOf(opened.bytes);
      if (!inner) push(time, { kind: "sealed", bytes: body.length });
      else if (inner.type === RECORD.handshake) handshake(time, inner.bytes);
      else if (inner.type === RECORD.data) {
        push(time, { kind: "data", bytes: inner.bytes.length, isEarly: opened.label === SECRET.early, stream: 0 });
      }
    }
  }
  return { events, suite: found };
}

/** RFC 8446 §5.2: the type is the last byte that is not zero. */
function innerOf(opened: Uint8Array): { readonly type: number; readonly bytes: Uint8Array } | undefined {
  let end = opened.length - 1;
  while (end >= 0 && opened[end] === 0) end--;
  return end < 0 ? undefined : { type: opened[end]!, bytes: opened.subarray(0, end) };
}
