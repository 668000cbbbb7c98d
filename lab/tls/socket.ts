/** A TCP socket whose calls wait, for a client that does one thing at a time; with Fast Open (RFC 7413). */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { addressBytes } from "../../src/wire/packet/ip.ts";
import { SOCKET, type SocketOptions, socketOptions, TCP } from "../wire/sockopt.ts";

const { i32, pointer } = { i32: FFIType.i32, pointer: FFIType.ptr } as const;

function load() {
  return dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    connect: { args: [i32, pointer, i32], returns: i32 },
    recv: { args: [i32, pointer, FFIType.u64_fast, i32], returns: FFIType.i64_fast },
    send: { args: [i32, pointer, FFIType.u64_fast, i32], returns: FFIType.i64_fast },
    close: { args: [i32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, pointer, i32], returns: i32 },
  }).symbols;
}

export interface ConnectOptions {
  /** The first bytes go with the SYN when the kernel has a cookie of the server, else the SYN asks for one. */
  readonly fastOpen?: boolean;
  /** From its opening to the last byte, in milliseconds (default 15,000). */
  readonly withinMs?: number;
}

/** The time of a socket is over. */
export class LateError extends Error {}

export class BlockingSocket {
  readonly #libc = load();
  readonly #options: SocketOptions = socketOptions();
  readonly #fd: number;
  readonly #buffer = new Uint8Array(65_536);
  readonly #until: number;

  /** @throws LateError, or Error when it cannot be connected */
  constructor(address: string, port: number, { fastOpen = false, withinMs = 15_000 }: ConnectOptions = {}) {
    this.#until = performance.now() + withinMs;
    this.#fd = this.#libc.socket(AF_INET, SOCK_STREAM, 0);
    if (this.#fd < 0) throw new Error("no socket");
    if (fastOpen) this.#options.set(this.#fd, TCP.level, TCP.FASTOPEN_CONNECT, 1);
    this.#options.set(this.#fd, TCP.level, TCP.NODELAY, 1);
    this.#limit();
    // sockaddr_in: family as the machine writes it, port and address as the network does.
    const to = new Uint8Array(16);
    to[0] = AF_INET;
    to[2] = port >>> 8;
    to[3] = port & 0xff;
    to.set(addressBytes(address), 4);
    if (this.#libc.connect(this.#fd, ptr(to), to.length) < 0) {
      this.close();
      throw this.#failed(`no connection to ${address}:${port}`);
    }
  }

  /** All of it with one call. @throws LateError, or Error when the connection is gone */
  send(bytes: Uint8Array): void {
    this.#limit();
    for (let rest = bytes; rest.length > 0; ) {
      const sent = Number(this.#libc.send(this.#fd, ptr(rest), rest.length, MSG_NOSIGNAL));
      if (sent < 0) throw this.#failed("the connection is gone");
      rest = rest.subarray(sent);
    }
  }

  /** What has come; no bytes at its end. @throws LateError, or Error when the connection is gone */
  receive(): Uint8Array {
    this.#limit();
    const got = Number(this.#libc.recv(this.#fd, ptr(this.#buffer), this.#buffer.length, 0));
    if (got < 0) throw this.#failed("the connection is gone");
    return this.#buffer.slice(0, got);
  }

  close(): void {
    this.#libc.close(this.#fd);
  }

  /** The next call waits no longer than what is left. */
  #limit(): void {
    // struct timeval of both directions: SO_RCVTIMEO, SO_SNDTIMEO; zero would be for ever.
    const ms = Math.max(1, this.#until - performance.now());
    const time = new BigInt64Array([BigInt(Math.floor(ms / 1e3)), BigInt(Math.floor((ms % 1e3) * 1e3))]);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      this.#libc.setsockopt(this.#fd, SOCKET.level, option, ptr(time), time.byteLength);
    }
  }

  #failed(text: string): Error {
    // A tick of the kernel's clock is up to 10 ms: it may wake a little early.
    return performance.now() >= this.#until - 10 ? new LateError("the time is over") : new Error(text);
  }
}

const AF_INET = 2;
const SOCK_STREAM = 1;
const MSG_NOSIGNAL = 0x4000;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
