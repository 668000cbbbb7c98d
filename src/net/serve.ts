/**
 * Hosts a handler: one listener without TLS (HTTP/1.1, and HTTP/2 by prior knowledge) and one with TLS
 * (HTTP/1.1, 2 and 3 on one port). What it says that it speaks was asked of the listener, not assumed.
 */
import type { Limits } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import type { Certificate } from "./certificate.ts";
import { checkCertificate, isUdpTaken, listenFault } from "./faults.ts";
import { type Address, choosesAlpn, speaksH2c, speaksQuic } from "./probe.ts";

export interface ServeOptions<Data> {
  /** An address of this machine, such as `127.0.0.1` or `0.0.0.0`. */
  readonly hostname: string;
  /** Without TLS; 0 for any free port, undefined for no such listener. */
  readonly port?: number;
  /** With TLS. */
  readonly tls?: Certificate & { readonly port: number };
  readonly fetch: (request: Request, server: Bun.Server<Data>) => Response | undefined | Promise<Response | undefined>;
  readonly websocket?: Bun.WebSocketHandler<Data>;
  readonly limits: Pick<Limits, "bodyBytes" | "callBytes"> & Partial<Pick<Limits, "uploadBytes">>;
  /** After how many seconds a quiet connection is closed (default 60, the same as the HTTP handler gives back after a stream; at most 255; streams ask for more). */
  readonly idleSeconds?: number;
  /** How long a listener may take to prove what it speaks, in milliseconds (default 2,000). */
  readonly probeMs?: number;
  readonly now?: () => number;
}

export type Protocol = "http/1.1" | "h2c" | "h2" | "h3";

export interface Listener {
  /** Such as `http://127.0.0.1:4400`. */
  readonly url: string;
  readonly port: number;
  /** What it was seen to speak. */
  readonly protocols: readonly Protocol[];
  /** What it should speak and does not. */
  readonly missing: readonly Protocol[];
}

export interface Served {
  readonly listeners: readonly Listener[];
  /**
   * Takes no new connection; what is under way may take `graceMs` to finish, then it is cut. Ends by itself
   * as soon as nothing is under way. Drain the core before, so that streams and sockets end.
   */
  stop(graceMs?: number): Promise<void>;
}

/** @throws Fault when a port cannot be opened or the certificate cannot serve: then nothing listens */
export async function serve<Data>(options: ServeOptions<Data>): Promise<Served> {
  const { port, tls, now = Date.now } = options;
  if (port === undefined && !tls) throw new Fault("invalid_argument", "there is nothing to listen on");
  if (tls) checkCertificate(tls, now());
  const servers: Bun.Server<Data>[] = [];
  try {
    if (port !== undefined) servers.push(open(options, port, undefined));
    if (tls) servers.push(open(options, tls.port, tls));
    const listeners = await Promise.all(
      servers.map((server) => inspect(server, options.hostname, options.probeMs ?? 2000)),
    );
    return { listeners, stop: (graceMs = 0) => stop(servers, graceMs) };
  } catch (thrown) {
    await stop(servers, 0);
    throw thrown;
  }
}

function open<Data>(
  options: ServeOptions<Data>,
  port: number,
  tls: Certificate | undefined,
  tries = 5,
): Bun.Server<Data> {
  const { hostname, fetch, websocket, limits, idleSeconds = 60 } = options;
  const common = {
    hostname,
    port,
    http2: true,
    // Bodies of client streams are as long as their calls, uploads longer (in a form with its other parts); the
    // handler holds all others to `bodyBytes`.
    maxRequestBodySize:
      Math.max(limits.bodyBytes, limits.callBytes, (limits.uploadBytes ?? 0) + limits.bodyBytes) + 1024,
    idleTimeout: Math.min(255, idleSeconds),
    // Nothing of an error is shown to the caller. A handler that throws is a defect: it is to answer itself.
    development: false,
    // Bun 1.4.5 on Linux shares the port with any other server when `development` is false and this is not said.
    reusePort: false,
    error: () => new Response(null, { status: 500 }),
    ...(tls && { tls: { cert: tls.cert, key: tls.key }, http3: true }),
  };
  try {
    const given = websocket ? { ...common, fetch, websocket } : { ...common, fetch };
    return Bun.serve<Data>(given as unknown as Bun.Serve.Options<Data>);
  } catch (thrown) {
    // Any free port of TCP was asked for, and it was not free for UDP: another one will be.
    if (port === 0 && tls && tries > 1 && isUdpTaken(thrown)) return open(options, port, tls, tries - 1);
    throw listenFault(thrown, { hostname, port, option: tls ? "--tls-port" : "--port" });
  }
}

async function inspect<Data>(server: Bun.Server<Data>, hostname: string, probeMs: number): Promise<Listener> {
  const port = server.port!;
  const isTls = server.url.protocol === "https:";
  const address: Address = { host: reachable(hostname), port };
  const asked: readonly (readonly [Protocol, Promise<boolean>])[] = isTls
    ? [
        ["http/1.1", choosesAlpn(address, "http/1.1", probeMs)],
        ["h2", choosesAlpn(address, "h2", probeMs)],
        ["h3", speaksQuic(address, probeMs)],
      ]
    : [
        // Without TLS and without HTTP/2 nothing else is left.
        ["http/1.1", Promise.resolve(true)],
        ["h2c", speaksH2c(address, probeMs)],
      ];
  const protocols: Protocol[] = [];
  const missing: Protocol[] = [];
  for (const [protocol, speaks] of asked) ((await speaks) ? protocols : missing).push(protocol);
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return { url: `${isTls ? "https" : "http"}://${host}:${port}`, port, protocols, missing };
}

/** The address that this machine reaches itself by, where a listener has all of them. */
function reachable(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  return hostname === "::" ? "::1" : hostname;
}

async function stop<Data>(servers: readonly Bun.Server<Data>[], graceMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const graceful = Promise.all(servers.map((server) => server.stop()));
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([graceful, late]);
  clearTimeout(timer);
  await Promise.all(servers.map((server) => server.stop(true)));
}
