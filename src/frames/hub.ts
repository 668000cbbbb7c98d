/** What all connections of one listener share: the timer, the text of the page that went out last, the counts. */
import type { Host, Peer } from "../contract/index.ts";
import { Fault, type Page } from "../log/index.ts";
import { encodeEvents, encodeEventsTail, encodeMessage } from "../wire/frame.ts";

/** Ticks of the timer in the time after which a heartbeat is due. */
const TICKS = 25;
/** Ids whose text of a page is kept. Clients count from small numbers, so most readers share a few. */
const MOST_TEXTS = 64;

/** What the timer turns, and what is told that the server goes: a connection, or what is about to be one. */
export interface Member {
  turn(now: number): void;
  drain(): void;
}

export class Hub {
  readonly host: Host;
  /** The transport, as calls and metrics name it. */
  readonly via: string;
  readonly peer: Peer;
  readonly welcome: string;
  /** Whether messages are worth compressing, when the client can read that. */
  readonly isDeflating: boolean;
  /** Heartbeats in ticks: nobody needs the time of each message. */
  readonly graceTicks: number;
  readonly heartbeatTicks = TICKS;
  /** In which a message must have arrived, where the pipe knows when it began. */
  readonly bodyTicks: number;
  /** Grows with each turn of the timer. */
  tick = 0;
  readonly #members = new Set<Member>();
  readonly #tickMs: number;
  readonly #labels: string;
  #timer: ReturnType<typeof setInterval> | undefined;
  #page: Page | undefined;
  #tail = "";
  readonly #texts = new Map<number, string>();
  #eventsSent = 0;

  constructor(host: Host, via: string, isDeflating = false) {
    this.host = host;
    this.via = via;
    this.#labels = `transport="${via}"`;
    this.peer = host.peer;
    this.isDeflating = isDeflating;
    const { heartbeatMs, graceMs } = host.timing;
    const { bodyBytes, itemBytes, exchangesPerConnection, itemsInFlight, bodyMs } = host.limits;
    this.#tickMs = Math.max(1, heartbeatMs / TICKS);
    this.graceTicks = Math.max(1, Math.ceil(graceMs / this.#tickMs));
    this.bodyTicks = Math.max(1, Math.ceil(bodyMs / this.#tickMs));
    const limits = { bodyBytes, itemBytes, exchangesPerConnection, itemsInFlight };
    this.welcome = encodeMessage({ type: "welcome", heartbeatMs, graceMs, limits });
    host.draining.addEventListener("abort", () => this.#drain(), { once: true });
  }

  get size(): number {
    return this.#members.size;
  }

  /** @throws Fault when no socket can be added */
  check(): void {
    const { limits, draining } = this.host;
    if (draining.aborted) throw this.goingFault();
    if (this.#members.size < limits.connections) return;
    throw new Fault("resource_exhausted", `${limits.connections} sockets are open already`, {
      limit: "connections",
      retryAfterMs: 1000 + this.spread(),
      hint: "come back later, use HTTP, or raise the limit connections of the server",
    });
  }

  add(member: Member): void {
    if (this.#members.has(member)) return;
    this.#members.add(member);
    this.host.metrics.add("backtalk_connections", this.#labels, 1);
    this.#timer ??= setInterval(() => this.#turn(), this.#tickMs);
    this.#timer.unref?.();
  }

  delete(member: Member): void {
    if (!this.#members.delete(member)) return;
    this.host.metrics.add("backtalk_connections", this.#labels, -1);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#settle();
  }

  /** The `events` message of a whole page. Followers of one log get the same page, one after the other. */
  encode(id: number, page: Page): string {
    if (page !== this.#page) {
      this.#page = page;
      this.#tail = encodeEventsTail(page.events, page.cursor);
      this.#texts.clear();
    }
    let text = this.#texts.get(id);
    if (text === undefined) {
      text = encodeEvents(id, this.#tail);
      if (this.#texts.size < MOST_TEXTS) this.#texts.set(id, text);
    }
    return text;
  }

  /** Counted here, and told to the metrics once a tick: a topic's event goes to thousands. */
  sent(events: number): void {
    this.#eventsSent += events;
  }

  resumed(verdict: string): void {
    this.host.metrics.add("backtalk_resumes_total", `verdict="${verdict}"`, 1);
  }

  following(by: 1 | -1): void {
    this.host.metrics.add("backtalk_subscriptions", this.#labels, by);
  }

  refused(fault: Fault): void {
    this.host.metrics.add("backtalk_faults_total", `code="${fault.code}"`, 1);
  }

  /** How long a reader is told to wait: not all at once. */
  spread(): number {
    return Math.ceil(this.host.random() * this.host.timing.spreadMs);
  }

  goingFault(): Fault {
    return new Fault("unavailable", "the server is going", {
      retryAfterMs: this.spread(),
      detail: { close: "draining" },
      hint: "connect again, and read on from the last cursor",
    });
  }

  #turn(): void {
    this.tick++;
    const now = this.host.now();
    for (const member of this.#members) member.turn(now);
    this.#settle();
  }

  /** Nothing of a page is kept for long after it went out. */
  #settle(): void {
    this.#page = undefined;
    this.#tail = "";
    this.#texts.clear();
    if (this.#eventsSent === 0) return;
    this.host.metrics.add("backtalk_events_sent_total", this.#labels, this.#eventsSent);
    this.#eventsSent = 0;
  }

  #drain(): void {
    for (const member of this.#members) member.drain();
  }
}
