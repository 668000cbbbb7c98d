/** One connection of the client: it waits to open, says who calls, hands out what comes, and tells why it ended. */

import { MOST_TIMER_MS } from "../contract/timer.ts";
import { Fault, faultFromJson } from "../log/fault.ts";
import type { ClientPipe, Dial, FramesPeerOptions } from "./client.ts";
import { type Handler, type Message, type Opening, tooLarge } from "./client-message.ts";

export class Line {
  isOpen = false;
  readonly #options: FramesPeerOptions;
  readonly #pipe: ClientPipe;
  readonly #onDrop: (fault: Fault) => void;
  readonly #handlers = new Map<number, Handler>();
  /** What waits for the connection: the text, and the exchange that it begins. */
  readonly #queue: (readonly [text: string, id: number | undefined])[] = [];
  readonly #watch: ReturnType<typeof setInterval>;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #expiresAt = 0;
  #isKnown = false;
  #bodyBytes = Number.POSITIVE_INFINITY;
  #isOver = false;
  #silence = 0;
  #nextId = 0;
  /** Why the server said that it ends the connection. */
  #last: Fault | undefined;

  constructor(dial: Dial, options: FramesPeerOptions, onDrop: (fault: Fault) => void) {
    this.#options = options;
    this.#onDrop = onDrop;
    this.#pipe = dial({
      message: (text) => this.#received(text),
      closed: (code, reason, fault) => this.drop(fault ?? this.#faultOf(code, reason)),
    });
    // Three turns without a message; the first is the time to connect.
    this.#watch = setInterval(
      () => {
        if (!this.isOpen) this.drop(unopened("the server says nothing"));
        else if (++this.#silence > 2) this.drop(this.#broken("the server fell silent"));
      },
      (options.silenceMs ?? 45_000) / 3,
    );
  }

  /** Begins an exchange. */
  begin(message: Opening, handler: Handler): number {
    const id = this.#nextId++;
    this.#handlers.set(id, handler);
    const { type, ...rest } = message;
    // In this order: then a server can answer even what it cannot read.
    this.send({ type, id, ...rest }, id);
    return id;
  }

  /** With `begins` the exchange that fails when the message cannot be sent. */
  send(message: object, begins?: number): void {
    const text = JSON.stringify(message);
    if (this.isOpen) this.#write(text, begins);
    else this.#queue.push([text, begins]);
  }

  /** Nothing more is heard of it. */
  leave(id: number, type: "leave" | "cancel" = "leave"): void {
    if (this.#handlers.delete(id) && !this.#isOver) this.send({ type, id });
  }

  drop(fault: Fault, code = 4000): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isOpen = false;
    clearInterval(this.#watch);
    clearTimeout(this.#renewal);
    this.#options.trace?.("*", `closed: ${fault.message}`);
    this.#pipe.close(code);
    // First, so that whoever tries again at once gets a new connection.
    this.#onDrop(fault);
    const handlers = [...this.#handlers.values()];
    this.#handlers.clear();
    for (const handler of handlers) handler(undefined, fault);
  }

  async #auth(token: NonNullable<FramesPeerOptions["token"]>, renew: boolean): Promise<void> {
    try {
      const text = JSON.stringify({ type: "auth", token: typeof token === "string" ? token : await token(renew) });
      if (this.#isOver) return;
      this.#options.trace?.(">", '{"type":"auth",...}');
      this.#pipe.send(text);
      if (!renew) this.#opened();
    } catch (thrown) {
      if (!renew) this.drop(thrown instanceof Fault ? thrown : this.#broken("no token could be had", thrown));
    }
  }

  #opened(): void {
    this.isOpen = true;
    this.#options.onOpen?.();
    for (const [text, begins] of this.#queue.splice(0)) this.#write(text, begins);
  }

  #write(text: string, begins: number | undefined): void {
    // A character is one to three bytes of UTF-8.
    if (begins !== undefined && text.length * 3 > this.#bodyBytes && new Blob([text]).size > this.#bodyBytes) {
      const handler = this.#handlers.get(begins);
      this.#handlers.delete(begins);
      queueMicrotask(() => handler?.(undefined, tooLarge()));
      return;
    }
    this.#options.trace?.(">", text);
    this.#pipe.send(text);
  }

  #received(text: string): void {
    this.#options.trace?.("<", text);
    this.#silence = 0;
    try {
      this.#taken(JSON.parse(text) as Message);
    } catch (cause) {
      // An exception here would be nobody's: of the socket, and the end of the program.
      this.drop(this.#broken("the server sent what cannot be read", cause));
    }
  }

  #taken(message: Message): void {
    const { type, id, retryAfterMs, reason, expiresAt } = message;
    const handler = id !== undefined && this.#handlers.get(id);
    if (handler) {
      if (type === "result" || type === "fault" || type === "done") this.#handlers.delete(id);
      if (type === "fault") handler(undefined, faultFromJson(message.fault));
      else handler(message);
    } else if (type === "ping") this.send({ type: "pong" });
    else if (type === "welcome") {
      this.#bodyBytes = message.limits.bodyBytes;
      const { token } = this.#options;
      if (token === undefined) this.#opened();
      else this.#auth(token, false);
    } else if (type === "auth") {
      this.#isKnown = true;
      if (expiresAt !== undefined) this.#renewAt(expiresAt);
    } else if (type === "goaway") {
      this.#last = this.#broken(`the server goes: ${reason}`, undefined, { close: reason ?? "", retryAfterMs });
    } else if (type === "fault" && id === undefined) this.#last = faultFromJson(message.fault);
  }

  #renewAt(expiresAt: number): void {
    const { token, now = Date.now } = this.#options;
    const ms = expiresAt - now();
    // The same credential again would be the same answer again.
    if (typeof token !== "function" || expiresAt <= this.#expiresAt || ms > MOST_TIMER_MS) return;
    this.#expiresAt = expiresAt;
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => this.#auth(token, true), Math.max(ms - 30_000, ms / 2));
  }

  #faultOf(code: number, reason: string): Fault {
    const last = this.#last;
    // With a credential that has expired meanwhile something may have been done: it is no refusal.
    if (code === 4401 && this.#isKnown) return this.#broken("the credential has expired", last, { close: "expired" });
    if (code === 1009) return tooLarge();
    if (last && (code === 4401 || code === 1008 || last.detail?.["close"] !== undefined)) return last;
    // RFC 6455 §7.1.5: closed without a word, which is all that a browser tells of a socket that did not open.
    if (code === 1006 && !this.isOpen && !last) return unopened("the socket did not open (1006)");
    return this.#broken(`the socket was closed: ${code}${reason && ` ${reason}`}`, last);
  }

  #broken(
    message: string,
    cause?: unknown,
    { close, retryAfterMs }: { close?: string; retryAfterMs?: number | undefined } = {},
  ): Fault {
    return new Fault("unavailable", message, {
      cause,
      retryAfterMs,
      // Before it was open nothing of the exchanges was sent.
      ...(close !== undefined ? { detail: { close } } : this.isOpen ? {} : { detail: { sent: false } }),
    });
  }
}

/** Nothing of any exchange was sent. */
function unopened(message: string): Fault {
  return new Fault("unavailable", message, {
    hint: "is the address right (with TLS or without, and the port), and is it one of a Backtalk server?",
    detail: { sent: false },
  });
}
