/**
 * A connection to a broker that comes back. What a user of it sets up (queues, consumers) is set up again on a
 * new channel whenever the old one was lost: by a broker that restarts, a queue that an operator has deleted
 * (the broker cancels its consumers), or a channel that broke a rule.
 */
import { Fault, toFault } from "../../log/index.ts";
import { checkBroker } from "./check.ts";
import { type Channel, type Connection, type Envelope, loadDriver, type Message, type TlsOptions } from "./driver.ts";
import { HEADER, parseUrl } from "./names.ts";

export interface BrokerOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
  /** Shown to the operator of the broker. */
  readonly name: string;
  /** Seconds; two that are missed end the connection (default 30). */
  readonly heartbeat?: number;
  readonly note?: (
    level: "info" | "warn" | "error",
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ) => void;
  readonly random?: () => number;
  /** How long the first connection may take, in milliseconds (default 10,000). */
  readonly connectMs?: number;
  /** The import of a package by its name. @internal */
  readonly load?: ((name: string) => Promise<unknown>) | undefined;
}

/** Waits between tries to set up a channel, in milliseconds: doubled each time, and spread. */
const RETRY = { least: 200, most: 5_000 };
/** Larger frames are fewer (the broker's own default). */
const FRAME_BYTES = 131_072;

export type Setup = (channel: Channel) => Promise<void>;

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

interface LineTools {
  readonly note: NonNullable<BrokerOptions["note"]>;
  readonly random: () => number;
  readonly closing: AbortSignal;
}

/** A channel that comes back. */
export class Line {
  readonly name: string;
  /** Resolves when it is set up for the first time; rejects when that fails. */
  readonly first: Promise<void>;
  /** While it is set up. */
  current: Channel | undefined;
  /** Why it is not. */
  why: unknown;
  readonly #tools: LineTools;
  #waiting: (() => void)[] = [];
  #opening: Channel | undefined;
  readonly #stop = new AbortController();

  constructor(connection: Connection, name: string, setup: Setup, tools: LineTools) {
    this.name = name;
    this.#tools = tools;
    tools.closing.addEventListener("abort", () => this.#stop.abort(), { once: true });
    let resolve: () => void;
    let reject: (fault: Fault) => void;
    this.first = new Promise<void>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    this.first.catch(() => {});
    void this.#run(
      connection,
      setup,
      () => resolve(),
      (fault) => reject(fault),
    );
  }

  /** The channel, when it is there. @throws Fault when `signal` aborts first */
  async channel(signal: AbortSignal): Promise<Channel> {
    while (!this.current) {
      if (signal.aborted || this.#stop.signal.aborted) throw lost("the connection to the broker is closed", this.why);
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener("abort", done);
          resolve();
        };
        this.#waiting.push(done);
        signal.addEventListener("abort", done);
      });
    }
    return this.current;
  }

  /** What was delivered on it and not acknowledged goes back to its queue. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await Promise.race([(this.current ?? this.#opening)?.close(), pause(1_000)]);
  }

  async #run(connection: Connection, setup: Setup, up: () => void, down: (fault: Fault) => void): Promise<void> {
    const stop = this.#stop.signal;
    for (let tries = 0; !stop.aborted; tries++) {
      let channel: Channel | undefined;
      try {
        channel = await connection.acquire({ emitErrorsFromChannel: true });
        this.#opening = channel;
        const closed = this.#watch(channel);
        if (stop.aborted) {
          void channel.close();
          return;
        }
        await setup(channel);
        if (tries > 0 && !stop.aborted) this.#tools.note("info", `${this.name} is connected to the broker again`);
        tries = 0;
        this.current = channel;
        this.why = undefined;
        up();
        this.#wake();
        await closed;
      } catch (thrown) {
        this.why = thrown;
        if (tries === 0 && !stop.aborted)
          this.#tools.note("warn", `${this.name} cannot be set up`, { error: wordsOf(thrown) });
        void channel?.close().catch(() => {});
      }
      this.current = undefined;
      down(faultOf(this.why));
      await pause(backoff(tries, this.#tools.random), stop);
    }
  }

  /** Resolves when the channel is of no use any more. */
  #watch(channel: Channel): Promise<void> {
    return new Promise((resolve) => {
      channel.on("close", resolve);
      channel.on("error", (error) => {
        this.why = error;
        this.#tools.note("warn", `${this.name} lost its channel`, { error: wordsOf(error) });
      });
      channel.on("basic.cancel", () => {
        this.why = new Error("the queue was deleted");
        this.#tools.note("warn", `${this.name} was cancelled by the broker: its queue was deleted, and is made anew`);
        void channel.close().catch(() => {});
        resolve();
      });
    });
  }

  #wake(): void {
    for (const done of this.#waiting.splice(0)) done();
  }
}

/** Exponential, and spread, so that not all come back at once. */
export function backoff(tries: number, random: () => number): number {
  return Math.min(RETRY.most, RETRY.least * 2 ** Math.min(tries, 16)) * (0.5 + random() / 2);
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/** What the broker says of its own errors (AMQP 0-9-1 §1.2), as faults. */
const CODES = {
  ACCESS_REFUSED: ["permission_denied", "check the user, the password, and its permissions on the virtual host"],
  NOT_ALLOWED: ["permission_denied", "does the virtual host exist, and may the user use it?"],
  PRECONDITION_FAILED: [
    "failed_precondition",
    "a queue or exchange of this name exists with other settings: remove it, or choose another prefix",
  ],
  RESOURCE_LOCKED: ["failed_precondition", "another connection holds a queue of this name for itself"],
  NOT_FOUND: ["unavailable", "a queue or exchange was deleted; it is declared again"],
} as const;

export function faultOf(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  const code = (thrown as { code?: string } | undefined)?.code ?? "";
  const known = Object.hasOwn(CODES, code) ? CODES[code as keyof typeof CODES] : undefined;
  if (!known) return lost("the connection to the broker is lost", thrown);
  return new Fault(known[0], `the broker refuses: ${wordsOf(thrown)}`, { hint: known[1], cause: thrown });
}

function lost(message: string, cause: unknown, detail?: { readonly sent: false }): Fault {
  const why = cause === undefined ? "" : `: ${wordsOf(cause)}`;
  return new Fault("unavailable", message + why, { cause, ...(detail && { detail }) });
}

function throwLost(thrown: unknown): never {
  throw lost("the broker has not confirmed the message", thrown);
}

/** The driver's messages name no credentials. */
function wordsOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return [code, message ?? toFault(error).message].filter(Boolean).join(": ").slice(0, 300);
}
