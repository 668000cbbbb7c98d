/** Visits a server: one connection, one request, and when it is asked for one more on the same connection. */
import * as quic from "node:quic";
import { makeCertificate } from "../../../src/net/certificate.ts";
import type { Congestion } from "../../conditions.ts";
import { quicClient } from "../../quic.ts";
import { TlsEnd } from "../../tls/connection.ts";
import { readMessages, writeMessage } from "../../tls/http.ts";
import { openOpenssl, TlsContext, type VERSION } from "../../tls/openssl.ts";
import { BlockingSocket, LateError } from "../../tls/socket.ts";
import { serveProgram } from "../../wire/program.ts";
import { FILLING } from "./evidence.ts";

export interface Visit {
  readonly address: string;
  readonly port: number;
  readonly path: string;
  /** Default GET. */
  readonly method?: "GET" | "POST";
  readonly version?: keyof typeof VERSION;
  readonly fastOpen?: boolean;
  /** Of QUIC; that of TCP is the host's. */
  readonly congestion: Congestion;
  /** What an earlier visit gave, base64; undefined: the first visit. */
  readonly session?: string;
  /** The request is sent as early data. */
  readonly early?: boolean;
  /** Early data is sent also when the ticket does not allow it, and is said to be accepted: a forged claim. */
  readonly forge?: boolean;
  readonly groups?: string;
  /** Over TCP: bytes that the ClientHello is larger by. */
  readonly fillingBytes?: number;
  /** Requests on the connection (default 1). */
  readonly requests?: number;
  /** Longest time until the last response, in milliseconds (default 15,000). */
  readonly withinMs?: number;
}

const WITHIN_MS = 15_000;

/** What the client says about a visit; the capture decides. */
export interface Visited {
  /** It came to nothing: at what it stood, and whether because nothing more came in time. */
  readonly failed?: { readonly why: string; readonly isTime: boolean };
  readonly session?: string;
  readonly keyLog: readonly string[];
  /** Of the last response; 0: none came. */
  readonly status: number;
  /** Over TCP: the first bytes of TLS, base64, with the early data; whoever is on the way has them. */
  readonly flight?: string;
  readonly triedEarly: boolean;
  readonly claimsEarly: boolean;
  /** Bytes of early data that the ticket allows (over TCP). */
  readonly ticketAllows?: number;
}

/** Everything that a visit runs is loaded once before, with nothing kept: so that no round trip waits for it. */
function warm(): void {
  const { cert, key } = makeCertificate(["localhost"], Date.now());
  for (const version of ["1.2", "1.3"] as const) {
    const contexts = [
      new TlsContext(openOpenssl(), { isServer: true, version, certificates: [cert], key }),
      new TlsContext(openOpenssl(), { isServer: false, version }),
    ] as const;
    const [server, client] = [new TlsEnd(contexts[0]), new TlsEnd(contexts[1])];
    for (let n = 0; n < 4; n++) {
      if (client.handshake() && n < 3) client.write(Buffer.from("warm"));
      server.feed(client.take());
      if (server.read()) server.write(Buffer.from("warm"));
      client.feed(server.take());
    }
    client.read();
    for (const each of [server, client, ...contexts]) each.free();
  }
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

function visitTcp(visit: Visit): Visited {
  const { version = "1.3", forge = false, groups, fillingBytes } = visit;
  const context = new TlsContext(openOpenssl(), {
    isServer: false,
    version,
    ...(groups !== undefined && { groups }),
    ...(fillingBytes !== undefined && { filling: { type: FILLING, bytes: fillingBytes } }),
  });
  const end = new TlsEnd(context, {
    ...(visit.session !== undefined && { session: Buffer.from(visit.session, "base64") }),
    forgeEarlyData: forge,
    alpn: ["http/1.1"],
  });
  const stage: Stage = { waitsFor: "connection", since: performance.now() };
  try {
    return { ...talk(visit, end, stage), keyLog: context.keyLog };
  } catch (thrown) {
    return { ...nothing(stage, thrown, thrown instanceof LateError), keyLog: context.keyLog };
  } finally {
    end.free();
    context.free();
  }
}

/** What a visit stands at. */
interface Stage {
  waitsFor: "connection" | "handshake" | "response";
  readonly since: number;
}

/** A visit that came to nothing. */
function nothing({ waitsFor, since }: Stage, thrown: unknown, isTime: boolean): Visited {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const seconds = Math.round((performance.now() - since) / 1e3);
  const why = `no ${waitsFor} ${isTime ? `within ${seconds} s` : `(${message})`}`;
  return { failed: { why, isTime }, keyLog: [], status: 0, triedEarly: false, claimsEarly: false };
}

function talk(visit: Visit, end: TlsEnd, stage: Stage): Omit<Visited, "keyLog"> {
  const { address, port, path, method = "GET", early = false, forge = false } = visit;
  const request = (n: number) =>
    writeMessage({ start: `${method} ${path}/${n} HTTP/1.1`, fields: { host: "localhost" }, body: "" });
  let triedEarly = false;
  if (early && visit.session !== undefined) {
    try {
      // With the ClientHello in one flight, so that both fit into a SYN.
      end.writeEarly(request(0));
      triedEarly = true;
    } catch {
      // The ticket does not allow it: an ordinary handshake.
    }
  }
  const { fastOpen = false, withinMs = WITHIN_MS } = visit;
  const socket = new BlockingSocket(address, port, { fastOpen, withinMs });
  try {
    stage.waitsFor = "handshake";
    let flight: Uint8Array | undefined;
    while (!end.handshake()) {
      const out = end.take();
      flight ??= out;
      socket.send(out);
      end.feed(received(socket));
    }
    stage.waitsFor = "response";
    let status = 0;
    const isAccepted = triedEarly && end.isEarlyAccepted;
    for (let n = 0; n < (visit.requests ?? 1); n++) {
      if (n > 0 || !isAccepted) end.write(request(n));
      socket.send(end.take());
      status = answer(end, socket);
      if (status !== 425) continue;
      // RFC 8470 §5.2: once more, when the handshake is over.
      end.write(request(n));
      socket.send(end.take());
      status = answer(end, socket);
    }
    const session = end.session();
    return {
      ...(session && { session: base64(session.bytes), ticketAllows: session.maxEarlyData }),
      status,
      ...(flight && { flight: base64(flight) }),
      triedEarly,
      claimsEarly: forge ? triedEarly : isAccepted,
    };
  } finally {
    socket.close();
  }
}

function received(socket: BlockingSocket): Uint8Array {
  const bytes = socket.receive();
  if (bytes.length === 0) throw new Error("the server has closed the connection");
  return bytes;
}

/** Reads until one whole response is there: its status. */
function answer(end: TlsEnd, socket: BlockingSocket): number {
  let got: Uint8Array = new Uint8Array(0);
  for (;;) {
    const read = end.read();
    if (!read) {
      end.feed(received(socket));
      continue;
    }
    got = Buffer.concat([got, read.bytes]);
    const [response] = readMessages(got).messages;
    if (response) return Number(response.start.split(" ")[1]);
  }
}

async function visitQuic(visit: Visit): Promise<Visited> {
  const { address, port, congestion, early = false, groups, withinMs = WITHIN_MS } = visit;
  const keyLog: string[] = [];
  const ticket = Promise.withResolvers<Uint8Array>();
  const stage: Stage = { waitsFor: "connection", since: performance.now() };
  const session = await quic.connect(`${address}:${port}`, {
    ...quicClient((line) => void keyLog.push(line), congestion),
    onsessionticket: (given) => ticket.resolve(given as Uint8Array),
    enableEarlyData: early,
    ...(groups !== undefined && { groups }),
    ...(visit.session !== undefined && { sessionTicket: Buffer.from(visit.session, "base64") }),
  });
  session.closed.catch(() => {});
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    session.destroy();
  }, withinMs);
  try {
    const asked = await askAll(visit, session, stage);
    clearTimeout(late);
    const saved = await Promise.race([ticket.promise, Bun.sleep(TICKET_MS)]);
    return { ...(saved && { session: base64(saved) }), ...asked, keyLog };
  } catch (thrown) {
    // It has a limit of its own, of 10 s for the handshake.
    const isTime = isLate || (thrown instanceof Error && thrown.message.includes("timed out"));
    return { ...nothing(stage, thrown, isTime), keyLog };
  } finally {
    clearTimeout(late);
    // It waits for the other side, which may hear nothing of it.
    await Promise.race([session.close().catch(() => {}), Bun.sleep(CLOSE_MS)]);
  }
}

const TICKET_MS = 3_000;
const CLOSE_MS = 1_000;

async function askAll(visit: Visit, session: quic.QuicSession, stage: Stage): Promise<Omit<Visited, "keyLog">> {
  const { path, method = "GET", requests = 1, early = false } = visit;
  const triedEarly = early && visit.session !== undefined;
  // A request on 0-RTT goes with the first flight; waiting for `opened` would cost a round trip.
  const opened = session.opened.then((info) => {
    stage.waitsFor = "response";
    return info;
  });
  opened.catch(() => {});
  let status = 0;
  for (let n = 0; n < requests; n++) {
    const request = () => ask(session, method, `${path}/${n}`);
    try {
      status = await request();
    } catch (thrown) {
      // The streams of refused early data are gone: RFC 9001 §4.6.2 has the client ask again.
      if (!triedEarly || (await opened).earlyDataAccepted) throw thrown;
      status = await request();
    }
    if (status === 425) {
      await opened;
      status = await request();
    }
  }
  const { earlyDataAccepted } = await opened;
  return { status, triedEarly, claimsEarly: triedEarly && (visit.forge === true || earlyDataAccepted) };
}

async function ask(session: quic.QuicSession, method: string, path: string): Promise<number> {
  let status = 0;
  const stream = await session.createBidirectionalStream({
    headers: { ":method": method, ":scheme": "https", ":path": path, ":authority": "localhost" },
    onheaders(headers) {
      status = Number(headers[":status"]);
    },
  });
  stream.closed.catch(() => {});
  for await (const _ of stream);
  return status;
}

/** Somebody who has seen a first flight and sends it on a connection of his own, without knowing what is in it. */
function sendAgain(address: string, port: number, flight: string): void {
  const socket = new BlockingSocket(address, port);
  try {
    socket.send(Buffer.from(flight, "base64"));
    socket.receive();
  } finally {
    socket.close();
  }
}

warm();
serveProgram({ visitTcp, visitQuic, sendAgain });
