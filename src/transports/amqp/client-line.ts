/** A client's connection: its own queue for answers, and the requests that wait for some. */
import { Fault, faultFromJson } from "../../log/fault.ts";
import type { Cursor, LogEvent, Page, Verdict } from "../../log/index.ts";
import { Broker } from "./broker.ts";
import type { Channel, Message, TlsOptions } from "./driver.ts";
import type { Line } from "./line.ts";
import { FRAMES, FRAMES_TYPE, type Names, namesOf, PREFIX, parseUrl } from "./names.ts";

export interface AmqpPeerOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: string;
  readonly tls?: TlsOptions;
  /** What the names on the broker begin with (default `backtalk`). */
  readonly prefix?: string;
  /** Sent with each request as `Authorization: Bearer`. */
  readonly token?: string;
  /** Sent with each request as `X-API-Key`. */
  readonly apiKey?: string;
  /** Silence after which a request counts as lost, in milliseconds (default 60,000): no server takes it. */
  readonly silenceMs?: number;
  /** Events that are asked for at once (default 256). */
  readonly window?: number;
  readonly trace?: (direction: "*" | ">" | "<", text: string) => void;
}

/** What the server says, loosely: it is checked where it is used. */
export interface Answer {
  readonly type: string;
  readonly id?: number;
  readonly call: string;
  readonly replayed?: boolean;
  readonly data?: unknown;
  readonly fault?: unknown;
  readonly events: readonly { cursor: Cursor; kind: LogEvent["kind"]; at: number; data?: unknown }[];
  readonly cursor: Cursor;
  readonly ended?: boolean;
  readonly more?: boolean;
  readonly verdict?: Omit<Verdict, "state"> & { readonly state?: unknown };
  readonly next: number;
}

/** A message that begins an exchange, without its id. */
export interface Opening {
  readonly type: string;
  readonly [member: string]: unknown;
}

export type Handler = (answer: Answer | undefined, fault?: Fault) => void;

interface Asked {
  readonly handler: Handler;
  /** The control queue of the server that answers. */
  server: string | undefined;
  heardAt: number;
  readonly until: number | undefined;
}

const MOST_LEFT = 10_000;

export class ClientLine {
  readonly #options: AmqpPeerOptions;
  readonly #names: Names;
  readonly #asked = new Map<number, Asked>();
  /** Left before the first answer. */
  readonly #left = new Set<number>();
  #broker: Promise<Broker> | undefined;
  #line: Line | undefined;
  #queue: string | undefined;
  #nextId = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  constructor(options: AmqpPeerOptions) {
    this.#options = options;
    parseUrl(options.url);
    this.#names = namesOf(options.prefix ?? PREFIX);
  }

  /** Sends one message of `backtalk.v1` and hears its answers, until `result`, `fault`, `done` or `ack`. */
  ask(message: Opening, handler: Handler): { readonly leave: () => void; readonly over: () => void } {
    const id = this.#nextId++;
    const { timeoutMs } = message;
    const now = performance.now();
    const asked: Asked = {
      handler,
      server: undefined,
      heardAt: now,
      // The server says so itself; but it may never get the request.
      until: typeof timeoutMs === "number" ? now + timeoutMs + 2_000 : undefined,
    };
    this.#asked.set(id, asked);
    this.#watch();
    this.#send(id, message).catch((thrown) => this.#fail(id, thrown as Fault));
    return {
      leave: () => {
        if (this.#asked.delete(id)) void this.#leave(id, asked.server);
      },
      over: () => void this.#asked.delete(id),
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#failAll(new Fault("cancelled", "the client was closed"));
    await (await this.#broker?.catch(() => undefined))?.close();
  }

  async #send(id: number, message: Opening): Promise<void> {
    const { type, ...rest } = message;
    const { token, apiKey, silenceMs = 60_000, trace } = this.#options;
    const broker = await this.#connected();
    if (!this.#asked.has(id)) return;
    const body = JSON.stringify({ type, id, ...rest });
    const method = message["method"];
    // What belongs to no service goes to the one that every server has.
    const routingKey = typeof method === "string" ? method.replace("/", ".") : `backtalk.${type}`;
    const waitMs =
      message["timeoutMs"] ?? (type === "call" || type === "publish" || type === "items" ? undefined : silenceMs);
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(apiKey !== undefined && { "x-api-key": apiKey }),
    };
    trace?.(">", `${routingKey} ${body}`);
    const isRouted = await broker.publish(
      {
        exchange: this.#names.calls,
        routingKey: routingKey.slice(0, 255),
        type: FRAMES,
        contentType: FRAMES_TYPE,
        mandatory: true,
        messageId: crypto.randomUUID(),
        correlationId: String(id),
        replyTo: this.#queue!,
        headers,
        ...(waitMs !== undefined && { expiration: String(Math.ceil(waitMs as number)) }),
      },
      body,
    );
    if (isRouted) return;
    throw new Fault("not_found", `no server on this broker has had a service for ${routingKey.slice(0, 128)}`, {
      detail: { sent: false },
      hint: `is it served with --amqp on this broker, with the same prefix?`,
    });
  }

  async #leave(id: number, server: string | undefined): Promise<void> {
    if (server === undefined) {
      // Nobody has taken it yet that is known: whoever does will hear of it.
      if (this.#left.size >= MOST_LEFT) this.#left.clear();
      this.#left.add(id);
      return;
    }
    const broker = await this.#broker?.catch(() => undefined);
    if (!broker || this.#queue === undefined) return;
    const envelope = {
      routingKey: server,
      type: "leave",
      replyTo: this.#queue,
      correlationId: String(id),
      durable: false,
    };
    await broker.publish(envelope, "").catch(() => {});
  }

  /** @throws Fault `unavailable` */
  async #connected(): Promise<Broker> {
    if (this.#isClosed) throw new Fault("cancelled", "the client was closed");
    this.#broker ??= this.#connect();
    const broker = await this.#broker;
    if (this.#line?.current) return broker;
    // Lost, and being connected again: for as long as a first connection may take.
    await this.#line?.channel(AbortSignal.timeout(10_000));
    return broker;
  }

  async #connect(): Promise<Broker> {
    const { url, tls, trace } = this.#options;
    try {
      const broker = await Broker.open({ url, tls, name: "backtalk client" });
      trace?.("*", `connected to ${broker.shown}`);
      this.#line = broker.line("the queue of answers", (channel) => this.#listen(broker, channel));
      await this.#line.first;
      return broker;
    } catch (thrown) {
      this.#broker = undefined;
      throw thrown;
    }
  }

  async #listen(broker: Broker, channel: Channel): Promise<void> {
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true, autoDelete: true });
    channel.on("close", () => {
      if (!this.#isClosed)
        this.#failAll(new Fault("unavailable", `the connection to the broker ${broker.shown} was lost`));
    });
    await channel.basicConsume({ queue, noAck: true }, (message) => this.#received(message));
    this.#queue = queue;
  }

  #received({ body, correlationId, replyTo }: Message): void {
    const text = typeof body === "string" ? body : body instanceof Uint8Array ? new TextDecoder().decode(body) : "";
    this.#options.trace?.("<", text);
    const id = Number(correlationId);
    const asked = this.#asked.get(id);
    if (!asked) {
      if (this.#left.delete(id)) void this.#leave(id, replyTo);
      return;
    }
    asked.heardAt = performance.now();
    asked.server = replyTo ?? asked.server;
    const answer = JSON.parse(text) as Answer;
    if (answer.type === "ping") return;
    if (answer.type === "fault") this.#fail(id, faultFromJson(answer.fault));
    else {
      if (answer.type === "result" || answer.type === "done" || answer.type === "ack") this.#asked.delete(id);
      asked.handler(answer);
    }
  }

  /** One timer for all: who waits hears of a server at least every heartbeat. */
  #watch(): void {
    const { silenceMs = 60_000 } = this.#options;
    this.#timer ??= setInterval(
      () => {
        const now = performance.now();
        for (const [id, { heardAt, until }] of this.#asked) {
          if (until !== undefined && now > until) {
            this.#fail(id, new Fault("deadline_exceeded", "the deadline passed before an answer came"));
          } else if (now - heardAt > silenceMs) {
            this.#fail(
              id,
              new Fault("unavailable", `nothing was heard for ${silenceMs} ms: no server takes the request`),
            );
          }
        }
        if (this.#asked.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
      Math.min(1_000, silenceMs / 4),
    );
  }

  #fail(id: number, fault: Fault): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.handler(undefined, fault);
  }

  #failAll(fault: Fault): void {
    for (const id of [...this.#asked.keys()]) this.#fail(id, fault);
  }
}

/** After a redelivery of the request events come again: those that were seen are left out. */
export function toPage({ verdict, events, cursor }: Answer, seen: string): Page {
  const isReset = verdict !== undefined && verdict.verdict !== "recovered";
  const isPlace = seen === "start" || seen === "now" || isReset;
  const unseen = isPlace ? events : events.filter((event) => event.cursor > seen);
  const kind = events.at(-1)?.kind;
  const { state, ...told } = verdict ?? {};
  return {
    ...(verdict && { verdict: { ...(told as Verdict), ...(state !== undefined && { state: JSON.stringify(state) }) } }),
    events: unseen.map(({ cursor, kind, at, data }) => ({ cursor, kind, json: JSON.stringify(data ?? null), at })),
    cursor: isPlace || cursor > seen ? cursor : (seen as Cursor),
    more: false,
    ended: kind === "end" || kind === "fail",
  };
}
