/**
 * What a run says in order: its items and its end. Items are numbered, for after a redelivery some come twice, and
 * some may come out of order; each is acknowledged when the call's log has it, which is read here for that.
 */
import { type Cursor, faultFromJson, toFault } from "../../log/index.ts";
import type { Holder, JobState, Said } from "./job-state.ts";
import { pause } from "./line.ts";

export class JobItems {
  readonly #state: JobState;
  /** What came out of its order, by its number. */
  readonly #early = new Map<number, Said>();
  /** Items that were not yielded yet, with what acknowledges them. */
  readonly #pending: Said[] = [];
  /** Yielded and not stored yet: how many items the log has then. */
  readonly #unstored: { readonly items: number; readonly settle: () => void }[] = [];
  #yielded = 0;
  #stored = 0;
  /** The newest place of the call's log that was read. */
  head: Cursor | undefined;
  /** What the worker has ended its run with. */
  endSaid: Said | undefined;

  constructor(state: JobState) {
    this.#state = state;
  }

  /** Items that the call has had, of all runs. */
  get yielded(): number {
    return this.#yielded;
  }

  /** Everything that was said in order so far is in the store. */
  get isStored(): boolean {
    return this.#pending.length === 0 && this.#stored >= this.#yielded;
  }

  /** Counts what the log has of earlier processes. */
  async recount(): Promise<void> {
    for await (const { kind } of this.#state.call.history()) if (kind === "item") this.#yielded++;
  }

  /** The next one to yield. */
  shift(): { readonly data: unknown } | undefined {
    const said = this.#pending.shift();
    if (!said) return undefined;
    this.#unstored.push({ items: ++this.#yielded, settle: said.settle });
    return said.message as { data: unknown };
  }

  /** Items are taken by their numbers, and the end after all of them. */
  take(holder: Holder, said: Said): void {
    const { n } = said.message as { n: number };
    if (n < holder.next && said.message.do === "item") {
      const items = holder.base + n + 1;
      if (items <= this.#stored) said.settle();
      else this.#unstored.push({ items, settle: said.settle });
      return;
    }
    this.#early.set(n, said);
    for (;;) {
      const next = this.#early.get(holder.next);
      if (!next) return;
      this.#early.delete(holder.next);
      if (next.message.do === "item") {
        holder.next++;
        this.#pending.push(next);
        this.#state.wake();
      } else {
        this.endSaid = next;
        this.#state.finish(
          next.message.do === "fail"
            ? { fault: faultFromJson(next.message.fault) }
            : { result: (next.message as { result?: unknown }).result },
        );
      }
    }
  }

  /** Another run counts from its own beginning. */
  forgetEarly(): void {
    this.#early.clear();
  }

  /** Acknowledges all that is left: nobody needs to hear it again. */
  settleAll(): void {
    for (const { settle } of [...this.#unstored, ...this.#pending, ...this.#early.values()]) settle();
    this.endSaid?.settle();
  }

  /**
   * Reads the call's own log: what is in it need not be said again. `over` gets the end of the call when that is
   * stored, as JSON, or undefined when the call is gone.
   */
  async follow(over: (end: string | undefined) => Promise<void>): Promise<void> {
    const { connected, id, reading } = this.#state;
    const { store, broker } = connected;
    let from: Cursor | "start" = "start";
    while (!reading.signal.aborted) {
      try {
        for await (const page of store.read(`calls/${id}`, { from, follow: true, signal: reading.signal })) {
          for (const { kind } of page.events) if (kind === "item") this.#stored++;
          from = page.cursor;
          this.head = page.cursor;
          this.#settleStored();
          if (page.ended) {
            await over(page.events.at(-1)?.json);
            return;
          }
          this.#state.wake();
        }
      } catch (thrown) {
        const { code, message } = toFault(thrown);
        if (code === "not_found") {
          await over(undefined);
          return;
        }
        broker.note("error", "the log of a call cannot be read", { call: id, fault: message });
        await pause(500, reading.signal);
      }
    }
  }

  #settleStored(): void {
    let kept = 0;
    for (const each of this.#unstored) {
      if (each.items <= this.#stored) each.settle();
      else this.#unstored[kept++] = each;
    }
    this.#unstored.length = kept;
  }
}
