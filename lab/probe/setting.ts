/** What all tries of one probe share: where to, how long, what is trusted, and what it has cost so far. */
import type { Phases } from "./finding.ts";
import { Absent } from "./reason.ts";
import type { Target } from "./target.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface SettingOptions {
  readonly target: Target;
  /** PEM of those who are trusted instead of the usual ones. */
  readonly ca?: string | undefined;
  /** Certificates are told of, and not held against the server. */
  readonly isInsecure: boolean;
  /** Longest time of one try, in milliseconds. */
  readonly timeoutMs: number;
  /** Longest time of all, in milliseconds. */
  readonly overallMs: number;
  readonly signal: AbortSignal;
}

export class Setting {
  /** What is asked for; its path changes to one where there is something. */
  target: Target;
  readonly ca: string | undefined;
  readonly isInsecure: boolean;
  readonly timeoutMs: number;
  readonly meter = new Meter();
  readonly signal: AbortSignal;
  /** Fingerprints of certificates that were trusted. */
  readonly trusted = new Set<string>();
  /** One over TCP was not. */
  hasDistrusted = false;
  /** How long the look-up of the name took; each request tells it as its first phase. */
  namelookupMs = 0;
  /** How long the end of a body is waited for after its head, in milliseconds: some have none. */
  bodyMs = 1_000;
  /** Where TCP goes. */
  address: Address;
  readonly startedAt = performance.now();
  readonly #overallMs: number;

  constructor({ target, ca, isInsecure, timeoutMs, overallMs, signal }: SettingOptions) {
    this.target = target;
    this.ca = ca;
    this.isInsecure = isInsecure;
    this.timeoutMs = timeoutMs;
    this.#overallMs = overallMs;
    this.signal = signal;
    this.address = { host: target.host, port: target.port };
  }

  /** The moment at which a try that starts now has failed, on the clock of `performance.now()`. @throws Absent */
  deadline(ms = this.timeoutMs): number {
    this.signal.throwIfAborted();
    const now = performance.now();
    const end = this.startedAt + this.#overallMs;
    if (now > end - 50) throw new Absent("not_tried", `the ${this.#overallMs / 1000} s for all of it were over`);
    return Math.min(end, now + ms);
  }

  /** A body had no end in time: the next ones of this server are not waited for as long. */
  hasEndlessBody(): void {
    this.bodyMs = 200;
  }

  /** Gives what the promise gives, or fails at the deadline; the work must end by its own line then. @throws Absent */
  async within<T>(work: Promise<T>, deadline: number): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stop: (() => void) | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Absent("timeout")), Math.max(1, deadline - performance.now()));
      stop = () => reject(this.signal.reason);
      this.signal.addEventListener("abort", stop);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
      this.signal.removeEventListener("abort", stop!);
    }
  }
}

/** One request with its answer, as the HAR tells it. */
export interface Told {
  readonly version: string;
  readonly method: string;
  readonly url: string;
  readonly address: string;
  readonly requestFields: readonly (readonly [string, string])[];
  readonly requestBytes: number;
  readonly status: number;
  readonly statusText: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly bodyBytes: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Of a connection that was used before there are only the last two. */
  readonly phases: Phases;
  /** When the request was on its way, in milliseconds since the start. */
  readonly pretransfer: number;
  readonly isReused: boolean;
  readonly what: string;
}

/** What it has cost the other end. */
export class Meter {
  tcpConnections = 0;
  quicConnections = 0;
  bytesSent = 0;
  bytesReceived = 0;
  readonly requests: Told[] = [];
  /** Requests that are not told one by one (gRPC, WebSocket). */
  otherRequests = 0;
}

/** Milliseconds with three digits after the point: a clock has no more. */
export function ms(value: number): number {
  return Math.round(value * 1000) / 1000;
}
