/** What a transport's server half needs to serve a peer. The core provides it; transports import nothing of the core. */
import type { Limits } from "./limits.ts";
import type { Call, Peer, Principal } from "./peer.ts";
import type { Method, Topic } from "./service.ts";

/** The methods by `service/method`, and the topics by name. */
export interface Contract {
  readonly methods: ReadonlyMap<string, Method>;
  readonly topics: ReadonlyMap<string, Topic>;
  /** The service that each topic is described with: the first that has it. */
  readonly owners: ReadonlyMap<string, string>;
}

/** What somebody wants to do, for `authorize`. */
export interface Action {
  readonly verb: "call" | "read" | "publish" | "append" | "cancel";
  /** `service/method`, a topic's name, or a call's id. */
  readonly on: "method" | "topic" | "call";
  readonly name: string;
}

/** Whether a principal may. Ownership of calls is checked besides, always. A Fault that it throws is the answer. */
export type Authorize = (principal: Principal, action: Action) => boolean | Promise<boolean>;

/** What a caller shows of itself, whatever the transport. */
export interface Credentials {
  /** Of `Authorization: Bearer`, or of the message `auth`. */
  readonly bearer?: string;
  readonly apiKey?: string;
  /** The address of the other side, without its port. */
  readonly address?: string;
  readonly via: string;
}

/** @throws Fault `unauthenticated` */
export type Authenticate = (credentials: Credentials) => Principal | Promise<Principal>;

/** How long clients and servers wait, in milliseconds; from facts of the field, all configurable. */
export interface Timing {
  /** Silence after which a heartbeat goes out on a WebSocket, and how long its answer may take. */
  readonly heartbeatMs: number;
  readonly graceMs: number;
  /** Silence after which a comment goes out on SSE and an empty line on NDJSON. */
  readonly commentMs: number;
  /** `retry:` of SSE. */
  readonly retryMs: number;
  /** Longest life of one SSE or NDJSON response; then the reader is told to come back. */
  readonly rotateMs: number;
  /** Over how long readers are told to spread their reconnects when the server goes. */
  readonly spreadMs: number;
}

export const TIMING: Timing = Object.freeze({
  heartbeatMs: 25_000,
  graceMs: 20_000,
  commentMs: 15_000,
  retryMs: 1_000,
  rotateMs: 600_000,
  spreadMs: 5_000,
});

export interface Host {
  readonly peer: Peer;
  readonly contract: Contract;
  readonly limits: Limits;
  readonly timing: Timing;
  readonly authenticate: Authenticate;
  /** Asks the operator's `authorize` about what does not go through `peer`. Rejects with a Fault. */
  readonly permit?: (principal: Principal, action: Action) => Promise<void>;
  /**
   * Counts a request for the limit `ratePerSecond`. A call counts by itself, unless it says that it was `counted`.
   * @throws Fault `resource_exhausted`
   */
  count(caller: Pick<Call, "principal" | "address">): void;
  /** Whether nobody has to prove anything: then transports may skip `authenticate`. */
  readonly anonymous: boolean;
  /** Aborts when the server begins to drain: readers are told to come back, held polls are answered. */
  readonly draining: AbortSignal;
  /** Why calls are not accepted now; empty when they are. */
  readonly unready: () => readonly string[];
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly now: () => number;
}

/** Counters and gauges by name and labels, for /metrics. */
export interface Metrics {
  /** Adds to a counter or gauge. `labels` is the Prometheus form without braces, made once: `transport="websocket"`. */
  add(name: string, labels: string, by: number): void;
  /** Prometheus text format 0.0.4. */
  text(): string;
}
