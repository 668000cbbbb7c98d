/**
 * Events of one log for one exchange, as many as there is credit for. Nothing is asked of the store without
 * credit or while the socket is full, so a reader that does not read costs this object and no event.
 *
 * There is one for each subscriber, and one event can go to thousands: no closure, no promise of its own.
 */
import type { Exchange } from "../contract/index.ts";
import { PAGE_BYTES, PAGE_EVENTS, type Page, type Place } from "../log/index.ts";
import { encodeEvents, encodeEventsTail } from "../wire/frame.ts";
import type { ServedExchange } from "./exchange.ts";
import type { Hub } from "./hub.ts";
import type { Outbound } from "./outbound.ts";

const MOST_CREDIT = 2 ** 31 - 1;

export class Reading {
  readonly #owner: ServedExchange;
  // Held here too: each object on the way to an event's thousands of readers is a miss in the cache.
  readonly #out: Outbound;
  readonly #hub: Hub;
  readonly #id: number;
  #isOver = false;
  readonly #exchange: Exchange;
  readonly #follow: boolean;
  #place: Place;
  #credit: number;
  #pages: AsyncIterator<Page> | undefined;
  #isRunning = false;
  /** Whether the reader was told its first verdict. */
  #isJudged = false;
  /** Waits for room on the socket; made only when it comes to that. */
  #wake: (() => void) | undefined;

  constructor(owner: ServedExchange, exchange: Exchange, from: Place, credit: number, follow: boolean) {
    this.#owner = owner;
    this.#out = owner.connection.out;
    this.#hub = owner.connection.hub;
    this.#id = owner.id;
    this.#exchange = exchange;
    this.#place = from;
    this.#credit = credit;
    this.#follow = follow;
    this.#hub.following(1);
  }

  /** Reading after it gives what was not sent. */
  get cursor(): string | undefined {
    return this.#place === "start" || this.#place === "now" ? undefined : this.#place;
  }

  add(credit: number): void {
    this.#credit = Math.min(this.#credit + credit, MOST_CREDIT);
    this.pump();
  }

  pump(): void {
    if (!this.#isRunning && this.#hasRoom()) void this.#run();
  }

  /** After the exchange is over. */
  dispose(): void {
    this.#isOver = true;
    this.#hub.following(-1);
    if (this.#wake) this.#out.forget(this.#wake);
    if (!this.#isRunning) this.#restart();
  }

  #hasRoom(): boolean {
    const out = this.#out;
    return this.#credit > 0 && !this.#isOver && !out.isFull && !out.isClosed;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      while (this.#hasRoom()) {
        this.#pages ??= this.#begin();
        const { done, value } = await this.#pages.next();
        if (this.#isOver) break;
        // Only a signal ends a reading before its log: this one is nobody's any more.
        if (done) this.#owner.done(this.cursor, {});
        else this.#page(value);
      }
    } catch (thrown) {
      this.#owner.fail(thrown);
    } finally {
      this.#isRunning = false;
      if (this.#isOver) this.#restart();
      else if (this.#out.isFull) this.#waitForRoom();
    }
  }

  #begin(): AsyncIterator<Page> {
    const { limits } = this.#hub.host;
    const half = Math.ceil(this.#credit / 2);
    // Clients give credit again when they have used half of it: pages of that size are never cut in two.
    const pageEvents = Math.min(PAGE_EVENTS, this.#follow ? half : this.#credit);
    // With room for what is around the data of an event.
    const pageBytes = Math.min(PAGE_BYTES, Math.ceil(limits.sendBufferBytes / 2));
    const at = { from: this.#place, follow: this.#follow, signal: this.#owner.signal, pageEvents, pageBytes };
    return this.#exchange.read(at)[Symbol.asyncIterator]();
  }

  #page(page: Page): void {
    const id = this.#id;
    const { verdict } = page;
    const isTold = verdict !== undefined && (!this.#isJudged || verdict.verdict !== "recovered");
    // A credit for each event: what there is none for is read again when there is.
    const events = page.events.length > this.#credit ? page.events.slice(0, this.#credit) : page.events;
    const isWhole = events === page.events;
    const cursor = isWhole ? page.cursor : events.at(-1)!.cursor;
    if (isTold || events.length > 0) {
      const isShared = isWhole && !isTold;
      const text = isShared
        ? this.#hub.encode(id, page)
        : encodeEvents(id, encodeEventsTail(events, cursor), isTold ? verdict : undefined);
      if (!this.#out.offer(text)) {
        this.#restart();
        return;
      }
      if (isTold) this.#hub.resumed(verdict.verdict);
      this.#isJudged = true;
      this.#hub.sent(events.length);
      this.#credit -= events.length;
    }
    this.#place = cursor;
    if (!isWhole) this.#restart();
    if (!this.#follow) this.#owner.done(cursor, { ended: isWhole && page.ended, more: page.more || !isWhole });
    else if (isWhole && page.ended) this.#owner.done(cursor, page);
  }

  /** Drops what was read and not sent: it is read again from its place. */
  #restart(): void {
    const pages = this.#pages;
    this.#pages = undefined;
    pages?.return?.()?.then(undefined, () => {});
  }

  #waitForRoom(): void {
    this.#wake ??= () => this.pump();
    this.#out.whenRoom(this.#wake);
  }
}
