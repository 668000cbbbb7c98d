/** One accepted socket: its preface, its frames, and its end. In between it is a `Connection` like any other. */
import type { Socket } from "bun";
import { Connection } from "../../frames/connection.ts";
import type { Hub, Member } from "../../frames/hub.ts";
import { Fault, toFault } from "../../log/index.ts";
import { CLOSE } from "../../wire/frame.ts";
import { encodeFrame, type FrameError, FrameReader } from "../../wire/length-prefix.ts";
import { TcpPipe } from "./pipe.ts";
import { httpAnswer, type Opening, openingOf, PREFACE_BYTES, TLS_ANSWER } from "./preface.ts";

export interface SessionContext {
  readonly hub: Hub;
  readonly frames: LastFrame;
  readonly httpAt: readonly string[];
}

/** The newest message as bytes: what goes to many sockets is encoded once. */
export class LastFrame {
  #text: string | undefined;
  #bytes: Buffer | undefined;

  of(text: string): Buffer {
    if (this.#bytes && text === this.#text) return this.#bytes;
    this.#text = text;
    this.#bytes = encodeFrame(text);
    return this.#bytes;
  }

  /** Nothing is kept for long after it went out. */
  forget(): void {
    this.#text = undefined;
    this.#bytes = undefined;
  }
}

export class Session implements Member {
  readonly #context: SessionContext;
  readonly #pipe: TcpPipe;
  readonly #address: string | undefined;
  readonly #reader: FrameReader;
  /** From the preface on. */
  #connection: Connection | undefined;
  /** What has come of the preface. */
  #head: Uint8Array = new Uint8Array(0);
  /** The tick since when the other side is waited for: first for its preface, at last to take what is left and end. */
  #waitsSince: number;
  #isOver = false;
  #arrivingSince: number | undefined;

  constructor(context: SessionContext, socket: Socket<unknown>) {
    this.#context = context;
    this.#waitsSince = context.hub.tick;
    // A Unix socket has none.
    this.#address = socket.remoteAddress || undefined;
    this.#reader = new FrameReader(context.hub.host.limits.bodyBytes);
    const session = this;
    this.#pipe = new TcpPipe(socket, {
      frames: context.frames,
      get arrivingSince() {
        return session.#arrivingSince;
      },
    });
  }

  // --- called by the platform ---

  /** @returns whether it was taken: else it has been told why, and ends */
  opened(): boolean {
    const { hub } = this.#context;
    try {
      hub.check();
      hub.add(this);
      return true;
    } catch (thrown) {
      this.#refuse(toFault(thrown));
      return false;
    }
  }

  received(bytes: Uint8Array): void {
    const rest = this.#connection ? bytes : this.#opening(bytes);
    const connection = this.#connection;
    if (rest.length === 0 || !connection || this.#isOver) return;
    connection.heard();
    connection.out.cork(() => this.#read(rest, connection));
  }

  drained(): void {
    this.#pipe.drained();
    this.#connection?.out.drained();
  }

  closed(): void {
    this.#isOver = true;
    if (this.#connection) this.#connection.disposed();
    else this.#context.hub.delete(this);
  }

  // --- called by the shared timer ---

  turn(now: number): void {
    const { tick, graceTicks } = this.#context.hub;
    this.#context.frames.forget();
    const connection = this.#connection;
    if (connection && !connection.out.isClosed) {
      this.#waitsSince = tick;
      connection.turn(now);
    } else if (tick - this.#waitsSince >= graceTicks) this.terminate();
  }

  drain(): void {
    if (this.#connection) this.#connection.drain();
    else if (!this.#isOver) this.#refuse(this.#context.hub.goingFault());
  }

  terminate(): void {
    this.#pipe.terminate();
  }

  // --- the rest ---

  /** Looks for the preface; what comes after it is given back. */
  #opening(bytes: Uint8Array): Uint8Array {
    const nothing = bytes.subarray(bytes.length);
    if (this.#isOver) return nothing;
    const head = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    const opening = openingOf(head);
    if (opening === undefined) {
      // The piece is the platform's: what is kept of it is a copy.
      this.#head = Uint8Array.from(head);
      return nothing;
    }
    this.#head = nothing;
    if (opening !== "backtalk") {
      this.#misplaced(opening);
      return nothing;
    }
    const { hub } = this.#context;
    const address = this.#address;
    this.#pipe.send(PREFACE_BYTES);
    const connection = new Connection(hub, this.#pipe, { via: hub.via, ...(address !== undefined && { address }) });
    this.#connection = connection;
    connection.opened(this);
    return head.subarray(PREFACE_BYTES.length);
  }

  #misplaced(opening: Exclude<Opening, "backtalk">): void {
    const { hub, httpAt } = this.#context;
    this.#isOver = true;
    this.#waitsSince = hub.tick;
    if (opening === "http") this.#pipe.send(httpAnswer(httpAt));
    else if (opening === "tls") this.#pipe.send(TLS_ANSWER);
    else {
      const fault = new Fault("invalid_argument", "the connection does not begin with the preface of backtalk.v1", {
        hint: "send the 12 bytes `backtalk.v1` and a line feed first, see PROTOCOL.md §5",
      });
      hub.refused(fault);
      this.#last({ type: "fault", fault: fault.toJSON() }, CLOSE.protocol, fault.code);
    }
    this.#pipe.end();
  }

  /** It comes when no more are taken. */
  #refuse(fault: Fault): void {
    const { hub } = this.#context;
    this.#isOver = true;
    this.#waitsSince = hub.tick;
    hub.refused(fault);
    const { retryAfterMs, detail } = fault;
    if (detail?.["close"] === undefined) {
      this.#last({ type: "fault", fault: fault.toJSON() }, CLOSE.policy, fault.code);
    } else this.#last({ type: "goaway", retryAfterMs, reason: "draining" }, CLOSE.goingAway, "draining");
  }

  #last(message: object, code: number, reason: string): void {
    const pipe = this.#pipe;
    pipe.cork(() => {
      pipe.send(PREFACE_BYTES);
      pipe.sendText(JSON.stringify(message));
      pipe.close(code, reason);
    });
  }

  #read(bytes: Uint8Array, connection: Connection): void {
    let isNext = false;
    const error = this.#reader.push(bytes, (text) => {
      isNext = true;
      connection.received(text);
    });
    if (error) {
      this.#arrivingSince = undefined;
      connection.end(faultOf(error, this.#context.hub.host.limits.bodyBytes), CODE[error.error]);
    } else if (!this.#reader.isInside) this.#arrivingSince = undefined;
    else if (isNext || this.#arrivingSince === undefined) this.#arrivingSince = this.#context.hub.tick;
  }
}

const CODE: Readonly<Record<FrameError["error"], number>> = { tooLarge: CLOSE.tooLarge, notText: CLOSE.notText };

function faultOf(error: FrameError, bodyBytes: number): Fault {
  if (error.error === "notText") {
    return new Fault("invalid_argument", "a message is not UTF-8", { hint: "see PROTOCOL.md §5" });
  }
  return new Fault("resource_exhausted", `a message of ${error.length} bytes is more than ${bodyBytes}`, {
    limit: "bodyBytes",
    retryable: false,
    hint: "send less at once, or raise the limit bodyBytes of the server; a length is four bytes, the most significant first",
  });
}
