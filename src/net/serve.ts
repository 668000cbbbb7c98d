/** Hosts handlers on ports. The only place that listens; one port carries HTTP, SSE, polling and WebSocket. */
import type { Server, WebSocketHandler } from "bun";
import { Fault } from "../log/fault.ts";
import type { Certificate } from "./certificate.ts";

/** What a listener gives each request to. `undefined` after an upgrade to WebSocket. */
export type Fetch<Data> = (
  request: Request,
  server: Server<Data>,
) => Response | undefined | Promise<Response | undefined>;

export interface ListenOptions<Data> {
  readonly fetch: Fetch<Data>;
  readonly websocket: WebSocketHandler<Data>;
  /** Default 127.0.0.1: only this machine. */
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** With it: HTTPS with HTTP/1.1, HTTP/2 and HTTP/3 (QUIC on UDP); without: HTTP/1.1, and HTTP/2 by prior knowledge. */
  readonly certificate?: Certificate;
  /** Most bytes of a request's body. */
  readonly bodyBytes: number;
  /** Seconds without a byte after which a connection that waits for nothing is closed (1 to 255, default 60). */
  readonly idleSeconds?: number;
  /** Several processes may listen on the port (Linux). */
  readonly reusePort?: boolean;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** `http://127.0.0.1:4400`, without a slash at its end. */
  readonly url: string;
  readonly protocols: readonly ("http1" | "http2" | "http3")[];
  /** Takes no new connections; resolves when those that are open have ended, or after `graceMs` by force. */
  stop(graceMs: number): Promise<void>;
}

/** @throws Fault when the port cannot be had, that says why and what to do */
export async function listen<Data>(options: ListenOptions<Data>): Promise<Listener> {
  const { fetch, websocket, port, certificate, bodyBytes, idleSeconds = 60, reusePort = false } = options;
  const host = options.host ?? "127.0.0.1";
  let server: Server<Data>;
  try {
    server = Bun.serve({
      fetch,
      websocket,
      hostname: host,
      port,
      maxRequestBodySize: bodyBytes,
      idleTimeout: idleSeconds,
      reusePort,
      // The handlers answer every fault themselves: what comes here is a defect of theirs.
      error: () => new Response(null, { status: 500 }),
      ...(certificate && { tls: { cert: certificate.cert, key: certificate.key } }),
      http2: true,
      ...(certificate && { http3: true }),
    } as Bun.Serve.Options<Data>);
  } catch (thrown) {
    throw whyNot(thrown, host, port);
  }
  const bound = server.port ?? port;
  const name = host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host;
  return {
    host,
    port: bound,
    url: `${certificate ? "https" : "http"}://${name}:${bound}`,
    protocols: protocolsOf(certificate !== undefined),
    async stop(graceMs) {
      const ended = server.stop(false);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
      });
      await Promise.race([ended, late]);
      clearTimeout(timer);
      await server.stop(true);
    },
  };
}

/** Earlier versions of Bun take the options for HTTP/2 and HTTP/3 and do nothing with them. */
function protocolsOf(isTls: boolean): Listener["protocols"] {
  if (!Bun.semver.satisfies(Bun.version, ">=1.4.1")) return ["http1"];
  return isTls ? ["http1", "http2", "http3"] : ["http1", "http2"];
}

function whyNot(thrown: unknown, host: string, port: number): Fault {
  const code = (thrown as { code?: string }).code ?? "";
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (code === "EADDRINUSE" || /in use/i.test(message)) {
    return new Fault("failed_precondition", `port ${port} on ${host} is in use`, {
      retryable: false,
      cause: thrown,
      hint: `stop what uses it (find it with: lsof -i :${port}), or choose another port; 0 takes a free one`,
    });
  }
  if (code === "EACCES" || /permission/i.test(message)) {
    return new Fault("permission_denied", `port ${port} on ${host} may not be used by this user`, {
      cause: thrown,
      hint: "ports below 1024 need rights: choose a higher one and put a proxy or a port mapping before it",
    });
  }
  if (code === "EADDRNOTAVAIL" || /address/i.test(message)) {
    return new Fault("invalid_argument", `${host} is not an address of this machine`, {
      cause: thrown,
      hint: "use 127.0.0.1 for this machine only, 0.0.0.0 for all its addresses",
    });
  }
  return new Fault("failed_precondition", `cannot listen on ${host}:${port}: ${message}`, { cause: thrown });
}
