/**
 * A connection to a broker that comes back. What a user of it sets up (queues, consumers) is set up again on a
 * new channel whenever the old one was lost: by a broker that restarts, a queue that an operator has deleted
 * (the broker cancels its consumers), or a channel that broke a rule.
 */
import { checkBroker } from "./check.ts";
import { type Connection, type Envelope, loadDriver, type Message, type TlsOptions } from "./driver.ts";
import { faultOf, lost, throwLost, wordsOf } from "./faults.ts";
import { backoff, Line, type Note, pause, RETRY, type Setup } from "./line.ts";
import { HEADER, parseUrl } from "./names.ts";

export interface BrokerOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
  /** Shown to the operator of the broker. */
  readonly name: string;
  /** Seconds; two that are missed end the connection (default 30). */
  readonly heartbeat?: number;
  readonly note?: Note;
  readonly random?: () => number;
  /** How long the first connection may take, in milliseconds (default 10,000). */
  readonly connectMs?: number;
  /** The import of a package by its name. @internal */
  readonly load?: ((name: string) => Promise<unknown>) | undefined;
}

/** Larger frames are fewer (the broker's own default). */
const FRAME_BYTES = 131_072;

export class Broker {
  readonly shown: string;
  readonly #options: BrokerOptions;
  readonly #connection: Connection;
  readonly #lines = new Set<Line>();
  readonly #sender: Line;
  readonly #closing = new AbortController();
  /** What is declared before anything is published. */
  readonly #topology: Setup[] = [];
  /** Numbers of messages that were published as mandatory, and whether they came back. */
  readonly #watched = new Map<number, boolean>();
  #number = 0;
  #blocked: string | undefined;

  private constructor(options: BrokerOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.shown = parseUrl(options.url).shown;
    connection.on("error", (error) =>
      this.note("warn", "the connection to the broker was lost", { error: wordsOf(error) }),
    );
    connection.on("connection.blocked", (reason) => {
      this.#blocked = reason;
      this.note("warn", "the broker takes no messages now", { reason });
    });
    connection.on("connection.unblocked", () => {
      this.#blocked = undefined;
      this.note("info", "the broker takes messages again");
    });
    this.#sender = this.line("the publisher", async (channel) => {
      channel.on("basic.return", (message) => this.#returned(message));
      for (const declare of this.#topology) await declare(channel);
      await channel.confirmSelect();
    });
  }

  /** @throws Fault when the broker cannot be reached, refuses the credentials, or cannot keep the promises */
  static async open(options: BrokerOptions): Promise<Broker> {
    const { url, tls, name, heartbeat = 30, connectMs = 10_000 } = options;
    const { isTls } = parseUrl(url);
    // First: without the package it does not matter whether the broker is there.
    const { Connection } = await loadDriver(options.load);
    await checkBroker(url, tls, connectMs);
    const connection = new Connection({
      url,
      ...(isTls && tls && { tls }),
      connectionName: name,
      heartbeat,
      frameMax: FRAME_BYTES,
      noDelay: true,
      retryLow: RETRY.least,
      retryHigh: RETRY.most,
      connectionTimeout: connectMs,
    });
    const broker = new Broker(options, connection);
    // Before the first connection an error is an answer: bad credentials do not get better.
    const refused = new Promise<never>((_, reject) => connection.on("error", (error) => reject(faultOf(error))));
    refused.catch(() => {});
    try {
      await Promise.race([broker.#sender.first, refused]);
      return broker;
    } catch (thrown) {
      await broker.close();
      throw thrown;
    }
  }

  /** A channel that is set up again whenever it was lost. Await its `first`. */
  line(name: string, setup: Setup): Line {
    const line = new Line(this.#connection, name, setup, {
      note: (level, message, fields) => this.note(level, message, fields),
      random: this.#options.random ?? Math.random,
      closing: this.#closing.signal,
    });
    this.#lines.add(line);
    return line;
  }

  /** A line that is not needed any more. */
  async drop(line: Line): Promise<void> {
    this.#lines.delete(line);
    await line.close();
  }

  /** Declares now, and again before anything is published after the broker was lost. */
  async declare(setup: Setup): Promise<void> {
    this.#topology.push(setup);
    const channel = await this.#sender.channel(this.#closing.signal);
    await setup(channel).catch((thrown) => {
      throw faultOf(thrown);
    });
  }

  /** Declares all that was declared once more: somebody has deleted some of it. @throws Fault */
  async redeclare(): Promise<void> {
    const channel = await this.#sender.channel(this.#closing.signal);
    for (const declare of this.#topology) {
      await declare(channel).catch((thrown) => {
        throw faultOf(thrown);
      });
    }
  }

  /**
   * Resolves when the broker has confirmed it: with false when it is mandatory and no queue takes it.
   * @throws Fault `unavailable` when that is not known; with `detail.sent` false when nothing was sent
   */
  async publish(envelope: Envelope, body: string | Uint8Array): Promise<boolean> {
    const channel = this.#sender.current;
    if (!channel) throw lost("the connection to the broker is lost", this.#sender.why, { sent: false });
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    if (!envelope.mandatory) {
      await channel.basicPublish({ durable: true, ...envelope }, bytes).catch(throwLost);
      return true;
    }
    const number = ++this.#number;
    this.#watched.set(number, false);
    try {
      const headers = { ...envelope.headers, [HEADER.number]: number };
      await channel.basicPublish({ durable: true, ...envelope, headers }, bytes).catch(throwLost);
      // What is returned comes before its confirmation, but the driver tells of it a turn later.
      await new Promise((resolve) => setImmediate(resolve));
      return !this.#watched.get(number);
    } finally {
      this.#watched.delete(number);
    }
  }

  /** Publishes until it is confirmed: it may arrive more than once. False as for `publish`, or when `signal` aborts first. */
  async publishSurely(envelope: Envelope, body: string | Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const signals = signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal;
    for (let tries = 0; !signals.aborted; tries++) {
      try {
        return await this.publish(envelope, body);
      } catch {
        await this.#sender.channel(signals).catch(() => {});
        if (tries > 0) await pause(backoff(tries, this.#options.random ?? Math.random), signals);
      }
    }
    return false;
  }

  /** Why it does not work now; empty when it does. */
  unready(): readonly string[] {
    const down = [...this.#lines].filter((line) => !line.current).map((line) => line.name);
    return [
      ...(down.length > 0 ? [`the broker ${this.shown} is not connected: ${down.join(", ")}`] : []),
      ...(this.#blocked === undefined ? [] : [`the broker ${this.shown} takes no messages: ${this.#blocked}`]),
    ];
  }

  note(level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (!this.#closing.signal.aborted) this.#options.note?.(level, message, { broker: this.shown, ...fields });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    // What was sent is confirmed or not by now: its publisher has been told.
    await Promise.allSettled([...this.#lines].map((line) => line.close()));
    this.#closing.abort();
    await Promise.race([this.#connection.close().catch(() => {}), pause(1_000)]);
    this.#connection.unsafeDestroy();
  }

  #returned({ headers }: Message): void {
    const number = headers?.[HEADER.number];
    if (typeof number === "number" && this.#watched.has(number)) this.#watched.set(number, true);
  }
}
