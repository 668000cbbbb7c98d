/** Reading a log until it ends, or until the reader is told to come back: on a drain, after long, with its credential. */
import type { HandlerContext } from "@connectrpc/connect";
import type { Exchange, Principal } from "../../contract/index.ts";
import { MOST_TIMER_MS } from "../../contract/timer.ts";
import { type Cursor, Fault, PAGE_BYTES, type Page, type Place, STREAM_PAGE_BYTES } from "../../log/index.ts";
import { META } from "./metadata-names.ts";
import type { Rpc } from "./rpc.ts";

export interface ReadingOptions {
  readonly from: Place;
  readonly follow: boolean;
  readonly pageEvents?: number | undefined;
  readonly principal: Principal;
  /** Aborts when the answer is over for another reason. */
  readonly stop?: AbortSignal | undefined;
}

/**
 * Gives pages. Ends after the end of the log; when the reader is to come back it throws `unavailable`. The trailer has
 * the cursor after the last page that was taken.
 */
export async function* readPages(
  rpc: Rpc,
  context: HandlerContext,
  exchange: Exchange,
  { from, follow, pageEvents, principal, stop }: ReadingOptions,
): AsyncGenerator<Page, undefined> {
  const leave = rpc.enter(context);
  const watch = new Watch(rpc, principal, stop ? [context.signal, stop] : [context.signal]);
  const { metrics } = rpc.host;
  const labels = `transport="${context.protocolName}"`;
  let isFirst = true;
  try {
    const pageBytes = Math.min(follow ? STREAM_PAGE_BYTES : PAGE_BYTES, rpc.host.limits.sendBufferBytes);
    const at = { from, follow, signal: watch.signal, pageBytes, ...(pageEvents !== undefined && { pageEvents }) };
    for await (const page of exchange.read(at)) {
      if (page.verdict && (isFirst || page.verdict.verdict !== "recovered")) {
        metrics.add("backtalk_resumes_total", `verdict="${page.verdict.verdict}"`, 1);
      }
      isFirst = false;
      yield page;
      mark(context, page.cursor);
      if (page.events.length > 0) metrics.add("backtalk_events_sent_total", labels, page.events.length);
      if (page.ended || !follow) return;
      if (watch.signal.aborted) break;
    }
    throw watch.fault();
  } finally {
    watch.dispose();
    leave();
  }
}

export function mark({ responseTrailer }: HandlerContext, cursor: Cursor): void {
  responseTrailer.set(META.cursor, cursor);
}

/** Why a stream is ended that its reader is to read on. */
export function comeBack(reason: string, retryAfterMs: number): Fault {
  return new Fault("unavailable", `the server ends this reading: ${reason}`, {
    detail: { close: reason },
    retryAfterMs,
    hint: "read on from the cursor in the trailer backtalk-cursor",
  });
}

/** One signal of all that can end a reading. */
class Watch {
  readonly #controller = new AbortController();
  readonly #rpc: Rpc;
  readonly #signals: readonly AbortSignal[];
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #reason = "closed";

  constructor(rpc: Rpc, { expiresAt = Number.POSITIVE_INFINITY }: Principal, signals: readonly AbortSignal[]) {
    const { draining, now, random, timing } = rpc.host;
    this.#rpc = rpc;
    this.#signals = [draining, ...signals];
    // A fifth less at random: readers that came together do not leave together.
    const rotate = timing.rotateMs * (1 - random() / 5);
    const expires = expiresAt - now();
    const stop = (reason: string) => () => this.#stop(reason);
    this.#timer = setTimeout(
      stop(expires < rotate ? "expired" : "rotate"),
      Math.max(0, Math.min(rotate, expires, MOST_TIMER_MS)),
    );
    this.#timer.unref?.();
    for (const signal of this.#signals) {
      signal.addEventListener("abort", this.#onAbort);
      if (signal.aborted) this.#end(signal);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Of a reading that has stopped. */
  fault(): unknown {
    const { random, timing } = this.#rpc.host;
    const other = this.#signals.find((signal) => signal.aborted && signal !== this.#rpc.host.draining);
    // The caller has gone, or its deadline has passed: the reason says which.
    if (other) return other.reason;
    const delay =
      this.#reason === "drain" ? random() * timing.spreadMs : this.#reason === "closed" ? timing.retryMs : 0;
    return comeBack(this.#reason, Math.round(delay));
  }

  dispose(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#onAbort);
    this.#controller.abort();
  }

  readonly #onAbort = ({ target }: Event): void => this.#end(target as AbortSignal);

  #end(signal: AbortSignal): void {
    this.#stop(signal === this.#rpc.host.draining ? "drain" : "closed");
  }

  #stop(reason: string): void {
    if (this.#controller.signal.aborted) return;
    this.#reason = reason;
    this.#controller.abort();
  }
}
