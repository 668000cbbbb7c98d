/** What the packets of one visit show, and what is concluded from two of them. Pure. */
import { readClientHello, readEncryptedExtensions, readServerHello } from "../../../src/wire/packet/tls-hello.ts";
import { groupName } from "../../../src/wire/packet/tls-names.ts";
import type { Story } from "../../capture/story.ts";

/** An extension for private use (RFC 8446 §11), which servers pass over: it stands for a key share that is not there. */
export const FILLING = 0xff4b;

export interface Evidence {
  /** From the client's first packet to the first byte of the response, at the client's port; nanoseconds. */
  readonly ns: number;
  /** When the first packet came to the wire, on the clock of the capture. */
  readonly startNs: number;
  /** Until the SYN was answered (TCP), and until the request was on the wire, both from the start. */
  readonly connectNs: number | undefined;
  readonly requestNs: number;
  /** The same for the second response on the connection, from its request. */
  readonly nextNs: number | undefined;
  /** What of both was not on the way: programs, timers, and the wire where it was late. */
  readonly lateNs: number;
  readonly nextLateNs: number;
  /** IP packets and their bytes each way until then, the packet with the response's first byte included. */
  readonly up: number;
  readonly down: number;
  readonly packets: number;
  readonly asksCookie: boolean;
  /** Bytes of the cookie that the SYN-ACK gave; of the one in the SYN. */
  readonly cookieGiven: number | undefined;
  readonly cookieUsed: number | undefined;
  readonly synData: number;
  readonly helloBytes: number;
  /** The groups of its key shares, each with the bytes of its key; and bytes that only fill it. */
  readonly keyShares: readonly string[];
  readonly fillingBytes: number;
  /** The server has taken a ticket: no Certificate, in TLS 1.3 a pre_shared_key in its ServerHello. */
  readonly isResumed: boolean;
  readonly certificateBytes: number;
  readonly isHelloRetried: boolean;
  readonly isRetried: boolean;
  /** Early data was on the wire; the server has said in EncryptedExtensions that it takes it. */
  readonly earlySent: boolean;
  readonly earlyAccepted: boolean;
  /** TLS 1.3: the response came before the client's Finished was on the wire. */
  readonly isAnsweredInFirstFlight: boolean;
  /** QUIC: bytes that the server sent before it got a second flight, and the client in its first. */
  readonly firstFlight: { readonly client: number; readonly server: number };
}

/** `delayNs` is that of the link, one way. `undefined`: no response is in the capture. */
export function evidenceOf(story: Story, delayNs: number): Evidence | undefined {
  const { packets, events, isQuic } = story;
  const start = packets.find(({ isClient }) => isClient)?.at;
  const responses = dataOf(story, false);
  const requests = dataOf(story, true);
  const response = responses[0];
  if (start === undefined || !response) return undefined;
  const before = packets.filter(({ at }) => at <= response.at);
  const said = (name: string, isClient: boolean) =>
    events.flatMap(({ what, isClient: by, at }) =>
      what.kind === "handshake" && what.message.name === name && by === isClient ? [{ ...what.message, at }] : [],
    );
  const hello = said("ClientHello", true)[0];
  const read = hello && readClientHello(hello.body);
  const hellos = said("ServerHello", false).flatMap(({ body }) => readServerHello(body) ?? []);
  const serverHello = hellos.find(({ isRetryRequest }) => !isRetryRequest);
  const allowed = said("EncryptedExtensions", false).map(({ body }) => readEncryptedExtensions(body));
  const certificate = said("Certificate", false)[0];
  const finished = said("Finished", true)[0];
  const syn = packets.find(({ isClient, syn }) => isClient && syn)?.syn;
  const synAck = packets.find(({ isClient, syn }) => !isClient && syn)?.syn;
  const sum = (isClient: boolean) =>
    before.reduce((total, packet) => total + (packet.isClient === isClient ? packet.bytes : 0), 0);
  // The second request comes after the first response.
  const nextRequest = requests.find(({ at }) => at > response.at);
  const nextResponse = nextRequest && responses.find(({ at }) => at > nextRequest.at);
  const answer = packets.find(({ isClient }) => !isClient)?.at ?? 0;
  const second = packets.find(({ isClient, at }) => isClient && at > answer)?.arrivedAt ?? Number.POSITIVE_INFINITY;
  const flight = (isClient: boolean, until: number) =>
    packets.reduce((total, each) => {
      return total + (each.isClient === isClient && each.sentAt < until ? each.bytes - UDP_HEADERS : 0);
    }, 0);
  return {
    ns: response.at - start,
    startNs: start,
    connectNs: isQuic || answer === 0 ? undefined : answer - start,
    requestNs: Math.min(requests[0]?.at ?? response.at, response.at) - start,
    nextNs: nextResponse && nextResponse.at - nextRequest.at,
    lateNs: lateness(packets, response.at, start, delayNs),
    nextLateNs: nextResponse ? lateness(packets, nextResponse.at, nextRequest.at, delayNs) : 0,
    up: sum(true),
    down: sum(false),
    packets: before.length,
    asksCookie: syn?.asksCookie ?? false,
    cookieGiven: synAck?.cookie,
    cookieUsed: syn?.cookie,
    synData: syn?.data ?? 0,
    helloBytes: bytesOf(hello),
    keyShares: read?.keyShares.map(({ group, bytes }) => `${groupName(group)} (${text(bytes)} bytes)`) ?? [],
    fillingBytes: read?.extensions.find(({ type }) => type === FILLING)?.data.length ?? 0,
    // Only TLS 1.3 has EncryptedExtensions.
    isResumed:
      serverHello !== undefined &&
      certificate === undefined &&
      (allowed.length === 0 || serverHello.pskIndex !== undefined),
    certificateBytes: bytesOf(certificate),
    isHelloRetried: hellos.some(({ isRetryRequest }) => isRetryRequest),
    isRetried: events.some(({ what }) => what.kind === "retry"),
    earlySent: requests.some(({ isEarly }) => isEarly),
    earlyAccepted: allowed.some(({ hasEarlyData }) => hasEarlyData),
    isAnsweredInFirstFlight: allowed.length > 0 && (finished === undefined || response.at <= finished.at),
    firstFlight: isQuic ? { client: flight(true, answer), server: flight(false, second) } : { client: 0, server: 0 },
  };
}

/**
 * Back from the response: each packet was sent because of the last one that had come from the other side.
 * Between the two the programs (or a timer) took time; and the wire may have been later than its delay.
 */
function lateness(packets: Story["packets"], end: number, start: number, delayNs: number): number {
  let total = 0;
  let packet = packets.findLast(({ isClient, at }) => !isClient && at === end);
  while (packet) {
    const { isClient, sentAt, arrivedAt } = packet;
    total += Math.max(0, arrivedAt - sentAt - delayNs);
    const cause: Story["packets"][number] | undefined = packets.findLast((each) => {
      return each.isClient !== isClient && each.arrivedAt <= sentAt;
    });
    if (!cause || cause.at < start) break;
    total += sentAt - cause.arrivedAt;
    packet = cause;
  }
  return total;
}

const UDP_HEADERS = 28;
/** Another one of these would have been too much. */
const DATAGRAM_BYTES = 1_252;
/** A hello with the shares of elliptic curves alone, and a ticket, is smaller. */
const LARGE_BYTES = 1_024;
/** With its header of four bytes. */
const bytesOf = (message: { readonly length: number } | undefined) => (message ? message.length + 4 : 0);

function dataOf({ events }: Story, isClient: boolean) {
  return events.flatMap(({ what, at, isClient: by }) =>
    what.kind === "data" && by === isClient ? [{ at, isEarly: what.isEarly }] : [],
  );
}

export interface Words {
  /** What the client says of its early data. */
  readonly claimsEarly: boolean;
  /** Whether the handler ran on early data, by the server's word. */
  readonly handledEarly: boolean;
}

export interface Judged {
  readonly why: string;
  /** Somebody's word is not what the capture shows. */
  readonly isContradicted: boolean;
}

/** The story of the two visits in one line, from the capture; and whether everybody has told it so. */
export function judge(
  way: { readonly isQuic: boolean; readonly early: boolean; readonly isReused: boolean },
  first: Evidence,
  again: Evidence | undefined,
  words: Words,
): Judged {
  const parts: string[] = [];
  if (first.isRetried) parts.push("Retry before the handshake");
  if (first.isHelloRetried) parts.push("HelloRetryRequest: a second ClientHello");
  if (first.helloBytes > LARGE_BYTES) parts.push(helloText(first, way.isQuic));
  const { client, server } = first.firstFlight;
  if (client > 0 && server <= 3 * client && server + DATAGRAM_BYTES > 3 * client && first.certificateBytes > server) {
    parts.push(
      `the server stopped after ${text(server)} bytes, no more than three times the client's ${text(client)}: certificate of ${text(first.certificateBytes)}`,
    );
  }
  if (way.isReused) {
    parts.push("second request on the same connection: no handshake");
    return { why: parts.join("; "), isContradicted: false };
  }
  if (!again) return { why: "no second visit in the capture", isContradicted: true };
  if (first.cookieGiven !== undefined) parts.push("cookie in SYN-ACK");
  if (again.cookieUsed !== undefined) parts.push(synText(again));
  if (again.isRetried) parts.push("again: Retry");
  if (!again.isResumed) parts.push("no ticket used");
  else if (!way.early) parts.push("ticket used, no Certificate");
  let isContradicted = false;
  if (way.early) {
    const isTaken = again.earlySent && again.earlyAccepted;
    parts.push(earlyText(again));
    if (words.claimsEarly && !isTaken) parts.push("the client claims otherwise");
    if (words.handledEarly !== isTaken) parts.push("the server claims otherwise");
    isContradicted = words.claimsEarly !== isTaken || words.handledEarly !== isTaken;
  }
  return { why: parts.join("; "), isContradicted };
}

/** What a large hello has in it. */
function helloText({ helloBytes, keyShares, fillingBytes }: Evidence, isQuic: boolean): string {
  const shares = keyShares.length === 0 ? "no key share" : `key shares ${keyShares.join(", ")}`;
  const filling =
    fillingBytes === 0 ? "" : `, and ${text(fillingBytes)} bytes that fill it in place of one for X25519MLKEM768`;
  const where = isQuic && helloBytes > DATAGRAM_BYTES ? " in more than one datagram of the first flight" : "";
  return `ClientHello of ${text(helloBytes)} bytes${where}: ${shares}${filling}`;
}

function synText({ synData, helloBytes }: Evidence): string {
  // A record has a header of five bytes.
  if (synData >= helloBytes + 5) return `ClientHello in the SYN (${text(synData)} bytes)`;
  return `the SYN has room for ${text(synData)} bytes, the ClientHello is ${text(helloBytes)}: the rest waited for the SYN-ACK`;
}

function earlyText({ earlySent, earlyAccepted, isHelloRetried, isAnsweredInFirstFlight }: Evidence): string {
  if (!earlySent) return "0-RTT refused: no early data on the wire, the ticket does not allow it";
  if (earlyAccepted) {
    return `0-RTT accepted${isAnsweredInFirstFlight ? ", response before the client's Finished" : ""}`;
  }
  const why = isHelloRetried ? "HelloRetryRequest" : "EncryptedExtensions without early_data";
  return `0-RTT refused: ${why}, the request was sent again`;
}

const text = (number: number) => Math.round(number).toLocaleString("en");
