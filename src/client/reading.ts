/**
 * One reading of a log that survives breaks: the cursor is kept, and after a break the log is read again from
 * there, over whatever transport there is then. Each event is given once. It ends only with the log.
 */
import { Fault } from "../log/fault.ts";
import type { Cursor, LogEvent, Place, Verdict } from "../log/index.ts";
import { abortFault, Linked } from "../transports/http/client-request.ts";
import { FALLBACK } from "./fallback.ts";
import { Attempt } from "./retry.ts";
import type { Session } from "./session.ts";
import type { Reading, ReadVerdict } from "./types.ts";

export interface ReadingOptions<Event> {
  readonly from: Place;
  readonly isTopic?: boolean;
  readonly onVerdict?: ((verdict: ReadVerdict) => void) | undefined;
  /** Undefined leaves the event out. @throws what ends the reading */
  readonly map: (event: LogEvent) => Event | undefined;
  /** The reader went before the log's end. */
  readonly onLeave?: () => void;
}

export class LogReading<Event> implements Reading<Event> {
  verdict: ReadVerdict | undefined;
  cursor: Cursor | undefined;
  readonly #session: Session;
  readonly #options: ReadingOptions<Event>;

  constructor(session: Session, options: ReadingOptions<Event>) {
    this.#session = session;
    this.#options = options;
    const { from } = options;
    if (from !== "start" && from !== "now") this.cursor = from;
  }

  [Symbol.asyncIterator](): AsyncIterator<Event, undefined> {
    const { scope, context } = this.#session;
    scope.hold();
    const linked = new Linked(scope.signal);
    const events = this.#read(linked.signal);
    let isOver = false;
    const over = (isLeft: boolean): void => {
      if (isOver) return;
      isOver = true;
      linked.release();
      scope.release();
      if (isLeft) this.#options.onLeave?.();
    };
    return {
      next: async () => {
        try {
          const result = await events.next();
          if (result.done) over(false);
          return result;
        } catch (thrown) {
          // What ends by the reader's own signal was left; the log's own end and faults were not.
          over(scope.signal.aborted && !context.closing.aborted);
          throw thrown;
        }
      },
      return: async () => {
        over(true);
        // First the abort: a reading that waits for the next event would not hear of the return.
        linked.abort(undefined);
        await events.return(undefined).catch(() => {});
        return { done: true, value: undefined };
      },
    };
  }

  async *#read(signal: AbortSignal): AsyncGenerator<Event, undefined> {
    const { env } = this.#session.context;
    const attempt = new Attempt(this.#session.context, signal, true, true);
    for (let isKnown = this.#session.isKnown; ; ) {
      const began = env.now();
      try {
        const exchange = await this.#session.exchange();
        const from = this.cursor ?? this.#options.from;
        for await (const page of exchange.read({ from, follow: true, signal })) {
          if (!isKnown) attempt.succeeded();
          isKnown = true;
          this.#session.isMet = true;
          if (page.verdict) this.#judge(page.verdict);
          for (const event of page.events) {
            if (this.cursor !== undefined && event.cursor <= this.cursor) continue;
            this.cursor = event.cursor;
            const mapped = this.#options.map(event);
            if (mapped !== undefined) yield mapped;
          }
          if (page.ended) return;
          this.cursor = page.cursor;
        }
        if (signal.aborted) throw abortFault(signal);
        throw new Fault("unavailable", "the reading ended before the log");
      } catch (thrown) {
        this.#session.drop();
        if (env.now() - began >= FALLBACK.shortMs) attempt.succeeded();
        await attempt.again(thrown, isKnown);
      }
    }
  }

  /** @throws Fault `data_loss` when events are missing and nobody hears of it otherwise */
  #judge({ verdict, from, to, state }: Verdict): void {
    this.verdict = { verdict, from, to, ...(state !== undefined && { state: JSON.parse(state) as unknown }) };
    this.cursor = to;
    this.#options.onVerdict?.(this.verdict);
    if (verdict === "recovered" || this.#options.onVerdict) return;
    // Of a topic nobody is promised more than what is kept.
    if (from === "start" && this.#options.isTopic) return;
    throw new Fault(
      "data_loss",
      verdict === "gap" ? "events are no longer kept" : "the log is another one than before",
      {
        detail: { verdict, from, to },
        hint: "give `onVerdict` to go on after a gap or a reset",
      },
    );
  }
}
