/** One connection of the client: sockets of Node as a pipe of messages. */
import { connect, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Dial, FramesPeerOptions, PipeEvents } from "../../frames/client.ts";
import { Fault } from "../../log/fault.ts";
import { MOST_BYTES } from "../../wire/bounded.ts";
import { encodeFrame, FrameReader, PREFACE } from "../../wire/length-prefix.ts";
import { troubleOf } from "../../wire/trouble.ts";
import type { SocketAddress } from "./client-address.ts";

export type ClientTls = Omit<ConnectionOptions, "host" | "port" | "path" | "socket">;

interface DialOptions extends Pick<FramesPeerOptions, "trace"> {
  readonly tls?: ClientTls;
}

/** The connection broke: what RFC 6455 §7.1.5 has for that, and a server that says nothing here. */
const BROKEN = 1006;

export function dialer(address: SocketAddress, { trace, tls }: DialOptions): Dial {
  return (on) => {
    trace?.("*", `connect ${address.url}`);
    const socket = open(address, tls);
    socket.setNoDelay(true);
    const incoming = new Incoming(address, on, (fault) => fail(fault));
    const fail = (fault: Fault): void => {
      socket.destroy();
      on.closed(BROKEN, "", fault);
    };
    let error: NodeJS.ErrnoException | undefined;
    socket.on("data", (bytes: Uint8Array) => incoming.received(bytes));
    socket.on("error", (thrown) => {
      error = thrown;
    });
    socket.on("close", () => incoming.ended(error));
    socket.write(PREFACE);
    return {
      send: (text) => {
        socket.write(encodeFrame(text));
      },
      close() {
        incoming.isOver = true;
        // What was written goes out before; a server that does not end its side too does not hold anybody up.
        socket.end();
        const cut = setTimeout(() => socket.destroy(), 1000);
        cut.unref();
        socket.once("close", () => clearTimeout(cut));
      },
    };
  };
}

function open({ target, isTls }: SocketAddress, tls: ClientTls | undefined): Socket {
  if (!isTls || !("host" in target)) return connect({ ...target });
  // RFC 6066 §3: an address is no name.
  return connectTls({ ...(isIP(target.host) === 0 && { servername: target.host }), ...tls, ...target });
}

/** What comes of the server: its preface, messages, and at last why it ends. */
class Incoming {
  isOver = false;
  readonly #address: SocketAddress;
  readonly #on: PipeEvents;
  readonly #fail: (fault: Fault) => void;
  readonly #reader = new FrameReader(MOST_BYTES);
  #head: Buffer | undefined = Buffer.alloc(0);
  #close = { code: BROKEN, reason: "" };

  constructor(address: SocketAddress, on: PipeEvents, fail: (fault: Fault) => void) {
    this.#address = address;
    this.#on = on;
    this.#fail = fail;
  }

  received(bytes: Uint8Array): void {
    if (this.isOver) return;
    const rest = this.#head ? this.#preface(Buffer.concat([this.#head, bytes])) : bytes;
    try {
      const error = rest && this.#reader.push(rest, (text) => this.#message(text));
      if (error) throw new Error(error.error);
    } catch (cause) {
      this.#over(new Fault("unavailable", "the server sent what cannot be read", { cause }));
    }
  }

  ended(cause: NodeJS.ErrnoException | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    const { code, reason } = this.#close;
    const isOpen = this.#head === undefined;
    if (code !== BROKEN || (isOpen && !cause)) this.#on.closed(code, reason);
    else if (isOpen)
      this.#on.closed(code, "", new Fault("unavailable", `the connection broke: ${cause!.message}`, { cause }));
    else this.#on.closed(code, "", unopened(this.#address, cause, this.#head!));
  }

  /** What comes after it; undefined while it is not whole. */
  #preface(head: Buffer): Buffer | undefined {
    this.#head = head;
    const given = head.toString("latin1", 0, PREFACE.length);
    if (given === PREFACE) {
      this.#head = undefined;
      return head.subarray(PREFACE.length);
    }
    // What an HTTP server says about the preface is worth to be read whole; the end of the connection comes then.
    if (!PREFACE.startsWith(given) && head.length >= 64) this.#over(unopened(this.#address, undefined, head));
    return undefined;
  }

  #message(text: string): void {
    if (this.isOver) return;
    if (text.startsWith('{"type":"close"')) {
      const { code, reason } = JSON.parse(text) as { code: number; reason: string };
      this.#close = { code, reason };
    } else this.#on.message(text);
  }

  #over(fault: Fault): void {
    this.isOver = true;
    this.#fail(fault);
  }
}

/** Nothing of any exchange was sent. */
function unopened({ url, isTls }: SocketAddress, cause: NodeJS.ErrnoException | undefined, head: Buffer): Fault {
  const detail = { sent: false };
  const code = cause?.code ?? "";
  if (head.length > 0) {
    // An alert of TLS (RFC 8446 §5.1): it did not take the preface for a greeting.
    const isTlsPort = head[0] === 0x15 && head[1] === 3;
    const said = JSON.stringify(head.toString("latin1", 0, 40).split(/[\r\n]/)[0]);
    return new Fault(
      "failed_precondition",
      `${url} does not speak backtalk.v1: it ${isTlsPort ? "speaks TLS" : `says ${said}`}`,
      {
        hint: isTlsPort
          ? `use tls:// for a port of TCP with TLS, and https:// for one of HTTP`
          : "the port of TCP is another than that of HTTP: `backtalk serve` prints both",
        detail,
      },
    );
  }
  const trouble = cause && troubleOf(cause);
  // A certificate does not get better by waiting; and an answer that is no TLS says that there is none.
  if (isTls && (trouble?.isLasting || code.startsWith("ERR_SSL"))) {
    return new Fault("failed_precondition", `no TLS connection to ${url}: ${trouble?.what ?? cause!.message}`, {
      ...(trouble && { hint: trouble.hint }),
      detail,
      cause,
    });
  }
  const why = cause ? (trouble?.what ?? (cause.message || code)) : "it was closed before the server spoke";
  return new Fault("unavailable", `no connection to ${url}: ${why}`, {
    hint: trouble?.hint ?? (isTls ? "is it a port of TCP with TLS?" : "does the port speak TLS? That is tls://"),
    detail,
    cause,
  });
}
