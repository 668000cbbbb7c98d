/** Text messages in a stream of bytes: each has its length before it, four bytes in network order (PROTOCOL.md §5). */

/** What both sides begin with. */
export const PREFACE = "backtalk.v1\n";

const PREFIX = 4;
/** Room that the first bytes of a message get: a length is a claim until its bytes are there. */
const LEAST_ROOM = 4096;

export function encodeFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(PREFIX + length);
  frame.writeUInt32BE(length);
  frame.write(text, PREFIX);
  return frame;
}

/** Why nothing more can be read; the bytes after it are not looked at. */
export type FrameError =
  /** The length says more than is taken. */
  | { readonly error: "tooLarge"; readonly length: number }
  /** Not UTF-8. */
  | { readonly error: "notText" };

/**
 * Puts messages together from pieces of any size. What it holds of an unfinished message is at most twice what
 * has come of it.
 */
export class FrameReader {
  readonly #most: number;
  // A byte order mark is not JSON, and is not to be lost silently.
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** The bytes of an unfinished message, its length among them. */
  #held = new Uint8Array(0);
  #size = 0;
  #error: FrameError | undefined;

  /** @param most bytes of one message */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether a message has begun and is not whole. */
  get isInside(): boolean {
    return this.#size > 0;
  }

  /** Gives each message that is whole to `take`, in order. The piece is not kept. */
  push(piece: Uint8Array, take: (text: string) => void): FrameError | undefined {
    let rest = piece;
    while (rest.length > 0 && !this.#error) {
      if (this.#size === 0) {
        // Most messages come whole: they are read where they are.
        const length = lengthOf(rest, rest.length);
        if (length !== undefined && length <= this.#most && rest.length >= PREFIX + length) {
          this.#give(rest.subarray(PREFIX, PREFIX + length), take);
          rest = rest.subarray(PREFIX + length);
          continue;
        }
      }
      rest = this.#hold(rest);
      const length = lengthOf(this.#held, this.#size);
      if (length === undefined) continue;
      if (length > this.#most) this.#error = { error: "tooLarge", length };
      else if (this.#size === PREFIX + length) {
        this.#size = 0;
        const { buffer } = this.#held;
        this.#give(new Uint8Array(buffer, PREFIX, length), take);
        // A large message leaves nothing behind.
        if (this.#size === 0 && buffer.byteLength > LEAST_ROOM) this.#held = new Uint8Array(0);
      }
    }
    return this.#error;
  }

  /** Takes what the length or the message still needs, and gives back the rest. */
  #hold(rest: Uint8Array): Uint8Array {
    const length = lengthOf(this.#held, this.#size);
    const whole = length === undefined ? PREFIX : PREFIX + length;
    const taken = rest.subarray(0, whole - this.#size);
    const needed = this.#size + taken.length;
    if (needed > this.#held.length) {
      const larger = new Uint8Array(Math.min(Math.max(needed * 2, LEAST_ROOM), Math.max(whole, LEAST_ROOM)));
      larger.set(this.#held.subarray(0, this.#size));
      this.#held = larger;
    }
    this.#held.set(taken, this.#size);
    this.#size = needed;
    return rest.subarray(taken.length);
  }

  #give(bytes: Uint8Array, take: (text: string) => void): void {
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      this.#error = { error: "notText" };
      return;
    }
    take(text);
  }
}

function lengthOf(bytes: Uint8Array, size: number): number | undefined {
  if (size < PREFIX) return undefined;
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
}
