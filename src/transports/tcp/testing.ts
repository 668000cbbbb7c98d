/** TCP and Unix sockets as the suites use them: both halves, over real sockets of this machine. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import type { Link } from "../../../suites/transport/world.ts";
import { encodeFrame, FrameReader, PREFACE } from "../../wire/length-prefix.ts";
import { type TcpPeerOptions, tcpPeer } from "./client.ts";
import { type TcpListener, tcpListener } from "./server.ts";

export type Kind = "tcp" | "tls" | "unix";

export interface TcpLink extends Link {
  /** Of a Unix socket 0. */
  readonly port: number;
}

export function tcpLink(kind: Kind, client: Partial<TcpPeerOptions> = {}): TcpLink {
  const folder = kind === "unix" ? mkdtempSync(join(tmpdir(), "bt-")) : "";
  const path = join(folder, "s");
  let listener: TcpListener | undefined;
  let port = 0;
  const url = () => (kind === "unix" ? `unix:${path}` : `${kind}://127.0.0.1:${port}`);
  return {
    get port() {
      return port;
    },
    async serve(host) {
      if (folder) mkdirSync(folder, { recursive: true });
      const tls = kind === "tls" ? testCertificate() : undefined;
      listener = await tcpListener(host, kind === "unix" ? { unix: path } : { hostname: "127.0.0.1", port, tls });
      port = listener.port ?? 0;
    },
    peer: (user) =>
      tcpPeer({
        url: url(),
        ...(kind === "tls" && { tls: { rejectUnauthorized: false } }),
        ...client,
        ...(user !== undefined && { token: user }),
      }),
    async stop() {
      await listener?.stop(0);
      listener = undefined;
      // Of the file nothing is left; it may come back.
      if (folder) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the server says, loosely. */
export interface Said {
  readonly type: string;
  readonly id?: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it, and compare
  readonly [member: string]: any;
}

type Target = { readonly port: number; readonly isTls?: boolean } | { readonly path: string };

/** A connection that sends the bytes that a test tells it to, and keeps all that comes. */
export class Raw {
  readonly socket: Socket;
  /** All bytes. */
  bytes = Buffer.alloc(0);
  /** The messages that came after the preface, and were not looked at yet. */
  readonly heard: Said[] = [];
  /** The server has ended its side. */
  isEnded = false;
  isClosed = false;
  error: Error | undefined;
  readonly #reader = new FrameReader(2 ** 30);
  #wake = (): void => {};

  constructor(target: Target) {
    const options = { ...("path" in target ? target : { port: target.port, host: "127.0.0.1" }), allowHalfOpen: true };
    const isTls = "isTls" in target && target.isTls;
    this.socket = isTls ? connectTls({ ...options, rejectUnauthorized: false }) : connect(options);
    this.socket.on("data", (data: Buffer) => this.#received(data));
    this.socket.on("end", () => {
      this.isEnded = true;
      this.#wake();
    });
    this.socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
    // A reset is an end like any other.
    this.socket.on("error", (error) => {
      this.error = error;
    });
  }

  /** Has said its preface, and heard the welcome. */
  static async open(target: Target): Promise<Raw> {
    const raw = new Raw(target);
    raw.socket.write(PREFACE);
    await raw.hears("welcome");
    return raw;
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }

  say(...messages: readonly (object | string)[]): void {
    this.socket.write(
      Buffer.concat(messages.map((each) => encodeFrame(typeof each === "string" ? each : JSON.stringify(each)))),
    );
  }

  write(bytes: Uint8Array | string): void {
    this.socket.write(bytes);
  }

  /** The first message of this type, and this exchange, that has not been looked at; it is taken out. */
  async hears(type: string, id?: number): Promise<Said> {
    const find = () => this.heard.findIndex((each) => each.type === type && (id === undefined || each.id === id));
    await this.until(() => find() !== -1, `${type} ${id ?? ""}`);
    return this.heard.splice(find(), 1)[0]!;
  }

  /** The last message, and that the server then ends. */
  async closes(): Promise<Said> {
    const said = await this.hears("close");
    await this.until(() => this.isEnded || this.isClosed, "the end");
    return said;
  }

  async until(condition: () => unknown, what = "a condition"): Promise<void> {
    const limit = AbortSignal.timeout(30_000);
    while (!condition()) {
      if (limit.aborted || (this.isClosed && !condition())) {
        throw new Error(`waited in vain for ${what}: ${JSON.stringify(this.heard)} ${this.text.slice(0, 300)}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        limit.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** Without a word. */
  destroy(): void {
    this.socket.destroy();
  }

  #received(data: Buffer): void {
    const before = this.bytes.length;
    // Of a long stream only the beginning is kept.
    if (before < 2 ** 20) this.bytes = Buffer.concat([this.bytes, data]);
    if (this.bytes.subarray(0, PREFACE.length).equals(Buffer.from(PREFACE))) {
      const rest = data.subarray(Math.max(0, PREFACE.length - before));
      this.#reader.push(rest, (text) => this.heard.push(JSON.parse(text) as Said));
    }
    this.#wake();
  }
}
