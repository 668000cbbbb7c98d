/** Items of a client stream: appended one message after the other, acknowledged when they are stored. */
import type { Exchange, Limits } from "../contract/index.ts";
import { Fault, toFault } from "../log/index.ts";
import type { ItemsMessage } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";
import type { ServedExchange } from "./exchange.ts";

export class Items {
  readonly #connection: Connection;
  readonly #exchange: Exchange | Promise<Exchange>;
  #tail: Promise<void> = Promise.resolve();
  #count = 0;
  /** Messages that wait. */
  size = 0;

  constructor(connection: Connection, exchange: Exchange | Promise<Exchange>) {
    this.#connection = connection;
    this.#exchange = exchange;
    // Heard where it is awaited; when all that waited is over nobody does.
    if (exchange instanceof Promise) exchange.catch(() => {});
  }

  /** The acknowledgements are the caller's credit (PROTOCOL.md §3.3). */
  static check({ itemsInFlight }: Limits, waiting: number, more: number): Fault | undefined {
    if (waiting + more <= itemsInFlight) return undefined;
    return new Fault("resource_exhausted", `more than ${itemsInFlight} items are not acknowledged yet`, {
      limit: "itemsInFlight",
      hint: "wait for `ack` before sending more",
    });
  }

  /** `owner` is answered: with `ack`, which ends it when the message names a call. */
  add(message: ItemsMessage, owner: ServedExchange): void {
    const fault = Items.check(this.#connection.hub.host.limits, this.#count, message.items.length);
    if (fault) {
      owner.fail(fault);
      return;
    }
    this.#count += message.items.length;
    this.size++;
    this.#tail = this.#tail.then(() => this.#append(message, owner));
  }

  async #append({ items, seq, end, call }: ItemsMessage, owner: ServedExchange): Promise<void> {
    try {
      // After a fault the later ones would leave a hole.
      if (owner.isOver) return;
      const exchange = await this.#exchange;
      const given = { items, ...(seq !== undefined && { seq }), ...(end !== undefined && { end }) };
      const { next, cursor } = await exchange.append(given);
      if (call === undefined) owner.ack(next, cursor);
      else owner.acked(next, cursor);
    } catch (thrown) {
      owner.fail(toFault(thrown));
    } finally {
      this.#count -= items.length;
      this.size--;
    }
  }
}
