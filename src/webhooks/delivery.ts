/**
 * What one endpoint is sent, by itself: a receiver that is slow or gone holds up no other. It reads the outbox and
 * its topics from places that are stored, tries each message once, and puts what failed aside for later: so one
 * message that is refused does not hold up the next. At least once: after a crash the newest few come again, with
 * the same ids.
 */
import { CALLS, TOPICS } from "../contract/index.ts";
import { type Cursor, type LogEvent, type Place, type Store, toFault } from "../log/index.ts";
import { type AttemptOptions, Attempts } from "./attempts.ts";
import { fits } from "./config.ts";
import { Held, type Letter, type Waiting } from "./held.ts";
import { callMessage, type Message, topicMessage } from "./message.ts";
import { OUTBOX, type OutboxStore } from "./outbox.ts";
import type { Outcome } from "./send.ts";
import { EndpointState } from "./state.ts";

export type { Clock } from "./attempts.ts";

export interface DeliveryLogger {
  note(level: "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface DeliveryLimits {
  readonly webhookBytes: number;
  readonly webhooksWaiting: number;
  readonly webhooksAtOnce: number;
}

export interface DeliveryOptions extends AttemptOptions {
  readonly store: OutboxStore;
  readonly limits: DeliveryLimits;
  readonly logger: DeliveryLogger;
  /** The endpoint has read the outbox up to there. */
  readonly moved: () => unknown;
}

export interface DeliveryStatus {
  readonly name: string;
  /** Without its path, which may be a secret. */
  readonly origin: string;
  readonly off?: string;
  readonly waiting: number;
}

const DEAD_MS = 30 * 86_400_000;
const SWEEP_MS = 3_600_000;

export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #store: Store;
  readonly #held: Held;
  readonly #state: EndpointState;
  readonly #attempts: Attempts;
  readonly #label: string;
  readonly #waiting = new Map<string, Waiting>();
  readonly #stopping = new AbortController();
  readonly #loops: Promise<void>[] = [];
  /** Aborted, and made anew, when what the loops wait for may have changed, and at the end. */
  #changed = new AbortController();
  #underWay = 0;
  /** New ones that are under way: each may have to wait after. */
  #taking = 0;

  constructor(options: DeliveryOptions) {
    const { name } = options.endpoint;
    this.#options = options;
    this.#store = options.store;
    this.#held = new Held(options.store, name);
    this.#state = new EndpointState(options.store, name);
    this.#label = `endpoint="${name}"`;
    this.#attempts = new Attempts(options, this.#label, this.#stopping.signal);
  }

  /** Takes up what an earlier process left. */
  async start(): Promise<void> {
    const { endpoint } = this.#options;
    await this.#state.load();
    const sources = [...(endpoint.methods.length > 0 ? [OUTBOX] : []), ...endpoint.topics.map((name) => TOPICS + name)];
    for (const source of sources) {
      if (this.#state.place(source) !== undefined) continue;
      const { cursor } = await this.#store.append(source, [], {
        create: { kind: source === OUTBOX ? "webhooks" : "topic" },
      });
      const isFromStart = source !== OUTBOX && endpoint.from === "start";
      // Written down at once: a restart before the first message must not move it.
      await this.#state.moveTo(source, isFromStart ? await this.#first(source) : cursor);
    }
    for (const waiting of await this.#held.load()) this.#wait(waiting);
    if (this.#state.off !== undefined) this.#metric("disabled", 1);
    for (const source of sources) this.#loops.push(this.#follow(source));
    this.#loops.push(this.#retry(), this.#sweep());
  }

  /** What is under way is broken off, and tried again by the next process. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await Promise.all(this.#loops);
    await this.#state.settled();
  }

  /** Where it is in the outbox; undefined when it does not read it. */
  get outboxPlace(): Cursor | undefined {
    return this.#state.place(OUTBOX);
  }

  // --- for the operator ---

  status(): DeliveryStatus {
    const { endpoint } = this.#options;
    const { off } = this.#state;
    return {
      name: endpoint.name,
      origin: endpoint.url.origin,
      ...(off !== undefined && { off }),
      waiting: this.#waiting.size,
    };
  }

  letters(state: "waiting" | "dead", after: string | undefined): Promise<{ letters: Letter[]; next?: string }> {
    return this.#held.letters(state, after);
  }

  async enable(): Promise<void> {
    if (this.#state.off === undefined) return;
    await this.#state.turn(undefined);
    this.#metric("disabled", -1);
    this.#attempts.notBefore = 0;
    this.#wake();
  }

  async disable(why: string): Promise<void> {
    if (this.#state.off !== undefined) return;
    await this.#state.turn(why);
    this.#metric("disabled", 1);
  }

  /** Sends again what was given up: one message, or a hundred of them. Gives how many. */
  async resend(id: string | undefined): Promise<number> {
    const ids = id === undefined ? (await this.#held.letters("dead", undefined)).letters.map((each) => each.id) : [id];
    let count = 0;
    for (const each of ids) {
      const waiting = await this.#held.revive(each, this.#options.clock.now());
      if (!waiting) continue;
      this.#wait(waiting);
      count++;
    }
    this.#wake();
    return count;
  }

  // --- what is new ---

  async #follow(source: string): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const from: Place = this.#state.place(source)!;
        for await (const page of this.#store.read(source, { from, follow: true, signal, pageEvents: PAGE })) {
          if (page.verdict && page.verdict.verdict !== "recovered") {
            this.#metric("missed_total", 1);
            this.#note("warn", "a webhook endpoint missed events", { source, verdict: page.verdict.verdict });
          }
          await this.#takePage(source, page.events);
          if (signal.aborted) return;
          if (page.verdict) await this.#state.moveTo(source, page.cursor);
          if (source === OUTBOX) this.#options.moved();
        }
      } catch (thrown) {
        if (signal.aborted) return;
        this.#note("error", "a webhook endpoint cannot read its events", { source, fault: toFault(thrown).message });
        await this.#options.clock.sleep(1000, signal);
      }
    }
  }

  /** All at once, as far as their turns allow; the place moves on after those that are done without a gap. */
  async #takePage(source: string, events: readonly LogEvent[]): Promise<void> {
    const isDone = events.map(() => false);
    let done = 0;
    const taken = events.map(async (event, index) => {
      isDone[index] = await this.#take(source, event);
      const before = done;
      while (isDone[done]) done++;
      if (done > before) await this.#state.moveTo(source, events[done - 1]!.cursor);
    });
    const failed = (await Promise.allSettled(taken)).find((each) => each.status === "rejected");
    if (failed) throw failed.reason;
  }

  /** Whether the message was delivered, or is held for later, or is none; else the server goes. */
  async #take(source: string, event: LogEvent): Promise<boolean> {
    const message = await this.#messageOf(source, event);
    if (!message || !fits(this.#options.endpoint.types, message.type)) return true;
    if (!(await this.#mayBegin())) return false;
    try {
      const outcome = await this.#attempt(message);
      if (!outcome) return false;
      if (outcome.kind === "delivered") return true;
      const waiting = await this.#held.hold(message, this.#attempts.failure(1, outcome));
      if (waiting) this.#wait(waiting);
      if (outcome.status === 410) await this.#gone();
      return true;
    } finally {
      this.#taking--;
      this.#wake();
    }
  }

  async #messageOf(source: string, event: LogEvent): Promise<Message | undefined> {
    const { store, limits, endpoint } = this.#options;
    if (source !== OUTBOX) return topicMessage(source, event, limits.webhookBytes);
    const log = CALLS + (JSON.parse(event.json) as string);
    await store.settled(log);
    const { logs } = await store.list({ prefix: log, exact: true, limit: 1 });
    const info = logs[0];
    if (!info) {
      // Kept for a shorter time than the endpoint was behind.
      this.#metric("missed_total", 1);
      return undefined;
    }
    if (!fits(endpoint.methods, info.labels["method"] ?? "")) return undefined;
    return callMessage(info, limits.webhookBytes);
  }

  // --- what has failed before ---

  async #retry(): Promise<void> {
    const { signal } = this.#stopping;
    const { clock, limits } = this.#options;
    while (!signal.aborted) {
      const changed = this.#changed.signal;
      const now = clock.now();
      let next = Number.POSITIVE_INFINITY;
      if (this.#state.off === undefined) {
        for (const waiting of this.#waiting.values()) {
          if (waiting.isUnderWay) continue;
          const at = Math.max(waiting.nextAt, this.#attempts.notBefore);
          if (at > now) next = Math.min(next, at);
          else if (this.#underWay < limits.webhooksAtOnce) void this.#again(waiting);
        }
      }
      await clock.sleep(Math.min(next - now, SWEEP_MS), changed);
    }
  }

  async #again(waiting: Waiting): Promise<void> {
    waiting.isUnderWay = true;
    this.#underWay++;
    try {
      const message = await this.#held.message(waiting.log);
      const outcome = await this.#attempts.send(message);
      if (!outcome) return;
      if (outcome.kind === "delivered") {
        await this.#held.delivered(waiting);
        this.#forget(waiting);
        return;
      }
      const failure = this.#attempts.failure(waiting.attempt + 1, outcome);
      if (failure.nextAt === undefined) {
        await this.#held.giveUp(waiting, failure);
        this.#forget(waiting);
        this.#metric("dead_total", 1);
        this.#note("error", "a webhook message was given up", { id: message.id, why: failure.why });
      } else {
        await this.#held.failed(waiting, failure);
        waiting.attempt = failure.attempt;
        waiting.nextAt = failure.nextAt;
      }
      if (outcome.status === 410) await this.#gone();
    } catch (thrown) {
      const fault = toFault(thrown);
      if (fault.code === "not_found") this.#forget(waiting);
      else waiting.nextAt = this.#options.clock.now() + 1000;
      if (!this.#stopping.signal.aborted) {
        this.#note("error", "a webhook message cannot be tried again", { fault: fault.message });
      }
    } finally {
      waiting.isUnderWay = false;
      this.#underWay--;
      this.#wake();
    }
  }

  // --- attempts ---

  /** Waits for a turn. False when the server goes. */
  async #mayBegin(): Promise<boolean> {
    const { clock, limits } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const changed = this.#changed.signal;
      const throttled = this.#attempts.notBefore - clock.now();
      const isOn = this.#state.off === undefined;
      const hasRoom = this.#waiting.size + this.#taking < limits.webhooksWaiting;
      if (isOn && throttled <= 0 && hasRoom && this.#underWay < limits.webhooksAtOnce) {
        this.#underWay++;
        this.#taking++;
        return true;
      }
      const ms = isOn && throttled > 0 ? throttled : SWEEP_MS;
      await clock.sleep(ms, changed);
    }
    return false;
  }

  async #attempt(message: Message): Promise<Outcome | undefined> {
    try {
      return await this.#attempts.send(message);
    } finally {
      this.#underWay--;
    }
  }

  async #gone(): Promise<void> {
    await this.disable("the receiver has answered 410 Gone");
    this.#note("warn", "a webhook endpoint wants no more messages (410) and is disabled", {});
  }

  // --- what is kept ---

  #wait(waiting: Waiting): void {
    this.#waiting.set(waiting.log, waiting);
    this.#metric("waiting", 1);
    this.#wake();
  }

  #forget(waiting: Waiting): void {
    if (this.#waiting.delete(waiting.log)) this.#metric("waiting", -1);
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = new AbortController();
    changed.abort();
  }

  async #first(log: string): Promise<Cursor> {
    const { logs } = await this.#store.list({ prefix: log, exact: true, limit: 1 });
    return logs[0]!.first;
  }

  async #sweep(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stopping.signal.aborted) {
      await this.#held.forget(clock.now() - DEAD_MS).catch(() => {});
      await clock.sleep(SWEEP_MS, this.#stopping.signal);
    }
  }

  #metric(name: string, by: number): void {
    this.#options.metrics.add(`backtalk_webhooks_${name}`, this.#label, by);
  }

  #note(level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.logger.note(level, message, { endpoint: this.#options.endpoint.name, ...fields });
  }
}

/** Messages that can come again after a crash, for each source. */
const PAGE = 16;
