/** One server: questions are sent, sent again, and given up (PROTOCOL.md §6.2). */
import { type Fault, faultFromJson, toFault } from "../../log/fault.ts";
import {
  bodyObject,
  DATAGRAM,
  type Datagram,
  encodeDatagram,
  HEADER_BYTES,
  jsonBytes,
  parseDatagram,
  TOKEN_BYTES,
} from "../../wire/datagram.ts";
import { abortFault, closed, deadlineFault, inTheClear, nobody, restarted, silent, tooLarge } from "./client-faults.ts";
import { ClientSocket, type Lookup } from "./client-socket.ts";
import { Window } from "./client-window.ts";

/** Time as a parameter: `now` in milliseconds, never going back; `after` gives what stops it. */
export interface Clock {
  now(): number;
  after(ms: number, run: () => void): () => void;
}

export interface LineOptions {
  readonly host: string;
  readonly port: number;
  /** Whether credentials may go to other machines, in the clear. */
  readonly isOpen: boolean;
  readonly lookup: Lookup;
  readonly clock: Clock;
  readonly random: () => number;
  readonly trace: ((direction: "*" | ">" | "<", text: string) => void) | undefined;
}

export interface Ask {
  readonly body: Readonly<Record<string, unknown>>;
  /** Asking again does nothing twice, also after a restart of the server. */
  readonly isSafe: boolean;
  /** Where no more than this is waited for. */
  readonly signals: readonly (AbortSignal | undefined)[];
  /** Milliseconds until the call must have ended. */
  readonly timeoutMs?: number | undefined;
}

/** What a `result` says. */
export interface Told {
  readonly result?: unknown;
  readonly call?: string;
  readonly replayed?: boolean;
  readonly state?: unknown;
}

/** A fault of the server, and the call that it is of. */
export class Refusal {
  readonly fault: Fault;
  readonly call: string | undefined;

  constructor(fault: Fault, call: string | undefined) {
    this.fault = fault;
    this.call = call;
  }
}

export const DATAGRAM_BYTES = 1_200;
/** Most times that a question is sent without hearing anything. */
const SENDS = 6;
/**
 * Nothing is repeated later than this after its first sending, or after what was heard last, in milliseconds: the
 * server knows what it answered for 150 s, and a datagram may be on its way for the rest of them.
 */
const SPAN_MS = 60_000;
/** While the call runs: how long to be silent before asking again, in milliseconds. */
const PATIENCE = [2_000, 4_000, 8_000, 15_000] as const;
/** Most tokens that are tried for one question: a server whose tokens never hold is none. */
const RETRIES = 8;

interface Waiting {
  readonly id: string;
  readonly ask: Ask;
  readonly bytes: Uint8Array<ArrayBuffer>;
  resolve(told: Told): void;
  reject(fault: Fault | Refusal): void;
  /** Since something was heard. */
  sends: number;
  /** The first of them, or when the server said last that it runs. */
  sinceAt: number;
  sentAt: number;
  /** When it was first sent with a token: from then on it may have run. */
  provenAt: number | undefined;
  /** With which it is sent; another only after a `retry` that allows it. */
  token: Uint8Array | undefined;
  retries: number;
  /** How often it was asked while it runs; undefined when nothing was heard of that. */
  running: number | undefined;
  refusals: number;
  isRefused: boolean;
  stop: () => void;
}

export class Line {
  readonly #options: LineOptions;
  readonly #window: Window;
  readonly #queue: Waiting[] = [];
  /** Those that were sent, by id. */
  readonly #sent = new Map<string, Waiting>();
  readonly #socket: ClientSocket;
  #token: Uint8Array | undefined;
  #isClosed = false;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#window = new Window(options.random);
    this.#socket = new ClientSocket({
      ...options,
      received: (bytes) => this.#received(bytes),
      refused: (thrown) => this.#refused(thrown),
    });
  }

  /** @throws Fault, or a Refusal of the server */
  async ask(ask: Ask): Promise<Told> {
    const bytes = jsonBytes(ask.body);
    const most = DATAGRAM_BYTES - HEADER_BYTES - TOKEN_BYTES;
    if (bytes.length > most) throw tooLarge(bytes.length, most);
    for (const signal of ask.signals) if (signal?.aborted) throw abortFault(signal);
    if (this.#isClosed) throw closed();
    await this.#socket.open();
    const { token, apiKey } = ask.body as { token?: string; apiKey?: string };
    if ((token !== undefined || apiKey !== undefined) && !this.#options.isOpen && !this.#socket.isHere) {
      throw inTheClear();
    }
    return new Promise((resolve, reject) => this.#begin(ask, bytes, resolve, reject));
  }

  close(): void {
    this.#isClosed = true;
    this.#failAll(() => closed());
    this.#socket.close();
  }

  #begin(
    ask: Ask,
    bytes: Uint8Array<ArrayBuffer>,
    resolve: (told: Told) => void,
    reject: (thrown: Fault) => void,
  ): void {
    const { clock } = this.#options;
    const id = this.#newId();
    const stopWaiting = (fault: Fault): void => {
      if (this.#sent.has(id)) this.#socket.send(encodeDatagram(DATAGRAM.stop, id, undefined, waiting.token));
      waiting.reject(fault);
    };
    const onAbort = ({ target }: Event): void => stopWaiting(abortFault(target as AbortSignal));
    const untime =
      ask.timeoutMs === undefined ? () => {} : clock.after(ask.timeoutMs, () => waiting.reject(deadlineFault()));
    const over = (): void => {
      waiting.stop();
      untime();
      for (const signal of ask.signals) signal?.removeEventListener("abort", onAbort);
      this.#sent.delete(id);
      const at = this.#queue.indexOf(waiting);
      if (at !== -1) this.#queue.splice(at, 1);
      this.#pump();
    };
    const waiting: Waiting = {
      id,
      ask,
      bytes,
      resolve: (told) => {
        over();
        resolve(told);
      },
      reject: (fault) => {
        over();
        reject(fault as Fault);
      },
      sends: 0,
      sinceAt: 0,
      sentAt: 0,
      provenAt: undefined,
      token: undefined,
      retries: 0,
      running: undefined,
      refusals: 0,
      isRefused: false,
      stop: () => {},
    };
    for (const signal of ask.signals) signal?.addEventListener("abort", onAbort);
    this.#queue.push(waiting);
    this.#pump();
  }

  /** Sends what the window has room for. */
  #pump(): void {
    let open = 0;
    for (const { running } of this.#sent.values()) if (running === undefined) open++;
    for (; open < this.#window.size && this.#queue.length > 0; open++) {
      const next = this.#queue.shift()!;
      this.#sent.set(next.id, next);
      this.#transmit(next);
    }
    // A program that waits for nothing may end.
    this.#socket.hold(this.#sent.size > 0);
  }

  #transmit(waiting: Waiting): void {
    const { clock, trace } = this.#options;
    waiting.stop();
    waiting.sends++;
    waiting.sentAt = clock.now();
    if (waiting.sends === 1 && waiting.running === undefined) waiting.sinceAt = waiting.sentAt;
    // Always the same: with the token of a server that was started meanwhile it would be run again.
    waiting.token ??= this.#token;
    const { token } = waiting;
    waiting.isRefused = false;
    if (token) waiting.provenAt ??= waiting.sentAt;
    trace?.(">", `ask ${waiting.id}${token ? "" : " without a token"} ${withoutSecrets(waiting.ask.body)}`);
    this.#socket.send(encodeDatagram(DATAGRAM.ask, waiting.id, waiting.bytes, token));
    const waitMs =
      waiting.running === undefined
        ? this.#window.waitMs(waiting.sends)
        : this.#window.jittered(PATIENCE[Math.min(waiting.running++, PATIENCE.length - 1)]!);
    waiting.stop = clock.after(waitMs, () => this.#late(waiting));
  }

  #late(waiting: Waiting): void {
    if (waiting.running === undefined && waiting.sends === 1) this.#window.lost(this.#options.clock.now());
    const { sends, sinceAt } = waiting;
    if (sends < SENDS && this.#options.clock.now() - sinceAt <= SPAN_MS) {
      this.#transmit(waiting);
      return;
    }
    waiting.reject(silent(sends, waiting.provenAt !== undefined));
  }

  #received(bytes: Uint8Array): void {
    const datagram = parseDatagram(bytes);
    const waiting = datagram && this.#sent.get(datagram.id);
    if (!datagram || !waiting) return;
    const { clock, trace } = this.#options;
    // Not of what was sent more than once: nobody knows which of them was answered (Karn; RFC 6298 §3).
    if (waiting.sends === 1 && waiting.running === undefined) this.#window.measured(clock.now() - waiting.sentAt);
    waiting.refusals = 0;
    const json = bodyObject(datagram.body);
    if (!json) return;
    trace?.("<", `${NAMES[datagram.type]} ${datagram.id} ${new TextDecoder().decode(datagram.body)}`);
    switch (datagram.type) {
      case DATAGRAM.result:
        waiting.resolve(json as Told);
        return;
      case DATAGRAM.fault: {
        const { call } = json;
        waiting.reject(new Refusal(faultFromJson(json["fault"]), typeof call === "string" ? call : undefined));
        return;
      }
      case DATAGRAM.retry:
        this.#retried(waiting, datagram, json["sinceMs"]);
        return;
      case DATAGRAM.running:
        waiting.sends = 0;
        waiting.sinceAt = clock.now();
        if (waiting.running !== undefined) return;
        waiting.running = 0;
        waiting.stop();
        waiting.stop = clock.after(this.#window.jittered(PATIENCE[0]), () => this.#late(waiting));
        this.#pump();
    }
  }

  /** The server has not run it, and gives a token. Whether it was run before is the question. */
  #retried(waiting: Waiting, { token }: Datagram, sinceMs: unknown): void {
    if (token.length === 0 || token.length > TOKEN_BYTES || ++waiting.retries > RETRIES) return;
    const sinceProvenMs = waiting.provenAt === undefined ? -1 : this.#options.clock.now() - waiting.provenAt;
    // A copy: the memory of what was received is the platform's.
    this.#token = Uint8Array.from(token);
    if (!waiting.ask.isSafe && sinceProvenMs >= (typeof sinceMs === "number" ? sinceMs : 0)) {
      waiting.reject(restarted());
      return;
    }
    // The answer to an older copy: the newer one is on its way.
    if (waiting.token && same(waiting.token, token)) return;
    waiting.token = this.#token;
    waiting.sends = 0;
    waiting.running = undefined;
    this.#transmit(waiting);
  }

  /** ICMP: nobody listens there. One such message is not believed (RFC 8085 §5.2), two in a row are. */
  #refused(thrown: unknown): void {
    // Nobody has answered yet, and there is another address to ask.
    if (!this.#token && this.#socket.hasNext) {
      this.#move();
      return;
    }
    for (const waiting of [...this.#sent.values()]) {
      if (waiting.isRefused) continue;
      waiting.isRefused = true;
      if (++waiting.refusals < 2) continue;
      waiting.reject(nobody(`${this.#options.host}:${this.#options.port}`, waiting.provenAt !== undefined, thrown));
    }
  }

  async #move(): Promise<void> {
    try {
      await this.#socket.move();
      for (const waiting of this.#sent.values()) {
        waiting.sends = 0;
        this.#transmit(waiting);
      }
    } catch (thrown) {
      this.#failAll(() => toFault(thrown));
    }
  }

  #failAll(fault: () => Fault): void {
    for (const waiting of [...this.#queue, ...this.#sent.values()]) waiting.reject(fault());
  }

  #newId(): string {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

const NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(DATAGRAM).map(([name, type]) => [type, name]),
);

function withoutSecrets({ token, apiKey, ...body }: Readonly<Record<string, unknown>>): string {
  const hidden = { ...(token !== undefined && { token: "..." }), ...(apiKey !== undefined && { apiKey: "..." }) };
  return JSON.stringify({ ...body, ...hidden });
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
