/**
 * One unending response, SSE or NDJSON. It pulls: a page is asked for when the connection has taken the one
 * before, so a slow reader holds one page, and the rest stays in the store.
 *
 * A "direct" stream of Bun writes into the socket without a queue in between. Tried on 1.4.5: `write`
 * or `flush` gives a promise while the socket is full, and `cancel` comes when the reader has gone, over HTTP/1.1 and 2.
 */
import type { Host } from "../../contract/index.ts";
import { Fault, type Page, toFault } from "../../log/index.ts";
import type { Ask } from "./ask.ts";
import { type Format, PageCache } from "./encode.ts";
import { type Beat, Wheel } from "./heartbeat.ts";

interface Sink {
  write(data: Uint8Array | string): unknown;
  flush(): unknown;
  end(): unknown;
}

/** The streams of one server: what they share, and how many they are. */
export class Streams {
  readonly host: Host;
  readonly cache = new PageCache();
  readonly wheel: Wheel;
  readonly idleSeconds: number;
  readonly #open = new Set<EventStream>();
  /** Events sent in this step of the event loop, all under one label. */
  #sent = 0;
  #label = "";

  constructor(host: Host, idleSeconds: number) {
    this.host = host;
    this.idleSeconds = idleSeconds;
    const { commentMs, rotateMs } = host.timing;
    this.wheel = new Wheel(Math.min(1000, Math.max(10, Math.min(commentMs, rotateMs) / 8)), host.now);
    host.draining.addEventListener("abort", () => {
      for (const stream of this.#open) stream.drain();
    });
  }

  /** @throws Fault `resource_exhausted` when there are too many */
  check(): void {
    const { connections } = this.host.limits;
    if (this.#open.size < connections) return;
    throw new Fault("resource_exhausted", `${connections} streams are open already`, {
      limit: "connections",
      retryAfterMs: 1000 + this.host.random() * this.host.timing.spreadMs,
      hint: "poll, come back later, or raise the limit connections of the server",
    });
  }

  /** Counts events; told to the metrics once for all deliveries of one step of the event loop. */
  sent(label: string, events: number): void {
    if (this.#label !== label) {
      this.#tell();
      this.#label = label;
      setImmediate(() => this.#tell());
    }
    this.#sent += events;
  }

  #tell(): void {
    if (this.#sent > 0) this.host.metrics.add("backtalk_events_sent_total", this.#label, this.#sent);
    this.#sent = 0;
    this.#label = "";
  }

  add(stream: EventStream): void {
    this.#open.add(stream);
    this.host.metrics.add("backtalk_connections", stream.label, 1);
  }

  delete(stream: EventStream): void {
    if (this.#open.delete(stream)) this.host.metrics.add("backtalk_connections", stream.label, -1);
  }
}

export interface Reading {
  readonly pages: AsyncIterator<Page>;
  readonly first: Page;
  /** Ends the reading. */
  readonly abort: AbortController;
}

export class EventStream implements Beat {
  readonly type = "direct";
  slot: Set<Beat> | undefined = undefined;
  readonly #streams: Streams;
  readonly #ask: Ask;
  readonly #format: Format;
  readonly #pages: AsyncIterator<Page>;
  readonly #abort: AbortController;
  /** When the response is ended, and why. */
  readonly #until: number;
  readonly #reason: "rotate" | "expired";
  #first: Page | undefined;
  #sink: Sink | undefined;
  #writtenAt: number;
  #isFull = false;
  #isOver = false;

  constructor(streams: Streams, ask: Ask, format: Format, reading: Reading) {
    const { timing, now, random } = streams.host;
    this.#streams = streams;
    this.#ask = ask;
    this.#format = format;
    this.#pages = reading.pages;
    this.#first = reading.first;
    this.#abort = reading.abort;
    const at = now();
    this.#writtenAt = at;
    // A fifth less at random: readers that came together do not leave together.
    const rotate = at + timing.rotateMs * (1 - random() / 5);
    const expires = ask.principal.expiresAt ?? Number.POSITIVE_INFINITY;
    this.#until = Math.min(rotate, expires);
    this.#reason = expires < rotate ? "expired" : "rotate";
    streams.add(this);
    streams.wheel.add(this, this.#nextLook());
    ask.server.timeout(ask.request, 0);
  }

  get label(): string {
    return this.#format.label;
  }

  // --- called by the platform ---

  pull(sink: Sink): void {
    if (this.#isOver) {
      sink.end();
      return;
    }
    this.#sink = sink;
    const first = this.#first!;
    this.#first = undefined;
    sink.write(this.#format.preamble(this.#streams.host.timing.retryMs));
    this.#page(first);
    if (this.#streams.host.draining.aborted) this.drain();
  }

  /** The reader has gone. */
  cancel(): void {
    this.#sink = undefined;
    this.#finish();
  }

  // --- called by the wheel and by the server ---

  due(now: number): number | undefined {
    if (this.#isOver) return undefined;
    if (this.#first) {
      // The platform never asked for the stream: the reader had gone before.
      this.#finish();
      return undefined;
    }
    if (now >= this.#until) {
      this.close(this.#reason, 0);
      return undefined;
    }
    // A full socket needs no sign of life, and must not be filled further.
    if (!this.#isFull && now - this.#writtenAt >= this.#streams.host.timing.commentMs)
      this.#write(this.#format.heartbeat);
    return this.#nextLook();
  }

  drain(): void {
    const { random, timing } = this.#streams.host;
    this.close("drain", Math.round(random() * timing.spreadMs));
  }

  /** Tells the reader to come back, and ends the response. The log goes on. */
  close(reason: string, retryAfterMs: number, fault?: Fault): void {
    if (this.#isOver || !this.#sink) return;
    this.#sink.write(this.#format.close({ reason, retryAfterMs, ...(fault && { fault: fault.toJSON() }) }));
    this.#end();
  }

  // --- reading ---

  #step(): void {
    if (this.#isOver) return;
    this.#pages.next().then(this.#onPage, this.#onFault);
  }

  readonly #onPage = (result: IteratorResult<Page>): void => {
    if (this.#isOver) return;
    // A reading that ends without an end of its log was stopped: the store closes.
    if (result.done) this.close("closed", this.#streams.host.timing.retryMs);
    else this.#page(result.value);
  };

  readonly #onFault = (thrown: unknown): void => {
    const fault = toFault(thrown);
    this.close("fault", fault.retryAfterMs ?? this.#streams.host.timing.retryMs, fault);
  };

  #page(page: Page): void {
    const full = this.#write(this.#streams.cache.encode(this.#format, page));
    this.#streams.sent(this.label, page.events.length);
    if (page.ended) this.#end();
    else if (full) {
      this.#isFull = true;
      full.then(this.#onRoom, this.#onGone);
    } else this.#step();
  }

  readonly #onRoom = (): void => {
    this.#isFull = false;
    this.#step();
  };

  readonly #onGone = (): void => this.cancel();

  /** Gives a promise when the socket is full. */
  #write(data: Uint8Array | string): PromiseLike<unknown> | undefined {
    if (!this.#sink) return undefined;
    this.#writtenAt = this.#streams.wheel.lately;
    // Which of the two waits depends on the size: `write` passes on what is large, `flush` the rest.
    const written = this.#sink.write(data);
    const flushed = this.#sink.flush();
    return pending(flushed) ?? pending(written);
  }

  // --- the end ---

  #end(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#finish();
    // From here on the listener's own idle timeout ends a connection that takes nothing.
    this.#ask.server.timeout(this.#ask.request, this.#streams.idleSeconds);
    sink?.end();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#first = undefined;
    this.#streams.wheel.delete(this);
    this.#streams.delete(this);
    this.#abort.abort();
    // A reading that is not waiting for a page hears nothing of the signal.
    this.#pages.return?.()?.catch(() => {});
  }

  #nextLook(): number {
    return Math.min(this.#until, this.#writtenAt + this.#streams.host.timing.commentMs);
  }
}

function pending(result: unknown): PromiseLike<unknown> | undefined {
  return typeof result === "object" && result !== null ? (result as PromiseLike<unknown>) : undefined;
}
