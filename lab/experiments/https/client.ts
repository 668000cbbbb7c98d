/** Visits a server: one connection, one request, and when it is asked for one more on the same connection. */
import * as quic from "node:quic";
import { makeCertificate } from "../../../src/net/certificate.ts";
import { TlsEnd } from "../../tls/connection.ts";
import { readMessages, writeMessage } from "../../tls/http.ts";
import { openOpenssl, TlsContext, type VERSION } from "../../tls/openssl.ts";
import { BlockingSocket } from "../../tls/socket.ts";
import { serveProgram } from "../../wire/program.ts";

export interface Visit {
  readonly address: string;
  readonly port: number;
  readonly path: string;
  readonly version?: keyof typeof VERSION;
  readonly fastOpen?: boolean;
  /** What an earlier visit gave, base64; undefined: the first visit. */
  readonly session?: string;
  readonly token?: string;
  /** The request is sent as early data. */
  readonly early?: boolean;
  /** Early data is sent also when the ticket does not allow it, and is said to be accepted: a forged claim. */
  readonly forge?: boolean;
  readonly groups?: string;
  /** Names of protocols that fill the ClientHello. */
  readonly alpn?: readonly string[];
  /** Requests on the connection (default 1). */
  readonly requests?: number;
}

/** What the client says about a visit; the capture decides. */
export interface Visited {
  readonly session?: string;
  readonly token?: string;
  readonly keyLog: readonly string[];
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
  const { address, port, path, version = "1.3", fastOpen, early = false, forge = false, groups, alpn } = visit;
  const context = new TlsContext(openOpenssl(), { isServer: false, version, ...(groups !== undefined && { groups }) });
  const end = new TlsEnd(context, {
    ...(visit.session !== undefined && { session: Buffer.from(visit.session, "base64") }),
    forgeEarlyData: forge,
    ...(alpn && { alpn }),
  });
  let socket: BlockingSocket | undefined;
  try {
    const request = (n: number) =>
      writeMessage({ start: `GET ${path}/${n} HTTP/1.1`, fields: { host: "localhost" }, body: "" });
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
    socket = new BlockingSocket(address, port, fastOpen === undefined ? {} : { fastOpen });
    while (!end.handshake()) {
      socket.send(end.take());
      end.feed(socket.receive());
    }
    const isAccepted = triedEarly && end.isEarlyAccepted;
    for (let n = 0; n < (visit.requests ?? 1); n++) {
      if (n > 0 || !isAccepted) end.write(request(n));
      socket.send(end.take());
      answer(end, socket);
    }
    const session = end.session();
    return {
      ...(session && { session: base64(session.bytes), ticketAllows: session.maxEarlyData }),
      keyLog: context.keyLog,
      triedEarly,
      claimsEarly: forge ? triedEarly : isAccepted,
    };
  } finally {
    end.free();
    socket?.close();
    context.free();
  }
}

/** Reads until one whole response is there. */
function answer(end: TlsEnd, socket: BlockingSocket): void {
  let got: Uint8Array = new Uint8Array(0);
  for (;;) {
    const read = end.read();
    if (!read) {
      const bytes = socket.receive();
      if (bytes.length === 0) throw new Error("the server closed the connection without a response");
      end.feed(bytes);
      continue;
    }
    got = Buffer.concat([got, read.bytes]);
    if (readMessages(got).messages.length > 0) return;
  }
}

async function visitQuic(visit: Visit): Promise<Visited> {
  const { address, port, path, early = false, groups } = visit;
  const keyLog: string[] = [];
  const ticket = Promise.withResolvers<Uint8Array>();
  let token: Uint8Array | undefined;
  const triedEarly = early && visit.session !== undefined;
  const session = await quic.connect(`${address}:${port}`, {
    alpn: "h3",
    servername: "localhost",
    rejectUnauthorized: false,
    verifyPeer: "manual",
    reuseEndpoint: false,
    // By default it is bound to 127.0.0.1, and reaches nobody else.
    endpoint: { address: "0.0.0.0:0" },
    // Version 2 would cost nothing, but negotiating it makes two captures out of one (RFC 9369 §4).
    version: 1,
    keylog: true,
    onkeylog: (line) => void keyLog.push(line.trim()),
    onsessionticket: (given) => ticket.resolve(given as Uint8Array),
    onnewtoken: (given) => {
      token = given;
    },
    enableEarlyData: early,
    ...(groups !== undefined && { groups }),
    ...(visit.session !== undefined && { sessionTicket: Buffer.from(visit.session, "base64") }),
    ...(visit.token !== undefined && { token: Buffer.from(visit.token, "base64") }),
  });
  session.closed.catch(() => {});
  // A request on 0-RTT goes with the first flight; waiting for `opened` would cost a round trip.
  const opened = session.opened;
  for (let n = 0; n < (visit.requests ?? 1); n++) {
    try {
      await ask(session, `${path}/${n}`);
    } catch (thrown) {
      // The streams of refused early data are gone: RFC 9001 §4.6.2 has the client ask again.
      if (!triedEarly || (await opened).earlyDataAccepted) throw thrown;
      await ask(session, `${path}/${n}`);
    }
  }
  const { earlyDataAccepted } = await opened;
  const saved = await Promise.race([ticket.promise, Bun.sleep(3_000)]);
  await session.close();
  return {
    ...(saved && { session: base64(saved) }),
    ...(token && { token: base64(token) }),
    keyLog,
    triedEarly,
    claimsEarly: triedEarly && (visit.forge === true || earlyDataAccepted),
  };
}

async function ask(session: quic.QuicSession, path: string): Promise<void> {
  const stream = await session.createBidirectionalStream({
    headers: { ":method": "GET", ":scheme": "https", ":path": path, ":authority": "localhost" },
  });
  stream.closed.catch(() => {});
  for await (const _ of stream);
}

warm();
serveProgram({ visitTcp, visitQuic });
