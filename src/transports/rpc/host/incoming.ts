/** The body of a request of the HTTP listeners, and what becomes of the rest when nobody wants it. */
import { RequestBody } from "./body.ts";

export class Incoming {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #announced: number | undefined;
  #read = 0;
  #isWhole: boolean;

  constructor(request: Request) {
    const length = request.headers.get("content-length");
    this.#announced = length === null ? undefined : Number(length);
    this.#reader = request.body?.getReader();
    this.#isWhole = this.#reader === undefined;
  }

  /** The end of the iteration leaves the rest where it is. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    while (!this.#isWhole) {
      const { done, value } = await this.#reader!.read();
      if (done) this.#isWhole = true;
      else {
        this.#read += value.length;
        yield value;
      }
    }
  }

  /**
   * Reads a short rest and throws it away, before an answer that did not need it: over HTTP/1.1 clients that are
   * still writing lose the answer when the connection closes (seen with Go's), and over HTTP/2 when Bun resets the
   * stream (seen with curl 7.88). Gives whether the body has come to its end; a long one is not worth the wait, nor
   * is one whose sender waits for the answer itself.
   */
  async discard(): Promise<boolean> {
    if (this.#isWhole) return true;
    if (this.#announced !== undefined && this.#announced - this.#read > DISCARDED) return false;
    const most = this.#read + DISCARDED;
    try {
      for await (const _ of new RequestBody(this.chunks(), DISCARDING)) if (this.#read > most) break;
    } catch {
      // It broke off, or does not come.
    }
    return this.#isWhole;
  }

  /** Nobody wants the rest. */
  cancel(): void {
    if (!this.#isWhole) this.#reader?.cancel().catch(() => {});
  }
}

const DISCARDED = 256 * 1024;
const DISCARDING = { isEnveloped: false, isOne: true, maxBytes: DISCARDED, withinMs: 500 };
