/** Readings that wait for more: long polling (§5.7) and server-sent events (§5.8). */
import type { Host } from "../contract/index.ts";
import { Fault, PAGE_BYTES, STREAM_PAGE_BYTES } from "../log/index.ts";
import type { HttpServer } from "../net/mount.ts";
import { SAFE } from "./answer.ts";
import type { Asking, Wanted } from "./request.ts";
import type { Chunk, Source } from "./source.ts";
import { type SseOptions, SseStream } from "./sse.ts";

export interface LiveOptions extends SseOptions {
  readonly longPollMs: number;
}

export class Live {
  readonly #host: Host;
  readonly #options: LiveOptions;
  #held = 0;
  #streams = 0;

  constructor(host: Host, options: LiveOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** A page of at most so many bytes is the most that a slow reader holds. */
  get pageBytes(): number {
    return Math.min(PAGE_BYTES, this.#host.limits.sendBufferBytes);
  }

  /** What there is now, as much as one answer takes: what a fork shares and its own come together. */
  async page(source: Source, offset: string): Promise<Chunk> {
    const items: string[] = [];
    let bytes = 0;
    let last: Chunk | undefined;
    for await (const chunk of source.read(offset, { follow: false, signal: undefined, bytes: this.pageBytes })) {
      last = chunk;
      for (const item of chunk.items) {
        items.push(item);
        bytes += item.length;
      }
      if (bytes >= this.pageBytes) break;
    }
    if (!last) throw new Fault("unavailable", "the store gives no page");
    return { ...last, items };
  }

  /**
   * The first chunk with something in it, or the last when nothing came in time, the server drains or the client
   * has gone. @throws Fault `resource_exhausted` when too many wait already
   */
  async longPoll(source: Source, asking: Asking, server: HttpServer, offset: string): Promise<Chunk> {
    const { limits, metrics, draining } = this.#host;
    if (this.#held >= limits.heldPolls) throw tooMany("heldPolls", limits.heldPolls, "requests are held");
    const abort = new AbortController();
    const stop = () => abort.abort();
    const timer = setTimeout(stop, Math.min(this.#options.longPollMs, limits.waitMs));
    const signals = [draining, asking.request.signal];
    for (const signal of signals) {
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    }
    this.#held++;
    metrics.add("backtalk_held_polls", "", 1);
    server.timeout(asking.request, 0);
    try {
      // First without waiting: a signal that has aborted already would leave nothing to answer.
      const first = await this.page(source, offset);
      if (first.items.length > 0 || first.closed || abort.signal.aborted) return first;
      let last = first;
      for await (const chunk of source.read(first.next, {
        follow: true,
        signal: abort.signal,
        bytes: this.pageBytes,
      })) {
        last = chunk;
        if (chunk.items.length > 0 || chunk.closed) break;
      }
      return last;
    } finally {
      this.#held--;
      metrics.add("backtalk_held_polls", "", -1);
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", stop);
      server.timeout(asking.request, this.#options.idleSeconds);
    }
  }

  /** @throws what the reading throws before its first chunk, and Fault `resource_exhausted` */
  async sse(source: Source, asking: Asking, server: HttpServer, wanted: Wanted, ended: () => void): Promise<Response> {
    const { limits } = this.#host;
    if (this.#streams >= limits.connections) throw tooMany("connections", limits.connections, "streams are open");
    const abort = new AbortController();
    const chunks = source
      .read(wanted.offset, { follow: true, signal: abort.signal, bytes: Math.min(STREAM_PAGE_BYTES, this.pageBytes) })
      [Symbol.asyncIterator]();
    const { value: first } = (await chunks.next()) as IteratorYieldResult<Chunk>;
    this.#streams++;
    const stream = new SseStream(
      this.#host,
      this.#options,
      { source, asking, server, wanted, chunks, first, abort },
      () => {
        this.#streams--;
        ended();
      },
    );
    return new Response(new ReadableStream(stream as unknown as UnderlyingDefaultSource), {
      headers: {
        ...SAFE,
        "content-type": "text/event-stream",
        "cache-control": "no-cache, no-store, no-transform",
        "x-accel-buffering": "no",
        ...(source.mode === "bytes" && { "stream-sse-data-encoding": "base64" }),
      },
    });
  }
}

function tooMany(limit: string, most: number, what: string): Fault {
  return new Fault("resource_exhausted", `${most} ${what} already`, {
    limit,
    retryAfterMs: 1000,
    hint: `come back later, or raise the limit ${limit} of the server`,
  });
}
