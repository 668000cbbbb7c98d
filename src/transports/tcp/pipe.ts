/**
 * What goes out on one socket of Bun. The platform takes what the network takes, and no more: the rest is kept
 * here, and how much of it there may be is decided by whoever writes (`frames/outbound.ts`).
 */
import type { Socket } from "bun";
import type { Pipe } from "../../frames/pipe.ts";

/** While messages are gathered, what goes out at once when it has grown so large. */
const CORK_BYTES = 64 * 1024;

export interface PipeOwner {
  readonly frames: { of(text: string): Uint8Array };
  readonly arrivingSince: number | undefined;
}

export class TcpPipe implements Pipe {
  readonly #socket: Socket<unknown>;
  readonly #owner: PipeOwner;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #isCorked = false;
  /** The network takes no more until `drained`. */
  #isBlocked = false;
  #isEnding = false;
  #isEnded = false;

  constructor(socket: Socket<unknown>, owner: PipeOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  get arrivingSince(): number | undefined {
    return this.#owner.arrivingSince;
  }

  sendText(text: string): number {
    return this.send(this.#owner.frames.of(text));
  }

  /** As `sendText`, of bytes that are no message. */
  send(bytes: Uint8Array): number {
    if (this.#isEnding) return 0;
    if (this.#isCorked || this.#queued > 0) {
      this.#queue.push(bytes);
      this.#queued += bytes.length;
      if (!this.#isCorked) return -1;
      if (this.#queued > CORK_BYTES) this.#flush();
    } else {
      const taken = this.#write(bytes);
      if (taken < bytes.length) {
        this.#queue.push(bytes.subarray(taken));
        this.#queued = bytes.length - taken;
      }
    }
    // What is only gathered does not wait for the network.
    return this.#isBlocked ? -1 : bytes.length;
  }

  getBufferedAmount(): number {
    return this.#queued;
  }

  cork(run: () => void): void {
    this.#isCorked = true;
    try {
      run();
    } finally {
      this.#isCorked = false;
      this.#flush();
    }
  }

  /** The code is the last message: the connection itself has none (PROTOCOL.md §5). */
  close(code: number, reason: string): void {
    this.sendText(JSON.stringify({ type: "close", code, reason }));
    this.end();
  }

  /** Closes the sending side when all has gone out. What comes still is read and dropped, so that nothing resets what was said. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (!this.#isCorked) this.#flush();
  }

  terminate(): void {
    this.#queue = [];
    this.#queued = 0;
    this.#socket.terminate();
  }

  /** The network takes more. */
  drained(): void {
    this.#isBlocked = false;
    this.#flush();
  }

  #write(bytes: Uint8Array): number {
    const taken = Math.max(0, this.#socket.write(bytes));
    this.#isBlocked = taken < bytes.length;
    return taken;
  }

  #flush(): void {
    if (this.#isBlocked) return;
    if (this.#queued > 0) {
      const all = this.#queue.length === 1 ? this.#queue[0]! : Buffer.concat(this.#queue, this.#queued);
      const taken = this.#write(all);
      this.#queue = taken < all.length ? [all.subarray(taken)] : [];
      this.#queued = all.length - taken;
    }
    if (this.#queued > 0 || !this.#isEnding || this.#isEnded || this.#isCorked) return;
    this.#isEnded = true;
    this.#socket.shutdown();
  }
}
