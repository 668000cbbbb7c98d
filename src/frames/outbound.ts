/**
 * What goes out on one pipe, and how much of it may wait. Events wait in the store, not here: they go out
 * only while there is room. Answers were asked for, so they wait here, up to a bound; a client that asks and
 * does not read is closed.
 */
import { CLOSE, encodeMessage, type PlainServerMessage } from "../wire/frame.ts";
import type { Hub } from "./hub.ts";
import type { Pipe } from "./pipe.ts";

/** Smaller messages get larger by compressing, or not much smaller. */
const DEFLATE_CHARS = 1024;

export class Outbound {
  readonly #hub: Hub;
  readonly #pipe: Pipe;
  /** Readings that wait for room. */
  #stalled: Set<() => void> | undefined;
  /** Whether the platform keeps bytes that the network has not taken. */
  isFull = false;
  isClosed = false;
  /** The tick of the last message. */
  sentAt: number;

  constructor(hub: Hub, pipe: Pipe) {
    this.#hub = hub;
    this.#pipe = pipe;
    this.sentAt = hub.tick;
  }

  /** Most bytes of answers that wait: the largest answer on top of what events may use. */
  static most({
    bodyBytes,
    sendBufferBytes,
  }: {
    readonly bodyBytes: number;
    readonly sendBufferBytes: number;
  }): number {
    return bodyBytes + sendBufferBytes;
  }

  /** Whether so much waits that no new work is taken. */
  get isBusy(): boolean {
    return this.isFull && this.#pipe.getBufferedAmount() > this.#hub.host.limits.sendBufferBytes;
  }

  message(message: PlainServerMessage): void {
    this.text(encodeMessage(message));
  }

  /** An answer: it is sent whatever waits, and a client that lets too much wait is closed. */
  text(text: string): void {
    if (this.isClosed) return;
    if (
      this.isFull &&
      this.#pipe.getBufferedAmount() + Buffer.byteLength(text) > Outbound.most(this.#hub.host.limits)
    ) {
      this.close(CLOSE.tooSlow, "answers are not read");
      return;
    }
    this.#send(text);
  }

  /** Events: false when there is no room for them now. A single message always has room when nothing waits. */
  offer(text: string): boolean {
    if (this.isClosed) return false;
    if (this.isFull) {
      const buffered = this.#pipe.getBufferedAmount();
      if (buffered > 0 && buffered + Buffer.byteLength(text) > this.#hub.host.limits.sendBufferBytes) return false;
    }
    this.#send(text);
    return true;
  }

  /** Several messages in as few packets as may be. */
  cork(run: () => void): void {
    if (this.isClosed) return;
    this.#pipe.cork(run);
    if (this.#pipe.getBufferedAmount() > 0) this.isFull = true;
  }

  /** The tick at which the message that is now arriving began. */
  get arrivingSince(): number | undefined {
    return this.#pipe.arrivingSince;
  }

  /** Calls when there is room again. */
  whenRoom(run: () => void): void {
    this.#stalled ??= new Set();
    this.#stalled.add(run);
  }

  forget(run: () => void): void {
    this.#stalled?.delete(run);
  }

  drained(): void {
    this.isFull = this.#pipe.getBufferedAmount() > 0;
    if (this.isFull || !this.#stalled) return;
    const stalled = this.#stalled;
    this.#stalled = undefined;
    for (const run of stalled) run();
  }

  close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#pipe.close(code, reason);
    // A close that waits behind bytes that nobody takes would never come through.
    if (code === CLOSE.tooSlow) this.#pipe.terminate();
  }

  #send(text: string): void {
    this.sentAt = this.#hub.tick;
    const status =
      this.#hub.isDeflating && text.length > DEFLATE_CHARS
        ? this.#pipe.sendText(text, true)
        : this.#pipe.sendText(text);
    // -1: taken, and some of it waits (bun-types, `ServerWebSocketSendStatus`).
    if (status === -1) this.isFull = true;
  }
}
