/** One exchange of a socket: from the message that begins it to its `result`, `fault` or `done`. */
import type { Call, Exchange } from "../contract/index.ts";
import { Fault, type Place, toFault } from "../log/index.ts";
import type { ItemsMessage } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";
import { Items } from "./items.ts";
import { Reading } from "./reading.ts";

/** What the caller wants of a call or topic: events, with credit, or else its result. */
export interface Wants {
  readonly credit: number | undefined;
  readonly after: Place;
  readonly follow: boolean;
  /** Whether the caller waits for the id of the call. */
  readonly isNew: boolean;
}

export class ServedExchange {
  readonly connection: Connection;
  readonly id: number;
  isOver = false;
  /** Whether the server's going has to wait for it: nobody could ask for its answer again. */
  isFinal = true;
  /** A state that is held until something is new: answered when the server goes. */
  isHeld = false;
  #exchange: Exchange | undefined;
  #reading: Reading | undefined;
  #items: Items | undefined;
  #controller: AbortController | undefined;
  /** What came before the call was open. */
  #early: { credit: number; isCancelled: boolean; readonly items: ItemsMessage[] } | undefined;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.id = id;
  }

  /** Aborts when the exchange is over, or its socket closed. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.isOver) this.#controller.abort();
    return this.#controller.signal;
  }

  /** A call, or a topic or call to read. */
  open(call: Call, wants: Wants): void {
    this.use(call, (exchange) => this.#opened(exchange, wants));
  }

  /** Gets the exchange of the peer and does one thing with it; what that throws is the fault of this exchange. */
  use(call: Call, then: (exchange: Exchange) => unknown): void {
    try {
      const opened = this.connection.hub.peer(call);
      const settled = opened instanceof Promise ? opened.then(then) : then(opened);
      if (settled instanceof Promise) settled.catch((thrown) => this.fail(thrown));
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  // --- messages of the client ---

  credit(n: number): void {
    if (this.#reading) this.#reading.add(n);
    else if (!this.#exchange) this.#waiting().credit += n;
  }

  items(message: ItemsMessage): void {
    if (!this.#exchange) {
      // Bounded like those on their way to the store, and for the same reason.
      const waiting = this.#waiting().items;
      const count = waiting.reduce((sum, { items }) => sum + items.length, 0);
      const fault = Items.check(this.connection.hub.host.limits, count, message.items.length);
      if (fault) this.fail(fault);
      else waiting.push(message);
      return;
    }
    this.#items ??= new Items(this.connection, this.#exchange);
    this.#items.add(message, this);
  }

  cancel(): void {
    if (!this.#exchange) this.#waiting().isCancelled = true;
    else this.#exchange.cancel().catch((thrown) => this.fail(thrown));
  }

  /** The caller stops reading. A call that it cannot come back to is of no use any more. */
  leave(): void {
    if (this.#exchange?.id === undefined) this.#exchange?.cancel().catch(() => {});
    this.done(this.#reading?.cursor, {});
  }

  // --- its end ---

  result(data: unknown): void {
    if (this.isOver) return;
    let text: string;
    try {
      text = JSON.stringify({ type: "result", id: this.id, data });
    } catch (cause) {
      this.fail(new Fault("internal", "the result cannot be written as JSON", { cause }));
      return;
    }
    // First the answer: a socket that goes closes with its last exchange.
    this.connection.out.text(text);
    this.#over();
  }

  fail(thrown: unknown): void {
    if (this.isOver) return;
    this.connection.out.message({ type: "fault", id: this.id, fault: toFault(thrown).toJSON() });
    this.#over();
  }

  done(cursor: string | undefined, { ended, more }: { readonly ended?: boolean; readonly more?: boolean }): void {
    if (this.isOver) return;
    const rest = { ...(cursor !== undefined && { cursor }), ...(ended && { ended }), ...(more && { more }) };
    this.connection.out.message({ type: "done", id: this.id, ...rest });
    this.#over();
  }

  ack(next: number, cursor: string): void {
    if (!this.isOver) this.connection.out.message({ type: "ack", id: this.id, next, cursor });
  }

  /** Of items that are an exchange of their own. */
  acked(next: number, cursor: string): void {
    this.ack(next, cursor);
    this.#over();
  }

  /** The server goes. */
  drain(): void {
    // The wait for something new is over; the state is answered as it is.
    if (this.isHeld) this.#controller?.abort();
  }

  /** The socket has closed. */
  dispose(): void {
    this.#over();
  }

  #opened(exchange: Exchange, { credit, after, follow, isNew }: Wants): void {
    this.#exchange = exchange;
    const { id } = exchange;
    if (this.isOver) {
      if (id === undefined) exchange.cancel().catch(() => {});
      return;
    }
    if (isNew && id !== undefined) {
      const replayed = exchange.replayed ? { replayed: true } : {};
      this.connection.out.message({ type: "opened", id: this.id, call: id, ...replayed });
    }
    const early = this.#early;
    this.#early = undefined;
    this.isFinal = id === undefined;
    if (credit === undefined) this.#awaitResult(exchange, isNew);
    else {
      this.#reading = new Reading(this, exchange, after, credit + (early?.credit ?? 0), follow);
      this.#reading.pump();
    }
    for (const message of early?.items ?? []) this.items(message);
    if (early?.isCancelled && !this.isOver) this.cancel();
  }

  #awaitResult(exchange: Exchange, isNew: boolean): void {
    // The first to wait hears of the end from the handler; whoever comes later leaves nothing behind when going.
    const value = isNew ? exchange.result() : exchange.result(this.signal);
    if (!(value instanceof Promise)) this.result(value);
    else
      value.then(
        (result) => this.result(result),
        (thrown) => this.fail(thrown),
      );
  }

  #over(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.connection.closed(this);
    this.#controller?.abort();
    this.#reading?.dispose();
    this.#early = undefined;
  }

  #waiting() {
    this.#early ??= { credit: 0, isCancelled: false, items: [] };
    return this.#early;
  }
}
