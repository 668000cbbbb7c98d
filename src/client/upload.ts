/**
 * Sends the items of a client stream in numbered batches: one on its way while the next is collected. What a
 * break leaves in doubt is sent again with its number, and the server skips what it has.
 */
import type { CallState } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import type { Session } from "./session.ts";

/** A batch is full with so many items (the server's window), or so many characters of JSON. */
export const BATCH = { items: 64, chars: 1024 * 1024 } as const;

/** Resolves when all are stored, or the call has ended before. @throws what the source throws, or Fault */
export async function upload(session: Session, source: AsyncIterable<unknown>): Promise<void> {
  const { signal } = session.scope;
  const queue = new Queue();
  const iterator = source[Symbol.asyncIterator]();
  const filling = fill(queue, iterator);
  // Heard again below; here only so that nobody calls it unhandled.
  filling.catch(() => {});
  const stop = (): void => queue.close();
  signal.addEventListener("abort", stop);
  try {
    for (let seq = 0, end = false; !end; ) {
      await queue.filled();
      if (signal.aborted) return;
      const items = queue.take();
      end = queue.isDone;
      if (end) await filling;
      const { next } = await session.use((exchange) => exchange.append({ items, seq, end }));
      seq += items.length;
      if (next < seq) throw new Fault("data_loss", "the server has lost items that it had acknowledged");
    }
  } catch (thrown) {
    // A handler may end before it has read all: then the call's end says more than what became of the items.
    const isFault = thrown instanceof Fault;
    const state = isFault && !signal.aborted ? await session.state().catch(() => undefined) : undefined;
    if (!hasEnded(state)) throw thrown;
  } finally {
    signal.removeEventListener("abort", stop);
    queue.close();
    // Not awaited: a source that waits for something would hold this back.
    iterator.return?.()?.catch(() => {});
  }
}

async function fill(queue: Queue, iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    while (!queue.isClosed) {
      const { done, value } = await iterator.next();
      if (done) return;
      await queue.put(value);
    }
  } finally {
    queue.done();
  }
}

function hasEnded(state: CallState | undefined): boolean {
  return state !== undefined && state.state !== "running";
}

/** A bounded queue of one writer and one reader. */
class Queue {
  isClosed = false;
  #isSourceDone = false;
  #items: unknown[] = [];
  #chars: number[] = [];
  #total = 0;
  #onFilled: (() => void) | undefined;
  #onRoom: (() => void) | undefined;

  /** Whether nothing is left, and nothing comes. */
  get isDone(): boolean {
    return this.#isSourceDone && this.#items.length === 0;
  }

  /** Resolves when there is room for more. */
  async put(item: unknown): Promise<void> {
    const chars = JSON.stringify(item)?.length ?? 0;
    this.#items.push(item);
    this.#chars.push(chars);
    this.#total += chars;
    this.#onFilled?.();
    while (!this.isClosed && (this.#items.length >= BATCH.items || this.#total >= BATCH.chars)) {
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
    }
  }

  async filled(): Promise<void> {
    while (this.#items.length === 0 && !this.#isSourceDone && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#onFilled = resolve;
      });
    }
  }

  /** A batch: at least one item when there is any. */
  take(): unknown[] {
    let count = 0;
    for (let chars = 0; count < Math.min(BATCH.items, this.#items.length); count++) {
      chars += this.#chars[count]!;
      if (count > 0 && chars > BATCH.chars) break;
    }
    for (const chars of this.#chars.splice(0, count)) this.#total -= chars;
    const items = this.#items.splice(0, count);
    this.#onRoom?.();
    return items;
  }

  done(): void {
    this.#isSourceDone = true;
    this.#onFilled?.();
  }

  close(): void {
    this.isClosed = true;
    this.#onFilled?.();
    this.#onRoom?.();
  }
}
