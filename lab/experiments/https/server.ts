/** Serves HTTP/1.1 on the TLS of OpenSSL over TCP, and HTTP/3 on `node:quic`; notes each run of its handler. */
import { createPrivateKey } from "node:crypto";
import * as quic from "node:quic";
import type { Congestion } from "../../conditions.ts";
import { TlsEnd } from "../../tls/connection.ts";
import { readMessages, writeMessage } from "../../tls/http.ts";
import { openOpenssl, opensslVersion, TlsContext, type VERSION } from "../../tls/openssl.ts";
import { serveProgram } from "../../wire/program.ts";

/** One run of the handler. */
export interface Handled {
  readonly method: string;
  readonly path: string;
  /** The request came as early data, by the word of the library of TLS. */
  readonly isEarly: boolean;
}

export interface Serving {
  readonly certificates: readonly string[];
  readonly key: string;
  readonly version?: keyof typeof VERSION;
  readonly maxEarlyData?: number;
  readonly groups?: string;
  /** Tickets may be used again (TCP). */
  readonly allowReplay?: boolean;
  /** What is not safe to run twice is answered with 425 Too Early when it comes as early data (RFC 8470 §5.2). */
  readonly tooEarly?: boolean;
  /** Of QUIC; that of TCP is the host's. */
  readonly congestion: Congestion;
  /** QUIC: a Retry for each new client. */
  readonly retry?: boolean;
}

const ALPN = "http/1.1";
const BODY = "x".repeat(600);
const handled: Handled[] = [];
/** Of each connection, in the order in which they came: whoever sends a flight again does not know these keys. */
const keyLogs: string[][] = [];

/** The handler: its status. */
function handle(request: Handled, { tooEarly = false }: Serving): number {
  // RFC 9110 §9.2.1
  if (tooEarly && request.isEarly && request.method !== "GET") return 425;
  handled.push(request);
  return 200;
}

interface Connection {
  readonly end: TlsEnd;
  got: Uint8Array;
  isEarly: boolean;
  readonly keyLog: string[];
}

function serveTcp(address: string, serving: Serving): number {
  const { certificates, key, version = "1.3", maxEarlyData = 0, groups, allowReplay = false } = serving;
  const context = new TlsContext(openOpenssl(), {
    isServer: true,
    version,
    certificates,
    key,
    maxEarlyData,
    allowReplay,
    // So that whoever opens the capture sees HTTP.
    alpn: ALPN,
    ...(groups !== undefined && { groups }),
  });
  const { port } = Bun.listen<Connection | undefined>({
    hostname: address,
    port: 0,
    socket: {
      open(socket) {
        const keyLog: string[] = [];
        keyLogs.push(keyLog);
        socket.data = { end: new TlsEnd(context), got: new Uint8Array(0), isEarly: false, keyLog };
      },
      data(socket, bytes) {
        const { data } = socket;
        if (!data) return;
        try {
          data.end.feed(bytes);
          for (let read = data.end.read(); read; read = data.end.read()) {
            data.isEarly ||= read.isEarly;
            const { messages, rest } = readMessages(Buffer.concat([data.got, read.bytes]));
            data.got = rest;
            for (const { start } of messages) {
              const [method = "", path = ""] = start.split(" ");
              const status = handle({ method, path, isEarly: data.isEarly }, serving);
              data.end.write(writeMessage({ start: `HTTP/1.1 ${status}`, fields: {}, body: BODY }));
              data.isEarly = false;
            }
          }
          data.keyLog.push(...context.keyLog.splice(0));
          const out = data.end.take();
          // A response of a laboratory is smaller than the buffer of a socket.
          if (out.length > 0) socket.write(out);
        } catch {
          socket.terminate();
        }
      },
      end: (socket) => void socket.end(),
      close(socket) {
        socket.data?.end.free();
        socket.data = undefined;
      },
      error() {},
    },
  });
  return port;
}

async function serveQuic(address: string, serving: Serving): Promise<number> {
  const { certificates, key, maxEarlyData = 0, groups, retry = false, congestion } = serving;
  const onSession = (session: quic.QuicSession) => {
    session.closed.catch(() => {});
    const keyLog: string[] = [];
    keyLogs.push(keyLog);
    session.onkeylog = (line) => void keyLog.push(line.trim());
    session.onstream = (stream) => {
      stream.closed.catch(() => {});
      stream.onheaders = (headers) => {
        const request = { method: String(headers[":method"]), path: String(headers[":path"]), isEarly: stream.early };
        stream.sendHeaders({ ":status": String(handle(request, serving)) });
        stream.setBody(BODY);
      };
    };
  };
  const endpoint = await quic.listen(onSession, {
    alpn: "h3",
    cc: congestion,
    keylog: true,
    sni: { "*": { keys: [createPrivateKey(key)], certs: [Buffer.from(certificates.join(""))] } },
    enableEarlyData: maxEarlyData > 0,
    ...(groups !== undefined && { groups }),
    endpoint: { address: `${address}:0`, validateAddress: retry },
  });
  return endpoint.address!.port;
}

serveProgram({
  serveTcp,
  serveQuic,
  handled: () => handled.splice(0),
  keyLogs: () => keyLogs.splice(0),
  version: () => opensslVersion(openOpenssl()),
});
