/** Items of the caller: stored while they arrive, a bounded number of them on their way to the store. */
import type { Message } from "@bufbuild/protobuf";
import type { AppendedItems, Exchange } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { notReset } from "../../net/body.ts";

export interface ItemsOptions {
  readonly messages: AsyncIterable<Message>;
  readonly toItem: (message: Message) => unknown;
  /** The number of the first one; without it they go to the end. */
  readonly seq: number | undefined;
  /** Most items that are not stored yet. */
  readonly most: number;
  /** Aborts when the caller has gone: then the end of the messages is not the end of the items. */
  readonly gone: AbortSignal;
}

/**
 * Appends items in their order, and the end after the last. Rejects when an item is refused or the messages break off;
 * then all that came before is stored, and the call waits for the rest.
 */
export function takeItems(exchange: Exchange, options: ItemsOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    // A refusal is told at once, not when the next message comes.
    const queue = new Queue(exchange, options.seq, reject);
    take(queue, options).then(resolve, reject);
  });
}

async function take(queue: Queue, { messages, toItem, most, gone }: ItemsOptions): Promise<void> {
  try {
    for await (const message of messages) {
      queue.add(toItem(message));
      if (queue.size >= most) await queue.drained();
    }
  } finally {
    // Whatever ended it: what has arrived is stored.
    await queue.drained();
  }
  await notReset(gone);
  await queue.end();
}

class Queue {
  readonly #exchange: Exchange;
  #waiting: unknown[] = [];
  #writing: Promise<void> | undefined;
  #busy = 0;
  #seq: number | undefined;
  readonly #onRefused: (thrown: unknown) => void;
  #failed: { readonly thrown: unknown } | undefined;

  constructor(exchange: Exchange, seq: number | undefined, onRefused: (thrown: unknown) => void) {
    this.#exchange = exchange;
    this.#seq = seq;
    this.#onRefused = onRefused;
  }

  get size(): number {
    return this.#waiting.length + this.#busy;
  }

  add(item: unknown): void {
    if (this.#failed) throw this.#failed.thrown;
    this.#waiting.push(item);
    this.#writing ??= this.#write();
  }

  /** Until all of it is stored. @throws Fault of an item that was refused */
  async drained(): Promise<void> {
    while (this.#writing) await this.#writing;
    if (this.#failed) throw this.#failed.thrown;
  }

  async end(): Promise<void> {
    await this.#append([], true);
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const items = this.#waiting;
        this.#waiting = [];
        this.#busy = items.length;
        await this.#batch(items);
      }
    } catch (thrown) {
      this.#failed = { thrown };
      this.#onRefused(thrown);
    } finally {
      this.#busy = 0;
      this.#writing = undefined;
    }
  }

  /** All at once; when one of them is refused, those before it by themselves. */
  async #batch(items: readonly unknown[]): Promise<void> {
    try {
      await this.#append(items, false);
    } catch (thrown) {
      if (items.length === 1 || !(thrown instanceof Fault) || thrown.retryable) throw thrown;
      for (const item of items) await this.#append([item], false);
    }
  }

  async #append(items: readonly unknown[], end: boolean): Promise<AppendedItems> {
    const seq = this.#seq;
    const appended = await this.#exchange.append({
      items,
      ...(seq !== undefined && { seq }),
      ...(end && { end }),
    });
    // Not `next`: of items that were there already it is the number after all of them.
    this.#seq = seq === undefined ? appended.next : seq + items.length;
    return appended;
  }
}
