/**
 * The client half of UDP (PROTOCOL.md §6): a peer for unary calls that fit into a datagram each way. For Node, Bun and
 * Deno. What UDP does not carry is `unimplemented`, and nothing is sent.
 */
import {
  type AppendedItems,
  CALLS,
  type Call,
  type CallState,
  type Exchange,
  type Peer,
  TOPICS,
  type Wait,
} from "../../contract/peer.ts";
import { Fault, faultFromJson } from "../../log/fault.ts";
import type { Page } from "../../log/index.ts";
import { type Ask, type Clock, Line, Refusal, type Told } from "./client-line.ts";
import { type Lookup, systemLookup } from "./client-socket.ts";
import { UDP_PORT } from "./properties.ts";

export type { Clock } from "./client-line.ts";

export interface UdpPeerOptions {
  /** `udp://host:port`; without a port 4470. */
  readonly url: string;
  /** Goes with each question, readable for everybody on the way. A function is asked for each. */
  readonly token?: string | (() => string | Promise<string>);
  readonly apiKey?: string;
  /** Sends credentials to other machines too (default false: only to this one). */
  readonly insecureCredentials?: boolean;
  readonly clock?: Clock;
  /** The addresses of a host (default the system's). */
  readonly lookup?: Lookup;
  /** Milliseconds since 1970, for deadlines (default `Date.now`). */
  readonly now?: () => number;
  readonly random?: () => number;
  readonly trace?: (direction: "*" | ">" | "<", text: string) => void;
}

export interface UdpPeer extends Peer {
  close(): void;
}

/** @throws Fault `invalid_argument` for an address that is none */
export function udpPeer(options: UdpPeerOptions): UdpPeer {
  const { clock = CLOCK, random = Math.random, lookup = systemLookup, trace } = options;
  const isOpen = options.insecureCredentials === true;
  const line = new Line({ ...placeOf(options.url), isOpen, lookup, clock, random, trace });
  const ask: Asker = async (question, call) => {
    const { token, apiKey } = options;
    const bearer = typeof token === "function" ? await token() : token;
    const body = { ...question.body, token: bearer, apiKey };
    return line.ask({ ...question, body, signals: [call.signal, ...question.signals] });
  };
  const peer: Peer = (call) => {
    if (call.to.startsWith(TOPICS)) throw unimplemented("topics are not carried over UDP");
    const exchange = new UdpExchange(ask, call, clock, options.now ?? Date.now, random);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
  return Object.assign(peer, { close: () => line.close() });
}

type Asker = (ask: Ask, call: Call) => Promise<Told>;

/** How often the state of a call is asked for while somebody waits for something new, in milliseconds. */
const POLLS = [50, 100, 250, 500, 1_000, 2_000, 5_000] as const;

class UdpExchange implements Exchange {
  id: string | undefined;
  replayed = false;
  /** Whether the call has still to be made. */
  isNew: boolean;
  readonly #ask: Asker;
  readonly #call: Call;
  readonly #clock: Clock;
  readonly #now: () => number;
  readonly #random: () => number;
  #stop = new AbortController();

  constructor(ask: Asker, call: Call, clock: Clock, now: () => number, random: () => number) {
    this.#ask = ask;
    this.#call = call;
    this.#clock = clock;
    this.#now = now;
    this.#random = random;
    this.isNew = !call.to.startsWith(CALLS);
    this.id = this.isNew ? undefined : call.to.slice(CALLS.length);
  }

  /** Makes the call without waiting for more than its id. */
  async open(signal?: AbortSignal): Promise<this> {
    if (this.isNew) await this.#make(true, signal);
    return this;
  }

  async result(signal?: AbortSignal): Promise<unknown> {
    // A call without an id is made anew, as over any transport: the caller knows what that means.
    if (this.id === undefined) return (await this.#make(false, signal)).result;
    const state = await this.#until((each) => each.state !== "running", undefined, signal);
    if (state.fault) throw faultFromJson(state.fault);
    return state.result;
  }

  // biome-ignore lint/correctness/useYield: there is nothing to read, and the fault has to come from the iterator
  async *read(): AsyncGenerator<Page> {
    throw unimplemented("events are not read over UDP");
  }

  async state({ after, waitMs, signal }: Wait = {}): Promise<CallState> {
    await this.open(signal);
    if (waitMs === undefined) return this.#state(signal);
    const isNew = (each: CallState) => each.state !== "running" || (after !== undefined && each.cursor !== after);
    return this.#until(isNew, waitMs, signal);
  }

  async append(): Promise<AppendedItems> {
    throw unimplemented("items are not sent over UDP");
  }

  async cancel(): Promise<void> {
    if (this.id === undefined) this.#stop.abort(new Fault("cancelled", "the call was cancelled"));
    else await this.#tell({ body: { cancel: this.id }, isSafe: true, signals: [] });
  }

  async #make(isKept: boolean, signal: AbortSignal | undefined): Promise<Told> {
    const { to, input, key, deadline, trace } = this.#call;
    const timeoutMs = deadline === undefined ? undefined : Math.max(1, Math.ceil(deadline - this.#now()));
    const keep = isKept || this.#call.keep || undefined;
    const body = { method: to, input, key, keep, timeoutMs, ...trace };
    this.#stop = new AbortController();
    const signals = [signal, this.#stop.signal];
    // Of a call that is kept its id is waited for, which has no deadline but that of the network.
    const told = await this.#tell({
      body,
      isSafe: key !== undefined,
      signals,
      ...(!keep && timeoutMs !== undefined && { timeoutMs }),
    });
    this.isNew = false;
    return told;
  }

  async #tell(ask: Ask): Promise<Told> {
    try {
      const told = await this.#ask(ask, this.#call);
      this.id ??= told.call;
      this.replayed ||= told.replayed === true;
      return told;
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      this.id ??= thrown.call;
      throw thrown.fault;
    }
  }

  async #state(signal: AbortSignal | undefined): Promise<CallState> {
    if (this.id === undefined) {
      throw new Fault("failed_precondition", "this call is not recorded: there is nothing to come back to");
    }
    const { state } = await this.#tell({ body: { state: this.id }, isSafe: true, signals: [signal] });
    return state as CallState;
  }

  /** Asks again and again, less and less often. */
  async #until(
    isEnough: (state: CallState) => boolean,
    waitMs = Number.POSITIVE_INFINITY,
    signal?: AbortSignal,
  ): Promise<CallState> {
    const endAt = this.#clock.now() + waitMs;
    for (let polls = 0; ; polls++) {
      const state = await this.#state(signal);
      const leftMs = endAt - this.#clock.now();
      if (isEnough(state) || leftMs <= 0) return state;
      const pauseMs = POLLS[Math.min(polls, POLLS.length - 1)]! * (1 + this.#random() / 2);
      await this.#pause(Math.min(leftMs, pauseMs), signal, this.#call.signal);
    }
  }

  /** Ends early when a signal aborts: the next question says why. */
  #pause(ms: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        stop();
        for (const signal of signals) signal?.removeEventListener("abort", done);
        resolve();
      };
      const stop = this.#clock.after(ms, done);
      for (const signal of signals) signal?.addEventListener("abort", done);
      if (signals.some((signal) => signal?.aborted)) done();
    });
  }
}

const CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** @throws Fault `invalid_argument` */
function placeOf(text: string): { host: string; port: number } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isBare = url && /^\/?$/.test(url.pathname) && url.search === "" && url.hash === "" && url.username === "";
  if (url?.protocol !== "udp:" || url.hostname === "" || !isBare) {
    throw new Fault("invalid_argument", `not an address for UDP: ${JSON.stringify(text)}`, {
      hint: `write it as udp://host:port (port ${UDP_PORT} when it is left out)`,
    });
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port === "" ? UDP_PORT : Number(url.port) };
}

function unimplemented(message: string): Fault {
  return new Fault("unimplemented", message, {
    hint: "UDP carries unary calls: use another transport, such as websocket, sse or tcp; a recorded call is read there by its id",
  });
}
