/**
 * The connections of the gRPC listener: how many there are, which of them are idle or dead, and their end.
 * One timer looks after all of them.
 */
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";

const { NGHTTP2_NO_ERROR } = http2.constants;

export interface ConnectionOptions {
  /** Most connections; one more is closed at once. */
  readonly most: number;
  /** After how long without a call a connection is closed, in milliseconds. */
  readonly idleMs: number;
  /** How long a new connection may take to speak HTTP/2, TLS before it included. */
  readonly greetingMs: number;
  /** After how long a connection with calls is asked whether it lives (PING), and how long its answer may take. */
  readonly heartbeatMs: number;
  readonly graceMs: number;
  /** Hears of each connection that begins (1) and ends (-1). */
  readonly onChange?: ((by: 1 | -1) => void) | undefined;
  readonly now: () => number;
}

interface Connection {
  readonly session: ServerHttp2Session;
  streams: number;
  /** Since when there is no call. */
  idleSince: number;
  isGreeted: boolean;
  pingedAt: number;
  isPinging: boolean;
  /** When it was told to go. */
  closedAt: number | undefined;
}

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #sockets = new Set<Socket>();
  /** Those that have not ended their TLS handshake, and when they came. */
  readonly #handshakes = new Map<Socket, number>();
  readonly #open = new Map<ServerHttp2Session, Connection>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { idleMs, greetingMs, heartbeatMs, graceMs } = options;
    const everyMs = Math.min(1000, Math.max(5, Math.min(idleMs, greetingMs, heartbeatMs, graceMs) / 4));
    this.#timer = setInterval(() => this.#sweep(), everyMs);
    this.#timer.unref();
  }

  accept(socket: Socket, isTls: boolean): void {
    if (this.#sockets.size >= this.#options.most) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    if (isTls) this.#handshakes.set(socket, this.#options.now());
    this.#options.onChange?.(1);
    socket.once("close", () => {
      this.#handshakes.delete(socket);
      if (this.#sockets.delete(socket)) this.#options.onChange?.(-1);
    });
  }

  /** Its TLS handshake has ended. */
  secure(socket: Socket): void {
    this.#handshakes.delete(socket);
  }

  /** It speaks, or is to speak, HTTP/2. */
  add(session: ServerHttp2Session): void {
    // What goes wrong with a connection is told by its end.
    session.on("error", () => {});
    const now = this.#options.now();
    const connection: Connection = {
      session,
      streams: 0,
      idleSince: now,
      isGreeted: false,
      pingedAt: now,
      isPinging: false,
      closedAt: undefined,
    };
    this.#open.set(session, connection);
    session.once("remoteSettings", () => {
      connection.isGreeted = true;
    });
    session.once("close", () => this.#open.delete(session));
  }

  /** A call has begun. */
  begin(stream: ServerHttp2Stream): void {
    const connection = stream.session && this.#open.get(stream.session as ServerHttp2Session);
    if (!connection) return;
    connection.streams += 1;
    connection.isGreeted = true;
    stream.once("close", () => {
      connection.streams -= 1;
      connection.idleSince = this.#options.now();
    });
  }

  /** No new calls (GOAWAY); those that run may take `graceMs`. Resolves when all connections have ended. */
  async stop(graceMs: number): Promise<void> {
    clearInterval(this.#timer);
    for (const socket of this.#handshakes.keys()) socket.destroy();
    const ends = [...this.#open.values()].map((connection) => {
      const { session } = connection;
      const ended = new Promise<void>((resolve) => session.once("close", resolve));
      session.close();
      return ended;
    });
    const timer = setTimeout(() => {
      for (const session of this.#open.keys()) cut(session);
    }, graceMs);
    await Promise.all(ends);
    clearTimeout(timer);
  }

  #sweep(): void {
    const { idleMs, greetingMs, graceMs, heartbeatMs, now } = this.#options;
    const at = now();
    for (const [socket, since] of this.#handshakes) if (at - since >= greetingMs) socket.destroy();
    for (const connection of this.#open.values()) {
      const { session } = connection;
      if (connection.closedAt !== undefined) {
        if (connection.streams === 0 && at - connection.closedAt >= graceMs) cut(session);
      } else if (connection.streams === 0) {
        const quietMs = at - connection.idleSince;
        if (!connection.isGreeted && quietMs >= greetingMs) cut(session);
        else if (quietMs >= idleMs) this.#close(connection, at);
      }
      if (connection.streams > 0) {
        if (connection.isPinging && at - connection.pingedAt >= graceMs) cut(session);
        else if (!connection.isPinging && at - connection.pingedAt >= heartbeatMs) this.#ping(connection, at);
      }
    }
  }

  #close(connection: Connection, at: number): void {
    connection.closedAt = at;
    connection.session.goaway(NGHTTP2_NO_ERROR);
    connection.session.close();
  }

  /** TCP tells of a dead peer only when there is something to send, and then late. */
  #ping(connection: Connection, at: number): void {
    connection.pingedAt = at;
    connection.isPinging = true;
    connection.session.ping(() => {
      connection.isPinging = false;
    });
  }
}

/**
 * With an error, on purpose: without one Bun 1.4.5 sends the end of each stream before it closes the connection,
 * and an answer that was cut would look complete.
 */
function cut(session: ServerHttp2Session): void {
  session.destroy(new Error("the connection was cut"), NGHTTP2_NO_ERROR);
}
