/** One visit over QUIC (RFC 9000) and HTTP/3 (RFC 9114): a GET, and what the handshake was like. */
import type { X509Certificate } from "node:crypto";
import type { QuicSession, QuicStream } from "node:quic";
import { readQuic } from "../../src/wire/packet/quic.ts";
import { alertName } from "../../src/wire/packet/tls-names.ts";
import { quicTrustFault } from "./certificate.ts";
import type { Phases } from "./finding.ts";
import { EVENT_STREAM, type Fields, USER_AGENT } from "./http1.ts";
import { absentOf } from "./line.ts";
import { type Datagram, QuicRelay } from "./quic-relay.ts";
import { type QuicChoice, quicChoice } from "./quic-seen.ts";
import { Absent } from "./reason.ts";
import { type Address, ms, type Setting } from "./setting.ts";

export interface VisitOptions {
  /** Of a visit before, to resume it. */
  readonly ticket?: Uint8Array | undefined;
  readonly address?: Address;
  /** Wait a little for a ticket. */
  readonly needsTicket?: boolean;
  readonly what: string;
}

export interface Visit {
  readonly status: number;
  readonly fields: Fields;
  /** There was more of a body, or it did not end in time. */
  readonly isCut: boolean;
  readonly cipher: string;
  readonly isEarlyAttempted: boolean;
  readonly isEarlyAccepted: boolean;
  /** Why clients would not take the certificate. */
  readonly trustFault: string | undefined;
  readonly leaf: X509Certificate | undefined;
  readonly ticket: Uint8Array | undefined;
  /** As it was read from the server's Initial packet. */
  readonly choice: QuicChoice | undefined;
  readonly phases: Phases;
}

/** @throws Absent */
export async function visit(setting: Setting, options: VisitOptions): Promise<Visit> {
  const address = options.address ?? setting.address;
  const deadline = setting.deadline();
  const quic = await platformQuic();
  const relay = await QuicRelay.open(setting, address);
  setting.meter.quicConnections++;
  const sessions: QuicSession[] = [];
  try {
    const work = exchange(setting, quic, relay, sessions, deadline, { ...options, address });
    work.catch(() => {});
    return await setting.within(Promise.race([work, relay.broken]), deadline);
  } catch (thrown) {
    throw quicFault(thrown, relay);
  } finally {
    for (const session of sessions) {
      session.closed.catch(() => {});
      session.destroy();
    }
    // Its farewell goes through the relay.
    setTimeout(() => relay.close(), 20);
  }
}

type Quic = typeof import("node:quic");

/** @throws Absent where the platform has none */
async function platformQuic(): Promise<Quic> {
  const { emitWarning } = process;
  try {
    // It warns on import that it is experimental, in the middle of what is printed.
    process.emitWarning = () => {};
    return await import("node:quic");
  } catch {
    throw new Absent("platform", "this runtime has no node:quic");
  } finally {
    process.emitWarning = emitWarning;
  }
}

async function exchange(
  setting: Setting,
  quic: Quic,
  relay: QuicRelay,
  sessions: QuicSession[],
  deadline: number,
  { ticket, needsTicket = false, address, what }: VisitOptions,
): Promise<Visit> {
  const { target, namelookupMs, ca } = setting;
  const startedAt = Date.now();
  const got = Promise.withResolvers<Uint8Array>();
  const session = await quic.connect(relay.address, {
    alpn: "h3",
    // An address is no name for SNI, but the platform would say "localhost" without one.
    servername: target.serverName ?? target.host,
    verifyPeer: "manual",
    ...(ca !== undefined && { ca: Buffer.from(ca) }),
    ...(ticket && { sessionTicket: ticket, enableEarlyData: true }),
    onsessionticket: (given: object) => got.resolve(given as Uint8Array),
  } as never);
  sessions.push(session);
  session.closed.catch(() => {});
  const opened = session.opened;
  opened.catch(() => {});
  const head = Promise.withResolvers<Record<string, string | string[]>>();
  session.closed.then(
    () => head.reject(new Absent("closed")),
    (error) => head.reject(error),
  );
  head.promise.catch(() => {});
  const fields: Fields = [
    ["user-agent", USER_AGENT],
    ["accept", "*/*"],
  ];
  // As over TCP, nothing is asked of whom nobody vouches for.
  if (setting.hasDistrusted && !setting.isInsecure) {
    const fault = faultOf(setting, session, await opened);
    if (fault !== undefined) throw new Absent("certificate", fault);
  }
  // Before the handshake is confirmed: waiting for it would cost a round trip, and early data its name.
  const stream = await session.createBidirectionalStream({
    headers: {
      ":method": "GET",
      ":scheme": "https",
      ":authority": target.authority,
      ":path": target.path,
      ...Object.fromEntries(fields),
    },
    onheaders: (headers: Record<string, string | string[]>) => head.resolve(headers),
  } as never);
  const sentAt = performance.now();
  // When the handshake fails, that is the reason, and not the stream that ended with it.
  const answer = await Promise.race([head.promise, opened.then(() => head.promise)]);
  const firstByteAt = performance.now();
  const isStream = EVENT_STREAM.test(String(answer["content-type"]));
  const drained = { bytes: 0, isWhole: false };
  const draining = isStream ? undefined : drain(stream, drained);
  draining?.catch(() => {});
  const bodyMs = Math.min(setting.bodyMs, deadline - performance.now() - 50);
  await (isStream ? undefined : Promise.race([draining, later(Math.max(0, bodyMs))]));
  if (!isStream && !drained.isWhole && drained.bytes <= MOST_BODY_BYTES) setting.hasEndlessBody();
  const endAt = performance.now();
  const info = await opened;
  const leaf = session.peerCertificate;
  const handshakeMs = handshakeMsOf(relay.datagrams);
  // The first datagram is the begin: what came before was work of this side.
  const begunAt = relay.datagrams[0]!.at;
  const since = (at: number): number => ms(namelookupMs + Math.max(0, at - begunAt));
  const roundTrips = info.earlyDataAccepted ? 1 : roundTripsOf(relay.datagrams, handshakeMs);
  const phases: Phases = {
    namelookup: ms(namelookupMs),
    ...(handshakeMs !== undefined && { appconnect: ms(namelookupMs + handshakeMs) }),
    starttransfer: since(firstByteAt),
    total: since(endAt),
    ...(roundTrips !== undefined && { roundTrips }),
  };
  const status = Number(answer[":status"]);
  const plain = Object.entries(answer).flatMap(([name, value]) =>
    name.startsWith(":") ? [] : [value].flat().map((each) => [name, each] as const),
  );
  setting.meter.requests.push({
    version: "HTTP/3",
    method: "GET",
    url: `https://${target.authority}${target.path}`,
    address: address!.host,
    requestFields: fields,
    requestBytes: 0,
    status,
    statusText: "",
    fields: plain,
    bodyBytes: drained.bytes,
    startedAt,
    phases,
    pretransfer: since(sentAt),
    isReused: false,
    what,
  });
  return {
    status,
    fields: plain,
    isCut: !drained.isWhole,
    cipher: info.cipher,
    isEarlyAttempted: info.earlyDataAttempted,
    isEarlyAccepted: info.earlyDataAccepted,
    leaf,
    trustFault: faultOf(setting, session, info),
    ticket: needsTicket ? await Promise.race([got.promise, later(TICKET_MS)]) : undefined,
    choice: quicChoice(relay.datagrams),
    phases,
  };
}

/** The code is a name, whatever its type says. */
function faultOf(setting: Setting, session: QuicSession, info: { readonly validationErrorCode?: unknown }) {
  return quicTrustFault(setting, session.peerCertificate, info.validationErrorCode as string | undefined);
}

/** Where a round trip is shorter, the time of computing hides how many there were. */
const LEAST_RTT_MS = 10;

/**
 * Until this side sends its first 1-RTT packet: its part of the handshake has ended then (RFC 9001 §4.1.1). The
 * platform tells when it was confirmed, which is a round trip later.
 */
function handshakeMsOf(datagrams: readonly Datagram[]): number | undefined {
  const end = datagrams.find(({ isOurs, bytes }) => isOurs && readQuic(bytes).some(({ type }) => type === "1-RTT"));
  return end && end.at - datagrams[0]!.at;
}

/** Of the handshake by its time, and one of the request. A server sends its first datagram without waiting. */
function roundTripsOf(datagrams: readonly Datagram[], handshakeMs: number | undefined): number | undefined {
  const answer = datagrams.find(({ isOurs }) => !isOurs);
  const rttMs = answer ? answer.at - datagrams[0]!.at : 0;
  if (rttMs < LEAST_RTT_MS || handshakeMs === undefined) return undefined;
  return Math.max(1, Math.round(handshakeMs / rttMs)) + 1;
}

/** Tickets come after the handshake (RFC 8446 §4.6.1), about a round trip later. */
const TICKET_MS = 500;

async function later(delayMs: number): Promise<undefined> {
  await Bun.sleep(delayMs);
  return undefined;
}

const MOST_BODY_BYTES = 1024 * 1024;

async function drain(stream: QuicStream, drained: { bytes: number; isWhole: boolean }): Promise<void> {
  for await (const batch of stream as unknown as AsyncIterable<Uint8Array | Uint8Array[]>) {
    for (const bytes of Array.isArray(batch) ? batch : [batch]) drained.bytes += bytes.length;
    if (drained.bytes > MOST_BODY_BYTES) return;
  }
  drained.isWhole = true;
}

/** RFC 9001 §4.8: an alert of TLS is a transport error 0x100 + its number. */
function quicFault(thrown: unknown, relay: QuicRelay): Absent {
  if (thrown instanceof Absent) return thrown;
  const { errorCode, message = "" } = thrown as { errorCode?: bigint; message?: string };
  const code = Number(errorCode ?? /(?:error|code)[^\d]*(\d+)/i.exec(message)?.[1] ?? Number.NaN);
  if (code >= 0x100 && code < 0x200) return new Absent("tls_alert", alertName(code - 0x100));
  if (!relay.hasAnswer) return new Absent("timeout");
  if (code > 0) return new Absent("reset", `QUIC error 0x${code.toString(16)}`);
  return absentOf(thrown);
}
