/** One response of server-sent events (§5.8). */
import type { Host } from "../contract/index.ts";
import { MOST_TIMER_MS } from "../contract/timer.ts";
import { toFault } from "../log/index.ts";
import type { HttpServer } from "../net/mount.ts";
import { SSE_COMMENT } from "../wire/sse.ts";
import { bodyOf, streamCursor } from "./answer.ts";
import { bytesIn } from "./content.ts";
import type { Asking, Wanted } from "./request.ts";
import type { Chunk, Source } from "./source.ts";

export interface SseOptions {
  readonly sseMs: number;
  readonly idleSeconds: number;
}

/** Of the metrics. */
const LABEL = 'transport="durable-streams"';

export interface SseReading {
  readonly source: Source;
  readonly asking: Asking;
  readonly server: HttpServer;
  readonly wanted: Wanted;
  readonly chunks: AsyncIterator<Chunk>;
  readonly first: Chunk;
  readonly abort: AbortController;
}

interface Sink {
  write(data: string): unknown;
  flush(): unknown;
  end(): unknown;
}

/**
 * One response. It pulls: a chunk is asked for when the connection has taken the one before. A "direct" stream of
 * Bun writes into the socket without a queue in between; `write` or `flush` gives a promise while the socket is
 * full, and `cancel` comes when the reader has gone.
 */
export class SseStream {
  readonly type = "direct";
  readonly #host: Host;
  readonly #reading: SseReading;
  readonly #idleSeconds: number;
  readonly #ended: () => void;
  /** Bytes of a character may lie in two events. */
  readonly #utf8 = new TextDecoder();
  readonly #end = () => this.#close();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #beat: ReturnType<typeof setInterval>;
  #cursor: string | undefined;
  #sink: Sink | undefined;
  #isFull = false;
  #isSilent = true;
  #isOver = false;

  constructor(host: Host, options: SseOptions, reading: SseReading, ended: () => void) {
    const { timing, random, now, metrics, draining } = host;
    this.#host = host;
    this.#reading = reading;
    this.#idleSeconds = options.idleSeconds;
    this.#ended = ended;
    // §10.2, and a fifth less at random: readers that came together do not leave together.
    const rotate = Math.min(options.sseMs, timing.rotateMs) * (1 - random() / 5);
    const expires = (reading.asking.principal.expiresAt ?? Number.POSITIVE_INFINITY) - now();
    this.#timer = setTimeout(this.#end, Math.max(0, Math.min(rotate, expires, MOST_TIMER_MS)));
    this.#beat = setInterval(() => this.#heartbeat(), timing.commentMs);
    draining.addEventListener("abort", this.#end, { once: true });
    metrics.add("backtalk_connections", LABEL, 1);
    reading.server.timeout(reading.asking.request, 0);
  }

  // --- called by the platform ---

  pull(sink: Sink): void {
    if (this.#isOver) {
      sink.end();
      return;
    }
    this.#sink = sink;
    this.#chunk(this.#reading.first);
    if (this.#host.draining.aborted) this.#close();
  }

  /** The reader has gone. */
  cancel(): void {
    this.#sink = undefined;
    this.#close();
  }

  // --- reading ---

  #step(): void {
    if (this.#isOver) return;
    this.#reading.chunks.next().then(
      ({ done, value }) => {
        if (this.#isOver) return;
        if (done) this.#close();
        else this.#chunk(value);
      },
      (thrown) => {
        // The client asks again, and is told then.
        this.#host.metrics.add("backtalk_faults_total", `code="${toFault(thrown).code}"`, 1);
        this.#close();
      },
    );
  }

  #chunk(chunk: Chunk): void {
    const full = this.#write(this.#encode(chunk));
    this.#host.metrics.add("backtalk_events_sent_total", LABEL, chunk.items.length);
    if (chunk.closed) this.#close();
    else if (full) {
      this.#isFull = true;
      full.then(
        () => {
          this.#isFull = false;
          this.#step();
        },
        () => this.cancel(),
      );
    } else this.#step();
  }

  /** A data event, and a control event after each (§5.8). */
  #encode({ items, next, upToDate, closed }: Chunk): string {
    const control: Record<string, string | boolean> = { streamNextOffset: next };
    if (closed) control["streamClosed"] = true;
    else {
      control["streamCursor"] = this.#nextCursor();
    }
    if (upToDate) control["upToDate"] = true;
    const data = items.length === 0 ? "" : event("data", this.#dataOf(items));
    return data + event("control", JSON.stringify(control));
  }

  /** Once more than what the client has shown; then with the time. */
  #nextCursor(): string {
    const { now, random } = this.#host;
    const { cursor } = this.#reading.wanted;
    const next = streamCursor(now(), this.#cursor === undefined ? cursor : undefined, random);
    if (this.#cursor === undefined || Number(next) > Number(this.#cursor)) this.#cursor = next;
    return this.#cursor;
  }

  #dataOf(items: readonly string[]): string {
    const { source } = this.#reading;
    if (source.mode === "json") return bodyOf(source, { items }) as string;
    const bytes = Buffer.concat(items.map(bytesIn));
    return source.mode === "text" ? this.#utf8.decode(bytes, { stream: true }) : bytes.toString("base64");
  }

  #heartbeat(): void {
    // A full socket needs no sign of life, and must not be filled further.
    if (this.#isSilent && !this.#isFull) void this.#write(SSE_COMMENT);
    this.#isSilent = true;
  }

  /** Gives a promise when the socket is full. */
  #write(text: string): PromiseLike<unknown> | undefined {
    if (!this.#sink) return undefined;
    this.#isSilent = false;
    const written = this.#sink.write(text);
    const flushed = this.#sink.flush();
    return pending(flushed) ?? pending(written);
  }

  #close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const sink = this.#sink;
    const { abort, chunks, server, asking } = this.#reading;
    this.#sink = undefined;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#host.draining.removeEventListener("abort", this.#end);
    this.#host.metrics.add("backtalk_connections", LABEL, -1);
    abort.abort();
    chunks.return?.()?.catch(() => {});
    this.#ended();
    if (!sink) return;
    server.timeout(asking.request, this.#idleSeconds);
    sink.end();
  }
}

/** Without the space after the colon where it can be left out: there are readers that look for lines as text. */
function event(name: string, data: string): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data:${line.startsWith(" ") ? " " : ""}${line}\n`);
  return `event: ${name}\n${lines.join("")}\n`;
}

function pending(result: unknown): PromiseLike<unknown> | undefined {
  return typeof result === "object" && result !== null ? (result as PromiseLike<unknown>) : undefined;
}
