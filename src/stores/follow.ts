/**
 * Following a log, the same for every store that knows of its own commits: a follower that has read all
 * waits and is handed each commit as one page shared with every other such follower; a follower that is
 * busy meanwhile reads from the store when it comes back. So a slow reader holds no events in memory, and
 * nothing falls between the read of the history and the live tail: the place is checked at each step.
 *
 * A store may tell of a commit later than its events can be read (a commit in another thread): a follower
 * that has read them already sees by the cursor that it is past them.
 */
import type { Cursor, Page, ReadAt } from "../log/index.ts";
import { Fault, PAGE_BYTES, PAGE_EVENTS } from "../log/index.ts";
import { jsonBytes, storeClosed } from "./judge.ts";

/** Reads one page after a place, synchronously or not. @throws Fault `not_found` for an unknown log. */
export type ReadPage = (log: string, at: ReadAt) => Page | Promise<Page>;

export class Followers {
  readonly #following = new Map<string, Set<Follower>>();
  readonly #readPage: ReadPage;
  /** The newest page read: thousands that resume at one place, or are woken together, cost one read. */
  #newest: { readonly log: string; readonly at: ReadAt; readonly page: Page } | undefined;
  #size = 0;

  constructor(readPage: ReadPage) {
    this.#readPage = readPage;
  }

  /** How many readings go on: a leak would show here. */
  get size(): number {
    return this.#size;
  }

  /** Whether anybody follows the log; if not, a commit needs only `changed`. */
  has(log: string): boolean {
    return this.#following.has(log);
  }

  /** The reading of `Store.read`. Call `next` of its iterator only after the one before has settled. */
  read(log: string, at: ReadAt): AsyncIterable<Page> {
    return { [Symbol.asyncIterator]: () => new Follower(this, log, at) };
  }

  /** After a commit: `before` is the head that it was appended to. */
  committed(log: string, before: Cursor, page: Page): void {
    this.changed(log);
    const following = this.#following.get(log);
    if (!following) return;
    let bytes = 0;
    for (const event of page.events) bytes += jsonBytes(event.json);
    const result: IteratorYieldResult<Page> = { done: false, value: page };
    for (const follower of following) follower.committed(before, result, bytes);
  }

  /** After the log was removed: whoever follows it is told. */
  removed(log: string): void {
    this.changed(log);
    for (const follower of this.#following.get(log) ?? []) follower.wake();
  }

  /** After any change of the log: pages read before it are not given again. */
  changed(log: string): void {
    if (this.#newest?.log === log) this.#newest = undefined;
  }

  /** Ends every reading with a fault, when the store closes. */
  close(fault: Fault = storeClosed()): void {
    this.#newest = undefined;
    for (const following of this.#following.values()) for (const follower of following) follower.fail(fault);
  }

  /** For the followers: a page of the store, or the newest one again. */
  page(log: string, at: ReadAt): Page | Promise<Page> {
    const newest = this.#newest;
    if (newest?.log === log && isSameRead(newest.at, at)) return newest.page;
    const page = this.#readPage(log, at);
    // A page that comes later may be older than the newest change.
    if (!(page instanceof Promise)) this.#newest = { log, at, page };
    return page;
  }

  add(log: string, follower: Follower): void {
    const following = this.#following.get(log);
    if (following) following.add(follower);
    else this.#following.set(log, new Set([follower]));
    this.#size++;
  }

  delete(log: string, follower: Follower): void {
    const following = this.#following.get(log);
    if (!following?.delete(follower)) return;
    this.#size--;
    if (following.size === 0) this.#following.delete(log);
  }
}

type Result = IteratorResult<Page, undefined>;
const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Kept small, because there is one for each idle client: the object listens to its signal itself. */
class Follower implements AsyncIterator<Page, undefined> {
  readonly #followers: Followers;
  readonly #log: string;
  readonly #at: ReadAt;
  #place: ReadAt["from"];
  #state: "new" | "open" | "ended" = "new";
  /** Whether the store may have more than was handed over. */
  #behind = true;
  #reading = false;
  /** Of the call of `next` that waits. */
  #resolve: ((result: Result) => void) | undefined;
  #reject: ((fault: unknown) => void) | undefined;
  /** Why the reading ended while nobody waited. */
  #fault: unknown;

  constructor(followers: Followers, log: string, at: ReadAt) {
    this.#followers = followers;
    this.#log = log;
    this.#at = at;
    this.#place = at.from;
  }

  next(): Promise<Result> {
    if (this.#at.signal?.aborted) this.#finish();
    if (this.#state === "ended") return this.#afterEnd();
    if (this.#resolve) return Promise.reject(new Fault("failed_precondition", "the page before is still awaited"));
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.#behind && !this.#reading) void this.#read();
    });
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#finish();
    return DONE;
  }

  committed(before: Cursor, result: IteratorYieldResult<Page>, bytes: number): void {
    const page = result.value;
    const place = this.#place;
    if (place !== before || this.#reading || !this.#resolve) {
      if (!isPast(place, page.cursor)) this.wake();
    } else if (isWithin(page, bytes, this.#at)) this.#hand(result);
    else this.wake();
  }

  /** Looks into the store again. */
  wake(): void {
    this.#behind = true;
    if (this.#resolve && !this.#reading) void this.#read();
  }

  fail(fault: unknown): void {
    this.#fault = fault;
    this.#finish();
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.#finish();
  }

  /** Reads for the call of `next` that waits, and leaves it waiting when there is nothing new. */
  async #read(): Promise<void> {
    const isFirst = this.#state === "new";
    this.#reading = true;
    if (isFirst) this.#begin();
    try {
      while (this.#behind && this.#resolve) {
        // Cleared before the read: a commit during it sets it again.
        this.#behind = false;
        const page = await this.#followers.page(this.#log, { ...this.#at, from: this.#place });
        if (!this.#resolve) break;
        if (this.#at.signal?.aborted) this.#finish();
        else if (isFirst || page.verdict?.verdict !== "recovered") this.#handRead(page);
        else if (page.events.length > 0 || page.ended) this.#handRead(withoutVerdict(page));
      }
    } catch (thrown) {
      this.fail(thrown);
    } finally {
      this.#reading = false;
    }
  }

  #begin(): void {
    this.#state = "open";
    if (!this.#at.follow) return;
    this.#followers.add(this.#log, this);
    this.#at.signal?.addEventListener("abort", this, { once: true });
  }

  #handRead(page: Page): void {
    if (page.more) this.#behind = true;
    this.#hand({ done: false, value: page });
  }

  #hand(result: IteratorYieldResult<Page>): void {
    const resolve = this.#resolve;
    this.#resolve = this.#reject = undefined;
    this.#place = result.value.cursor;
    if (!this.#at.follow || result.value.ended) this.#finish();
    resolve?.(result);
  }

  #finish(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#followers.delete(this.#log, this);
    if (this.#at.follow) this.#at.signal?.removeEventListener("abort", this);
    const resolve = this.#resolve;
    const reject = this.#reject;
    this.#resolve = this.#reject = undefined;
    if (resolve) this.#afterEnd().then(resolve, reject);
  }

  #afterEnd(): Promise<Result> {
    const fault = this.#fault;
    this.#fault = undefined;
    return fault === undefined ? Promise.resolve(DONE) : Promise.reject(fault);
  }
}

function withoutVerdict(page: Page): Page {
  return { events: page.events, cursor: page.cursor, more: page.more, ended: page.ended };
}

/** Whether a place is at the cursor or after it; cursors of one epoch sort as text. */
function isPast(place: ReadAt["from"], cursor: Cursor): boolean {
  return place >= cursor && place.startsWith(cursor.slice(0, cursor.indexOf("-") + 1));
}

function isWithin(page: Page, bytes: number, at: ReadAt): boolean {
  const count = page.events.length;
  return count === 1 || (count <= (at.pageEvents ?? PAGE_EVENTS) && bytes <= (at.pageBytes ?? PAGE_BYTES));
}

function isSameRead(a: ReadAt, b: ReadAt): boolean {
  return a.from === b.from && a.pageEvents === b.pageEvents && a.pageBytes === b.pageBytes;
}
