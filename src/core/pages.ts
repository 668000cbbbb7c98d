/** Readings that are changed on their way to the reader. */
import type { Page } from "../log/index.ts";

/**
 * A reading with each page changed. Not a generator: its `return` would wait for the page that is awaited,
 * which on a quiet log never comes.
 */
export function mapPages(
  pages: AsyncIterable<Page>,
  change: (page: Page) => Page | Promise<Page>,
): AsyncIterable<Page> {
  return { [Symbol.asyncIterator]: () => new MappedPages(pages[Symbol.asyncIterator](), change) };
}

/** A reading that begins when somebody has been asked. */
export function pagesAfter(allowed: () => Promise<void>, pages: () => AsyncIterable<Page>): AsyncIterable<Page> {
  return { [Symbol.asyncIterator]: () => new LatePages(allowed, pages) };
}

type Result = IteratorResult<Page, undefined>;
const DONE: Result = { done: true, value: undefined };

class MappedPages implements AsyncIterator<Page, undefined> {
  readonly #pages: AsyncIterator<Page>;
  readonly #change: (page: Page) => Page | Promise<Page>;

  constructor(pages: AsyncIterator<Page>, change: (page: Page) => Page | Promise<Page>) {
    this.#pages = pages;
    this.#change = change;
  }

  async next(): Promise<Result> {
    const result = await this.#pages.next();
    if (result.done) return DONE;
    try {
      return { done: false, value: await this.#change(result.value) };
    } catch (thrown) {
      // Who is given a fault does not call `return`.
      await this.return();
      throw thrown;
    }
  }

  async return(): Promise<Result> {
    await this.#pages.return?.();
    return DONE;
  }
}

class LatePages implements AsyncIterator<Page, undefined> {
  readonly #allowed: () => Promise<void>;
  readonly #begin: () => AsyncIterable<Page>;
  #pages: AsyncIterator<Page> | undefined;
  #ended = false;

  constructor(allowed: () => Promise<void>, pages: () => AsyncIterable<Page>) {
    this.#allowed = allowed;
    this.#begin = pages;
  }

  async next(): Promise<Result> {
    if (!this.#pages && !this.#ended) {
      try {
        await this.#allowed();
      } catch (thrown) {
        this.#ended = true;
        throw thrown;
      }
      this.#pages = this.#begin()[Symbol.asyncIterator]();
    }
    if (this.#ended) return DONE;
    const result = await this.#pages!.next();
    return result.done ? DONE : result;
  }

  async return(): Promise<Result> {
    this.#ended = true;
    await this.#pages?.return?.();
    return DONE;
  }
}
