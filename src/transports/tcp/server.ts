/** The server half of TCP and of Unix sockets (PROTOCOL.md §5): sockets of Bun become pipes of `backtalk.v1`. */
import type { Socket, SocketHandler, SocketListener } from "bun";
import type { Host } from "../../contract/index.ts";
import { Hub } from "../../frames/hub.ts";
import type { Certificate } from "../../net/certificate.ts";
import { checkCertificate, listenFault } from "../../net/faults.ts";
import { LastFrame, Session, type SessionContext } from "./session.ts";
import { makeRoom, socketPath, unixFault, withMode } from "./unix.ts";

export type TcpListenerOptions = {
  /** Where HTTP is spoken: told to whoever sends a request of HTTP here. */
  readonly httpAt?: readonly string[];
} & (
  | {
      readonly hostname: string;
      /** 0 takes a free one. */
      readonly port: number;
      /** With it all of the connection is TLS. */
      readonly tls?: Certificate | undefined;
      /** How the port is chosen, for the fault when it is taken (default `port`). */
      readonly option?: string;
    }
  | {
      /** The path of a Unix socket, at most 107 bytes (macOS: 103). */
      readonly unix: string;
      /** Of its file (default 0o600: its owner alone may connect). */
      readonly mode?: number;
    }
);

export interface TcpListener {
  /** `tcp://127.0.0.1:4460`, `tls://127.0.0.1:4461` or `unix:/path`. */
  readonly url: string;
  /** Of a Unix socket undefined. */
  readonly port: number | undefined;
  /** Connections that are open. */
  readonly size: number;
  /**
   * Takes no new connection; what is open may take `graceMs` to end (default 1,000), then it is cut. Drain the
   * core before: then connections end by themselves.
   */
  stop(graceMs?: number): Promise<void>;
}

/** Refused connections that may wait to be told why; the others are cut. */
const MOST_REFUSED = 100;

/** @throws Fault when it cannot be opened, with `detail.port` for a port that is taken */
export async function tcpListener(host: Host, options: TcpListenerOptions): Promise<TcpListener> {
  const isUnix = "unix" in options;
  const sessions = new Sessions({
    hub: new Hub(host, isUnix ? "unix" : "tcp"),
    frames: new LastFrame(),
    httpAt: options.httpAt ?? [],
  });
  if (isUnix) {
    const path = socketPath(options.unix);
    await makeRoom(path);
    try {
      const listener = withMode(path, options.mode ?? 0o600, () =>
        Bun.listen<Session>({ unix: path, socket: sessions.handler }),
      );
      return listenerOf(listener, sessions, `unix:${path}`, undefined);
    } catch (thrown) {
      throw unixFault(thrown, path);
    }
  }
  const { hostname, port, tls, option = "port" } = options;
  if (tls) checkCertificate(tls, host.now());
  try {
    const listener = Bun.listen<Session>({
      hostname,
      port,
      socket: sessions.handler,
      ...(tls && { tls: { cert: tls.cert, key: tls.key } }),
    });
    const name = hostname.includes(":") ? `[${hostname}]` : hostname;
    return listenerOf(listener, sessions, `${tls ? "tls" : "tcp"}://${name}:${listener.port}`, listener.port);
  } catch (thrown) {
    throw listenFault(thrown, { hostname, port, option });
  }
}

function listenerOf(
  listener: SocketListener<Session>,
  sessions: Sessions,
  url: string,
  port: number | undefined,
): TcpListener {
  return {
    url,
    port,
    get size() {
      return sessions.size;
    },
    async stop(graceMs = 1000) {
      // Only of the port or file: what is open goes on.
      listener.stop(false);
      await sessions.ended(graceMs);
    },
  };
}

/** The sockets of one listener. */
class Sessions {
  readonly handler: SocketHandler<Session>;
  readonly #context: SessionContext;
  readonly #all = new Set<Session>();
  /** Those that were not taken, and what cuts them when they do not go. */
  readonly #refused = new Map<Session, ReturnType<typeof setTimeout>>();
  #whenEmpty: (() => void) | undefined;

  constructor(context: SessionContext) {
    this.#context = context;
    this.handler = {
      open: (socket) => this.#open(socket),
      // With it `open` comes before TLS has shaken hands: who does not get that far counts, and is cut in time.
      handshake: ({ data }) => data.drained(),
      data: ({ data }, bytes) => data.received(bytes),
      drain: ({ data }) => data.drained(),
      close: ({ data }) => this.#close(data),
      // `close` follows, and nobody asks for more.
      error: () => {},
    };
  }

  get size(): number {
    return this.#all.size;
  }

  /** Resolves when all have ended; after `graceMs` they are cut. */
  async ended(graceMs: number): Promise<void> {
    if (this.#all.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    const timer = setTimeout(() => {
      for (const session of this.#all) session.terminate();
      this.#whenEmpty?.();
    }, graceMs);
    await empty;
    clearTimeout(timer);
  }

  #open(socket: Socket<Session>): void {
    // Many small messages, each waited for: Nagle's algorithm would hold them back (RFC 9293 §3.7.4).
    socket.setNoDelay(true);
    const session = new Session(this.#context, socket);
    socket.data = session;
    this.#all.add(session);
    if (session.opened()) return;
    const { graceMs } = this.#context.hub.host.timing;
    const cut = setTimeout(() => session.terminate(), this.#refused.size < MOST_REFUSED ? graceMs : 0);
    this.#refused.set(session, cut);
  }

  #close(session: Session): void {
    session.closed();
    this.#all.delete(session);
    clearTimeout(this.#refused.get(session));
    this.#refused.delete(session);
    if (this.#all.size === 0) this.#whenEmpty?.();
  }
}
