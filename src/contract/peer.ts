/**
 * The narrow waist. Every transport turns what it receives into a `Call` and gives it to a `Peer`; what
 * comes back is an `Exchange`: a log to read and to append to. The server's core, a client and a proxy are
 * all peers; a layer (auth, limits, retry) is a peer around a peer, on either side.
 */

import type { FaultJson } from "../log/fault.ts";
import type { Cursor, Page, ReadAt } from "../log/index.ts";

/** Who calls. `id` names the caller for ownership, keys and limits; the anonymous caller has the id "". */
export interface Principal {
  readonly id: string;
  /** When the proof of identity ends, in milliseconds since 1970: a stream must be renewed by then. */
  readonly expiresAt?: number;
  readonly scopes?: readonly string[];
  /** What else the proof said; for handlers and `authorize`, never logged. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

export const ANONYMOUS: Principal = Object.freeze({ id: "" });

/** W3C Trace Context: the `traceparent` and `tracestate` headers as they are. */
export interface Trace {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/**
 * One use of a peer. `to` is the address: `service/method` opens a call, `calls/ID` attaches to one,
 * `topics/NAME` is the log of a topic.
 */
export interface Call {
  readonly to: string;
  /** For a method with one input. Those with many get them by `Exchange.append`. */
  readonly input?: unknown;
  readonly principal: Principal;
  /** Idempotency key: the same caller, method and key is the same call. At most 255 characters. */
  readonly key?: string | undefined;
  /** The caller wants to come back: the call is recorded from its start and gets an id. */
  readonly keep?: boolean | undefined;
  /** When the call must have ended, in milliseconds since 1970. */
  readonly deadline?: number | undefined;
  /** Aborts when the caller has gone. What that means for the call is the method's `onDisconnect`. */
  readonly signal?: AbortSignal | undefined;
  readonly trace?: Trace | undefined;
  /** The network address of the caller, where known: anonymous callers are limited by it. */
  readonly address?: string | undefined;
  /** It is part of a request that was counted for the limit `ratePerSecond` (`Host.count`). */
  readonly counted?: boolean | undefined;
  /** The transport, for the log and the metrics: `http1`, `websocket`, `memory`, ... */
  readonly via: string;
}

export type CallStateName = "running" | "done" | "failed" | "cancelled";

/** What can be said of a call at once: the answer to a poll. JSON on every transport. */
export interface CallState {
  readonly id: string;
  /** `service/method`. */
  readonly method: string;
  readonly state: CallStateName;
  /** 1, and one more for each restart of the handler. */
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly openedAt: number;
  readonly endedAt?: number;
  /** When a finished call is removed. */
  readonly expiresAt?: number;
  /** Reading after it gives what this state does not know yet. */
  readonly cursor: Cursor;
  readonly progress?: unknown;
  readonly result?: unknown;
  readonly fault?: FaultJson;
  /** For client streaming: how many items have arrived (the next one's number), and whether that was all. */
  readonly received?: { readonly items: number; readonly ended: boolean };
  /** The folded state of all items up to `cursor`, where the method has a `fold`. */
  readonly fold?: unknown;
}

/** What a topic answers to a poll. */
export interface TopicState {
  readonly topic: string;
  readonly first: Cursor;
  readonly cursor: Cursor;
  readonly events: number;
  readonly bytes: number;
  readonly fold?: unknown;
}

export interface AppendItems {
  /** JSON values. */
  readonly items: readonly unknown[];
  /** The number of the first item, from 0; those that arrived before are skipped. Without it they go to the end. */
  readonly seq?: number;
  /** No item comes after these (client streaming only). */
  readonly end?: boolean;
  /** Publish once (topics only). At most 255 characters. */
  readonly key?: string;
}

export interface AppendedItems {
  /** How many items the log of the caller has now: the `seq` to go on with. For a topic 0. */
  readonly next: number;
  /** After the last of the items. */
  readonly cursor: Cursor;
  /** The key was used before, and nothing was appended. */
  readonly duplicate: boolean;
}

export interface Wait {
  /** Hold the answer until there is something after this cursor, or the call has ended. */
  readonly after?: Cursor;
  /** With `after`, of a call whose caller streams: or until it has received another number of items. */
  readonly received?: number;
  /** For at most so long. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * A call or a topic in use. Every method may throw a Fault; nothing else.
 * What an exchange cannot do (cancel a topic, append to a unary call) is `failed_precondition`.
 */
export interface Exchange {
  /** The id to come back with; undefined when the call is not recorded. Of a topic its name. */
  readonly id: string | undefined;
  /** The call existed before: its key was used again. */
  readonly replayed: boolean;
  /** The output of the method; of a stream undefined. Rejects with the call's fault. */
  result(signal?: AbortSignal): unknown;
  read(at: ReadAt): AsyncIterable<Page>;
  state(wait?: Wait): Promise<CallState | TopicState>;
  /** Items of a client stream, or events of a topic. */
  append(items: AppendItems): Promise<AppendedItems>;
  cancel(): Promise<void>;
}

/** Synchronous where it can be: an `await` for nothing is a cost on the fast path. */
export type Peer = (call: Call) => Exchange | Promise<Exchange>;

/** A policy around a peer. */
export type Layer = (next: Peer) => Peer;

/** `compose([a, b])(peer)`: a call passes a, then b, then the peer. */
export function compose(layers: readonly Layer[]): Layer {
  return (peer) => layers.reduceRight((next, layer) => layer(next), peer);
}

export const CALLS = "calls/";
export const TOPICS = "topics/";
