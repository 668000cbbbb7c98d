/** The types of the client, inferred from `typeof service`: nothing is generated, nothing of the server is loaded. */
import type { CallState, CallStateName, Layer, Peer, Trace } from "../contract/peer.ts";
import type { AnySchema, InputOf, OutputOf } from "../contract/schema.ts";
import type { Members, Method, MethodKind, Service, Topic } from "../contract/service.ts";
import type { Fault } from "../log/fault.ts";
import type { Cursor, FaultJson, Place } from "../log/index.ts";
import type { Fetch, Token, WireTrace } from "../transports/http/client-request.ts";
import type { Environment } from "./environment.ts";
import type { Transport } from "./fallback.ts";

export interface ClientOptions {
  /**
   * `auto` (default) begins with WebSocket and falls back to what gets through; any other is the only one used.
   * A function makes a peer of another kind, such as `tcpPeer` of `backtalk/tcp`.
   */
  readonly transport?: "auto" | Exclude<Transport, "own"> | MakePeer;
  /** Proof of who calls. A function is asked when the first request is made, and when the server says `unauthenticated`. */
  readonly token?: Token;
  /** Around everything that goes to the server, each try of its own: `compose(layers)`, the first is the outermost. */
  readonly layers?: readonly Layer[];
  /**
   * How often in a row something is tried before its fault is given to the caller (default 4). What the
   * server has recorded is waited for without end, unless this is set: bound it by `timeoutMs` or `signal`.
   */
  readonly attempts?: number;
  /** Further header fields of HTTP requests, such as `X-API-Key`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: Fetch;
  /** The constructor, where the platform has none (Node 20). */
  readonly WebSocket?: typeof WebSocket;
  /** See `HttpPeerOptions`. */
  readonly protocol?: "http1.1" | "http2" | "http3";
  readonly tls?: object;
  readonly waitMs?: number;
  readonly pollMs?: number;
  readonly trace?: WireTrace;
  readonly environment?: Environment;
  /** Called before each wait for another try. */
  readonly onRetry?: (retry: Retry) => void;
}

/** Makes the peer that a client uses alone. It comes back from breaks by itself: the client repeats what may be repeated. */
export type MakePeer = (options: PeerOptions) => Peer & { close?(): void };

/** The options of the client, and what it wants to be told. */
export interface PeerOptions extends Omit<ClientOptions, "transport" | "token" | "layers" | "attempts" | "onRetry"> {
  readonly url: string;
  /** With `true` asked for a new one. */
  readonly token?: (renew?: boolean) => string | Promise<string>;
  readonly onOpen: () => void;
  /** The connection broke, was closed, or could not be opened. What waits for it fails with this very fault. */
  readonly onClose: (fault: Fault) => void;
}

export interface Retry {
  readonly fault: Error;
  /** How many tries have failed in a row. */
  readonly failures: number;
  /** How long it waits, in milliseconds; longer while there is no network. */
  readonly delayMs: number;
  readonly transport: Transport;
}

export interface CallOptions {
  /** Idempotency key: the same caller, method, key and input is the same call. At most 255 characters. */
  readonly key?: string;
  /** How long the call may take, in milliseconds: the server ends it, and the caller stops waiting. */
  readonly timeoutMs?: number;
  /** Stops waiting. A call that nobody can come back to (no `key`, no `keep`) is cancelled. */
  readonly signal?: AbortSignal;
  /** Has the call recorded, so that it outlives this client. */
  readonly keep?: boolean;
  /** Tries a unary call again after a break: a key is made, so that nothing is done twice. */
  readonly retry?: boolean;
  readonly trace?: Trace;
  /** What a resumed reading got, when that is a `gap` or a `reset`. Without it they are a fault `data_loss`. */
  readonly onVerdict?: (verdict: ReadVerdict) => void;
}

export interface ReadOptions extends Pick<CallOptions, "signal" | "onVerdict"> {
  /** Where reading begins: a cursor, `start` (default of a call) or `now` (default of a topic). */
  readonly after?: Place;
}

export interface ReadVerdict {
  readonly verdict: "recovered" | "gap" | "reset";
  readonly from: Place;
  readonly to: Cursor;
  /** What stands for everything up to `to`, where the log has a fold: begin again from it. */
  readonly state?: unknown;
}

interface At {
  readonly cursor: Cursor;
  /** Milliseconds since 1970, by the server's clock; over SSE by this one's, at receipt. */
  readonly at: number;
}

export type CallEvent<Item = unknown, Progress = unknown, Output = unknown> = At &
  (
    | {
        readonly kind: "open";
        readonly data: { readonly id: string; readonly method: string; readonly attempt: number };
      }
    | ([Item] extends [never] ? never : { readonly kind: "item"; readonly data: Item })
    | ([Progress] extends [never] ? never : { readonly kind: "progress"; readonly data: Progress })
    | { readonly kind: "end"; readonly data: { readonly result?: Output } }
    | { readonly kind: "fail"; readonly data: FaultJson }
  );

export interface TopicEvent<Event = unknown> extends At {
  readonly data: Event;
}

/**
 * Events of a log, each once and in order, through any number of breaks. Iterating again goes on where the
 * last iteration stopped. @throws Fault
 */
export interface Reading<Event> extends AsyncIterable<Event> {
  /** The newest verdict; undefined until the server has answered. */
  readonly verdict: ReadVerdict | undefined;
  /** Reading after it gives what has not been taken yet. */
  readonly cursor: Cursor | undefined;
}

/** A recorded call, wherever it was made. */
export interface CallHandle<Item = unknown, Progress = unknown, Output = unknown> {
  readonly id: string;
  readonly url: string;
  /** Of a stream undefined. Rejects with the call's fault. Nothing is asked before it is looked at. */
  readonly result: Promise<Output>;
  readonly events: Reading<CallEvent<Item, Progress, Output>>;
  /** The newest that `events` or `state()` has told. */
  readonly progress: Progress | undefined;
  /** Reading after it gives the events that have not been taken yet. */
  readonly cursor: Cursor | undefined;
  state(): Promise<CallState>;
  /** Ends the call. Harmless when it has ended. */
  cancel(): Promise<void>;
  /** Stops waiting and reading here; the call goes on. */
  detach(): void;
}

// biome-ignore lint/complexity/noBannedTypes: the test is whether nothing has to be given
type Args<Input> = {} extends Input ? [input?: Input, options?: CallOptions] : [input: Input, options?: CallOptions];
/** A method without progress has `never`, or `AnySchema` where the compiler took the bound for it. */
type ProgressOf<P> = [P] extends [never] ? never : AnySchema extends P ? never : OutputOf<P>;

interface MethodClient<A extends unknown[], Returned, Item, Progress, Output> {
  (...args: A): Returned;
  /** Makes the call and comes back as soon as it is recorded. */
  start(...args: A): Promise<CallHandle<Item, Progress, Output>>;
  /** A call of this method made before, by its id or URL. */
  attach(id: string, options?: ReadOptions): CallHandle<Item, Progress, Output>;
}

type Out<O extends AnySchema> = OutputOf<O>;
type In<I extends AnySchema> = InputOf<I>;
type Items<I extends AnySchema> = [items: AsyncIterable<In<I>>, options?: CallOptions];

type ClientOfMethod<K extends MethodKind, I extends AnySchema, O extends AnySchema, P> = {
  unary: MethodClient<Args<In<I>>, Promise<Out<O>>, never, P, Out<O>>;
  serverStream: MethodClient<Args<In<I>>, AsyncIterable<Out<O>>, Out<O>, P, undefined>;
  clientStream: MethodClient<Items<I>, Promise<Out<O>>, never, P, Out<O>>;
  bidi: MethodClient<Items<I>, AsyncIterable<Out<O>>, Out<O>, P, undefined>;
}[K];

export interface TopicClient<In, Out> {
  /** Events from `now`, or from `after`. It never ends by itself. */
  subscribe(options?: ReadOptions): Reading<TopicEvent<Out>>;
  /** Resolves when the event is stored. A key is made when none is given, so that it is published once. */
  publish(
    event: In,
    options?: Pick<CallOptions, "key" | "signal" | "timeoutMs">,
  ): Promise<{ cursor: Cursor; duplicate: boolean }>;
}

type ClientOfService<M extends Members> = {
  readonly [N in keyof M as M[N] extends Method ? N : never]: M[N] extends Method<infer K, infer I, infer O, infer P>
    ? ClientOfMethod<K, I, O, ProgressOf<P>>
    : never;
};

type TopicsOf<M extends Members> = {
  readonly [N in keyof M as M[N] extends Topic ? N : never]: M[N] extends Topic<infer E>
    ? TopicClient<InputOf<E>, OutputOf<E>>
    : never;
};

// biome-ignore lint/suspicious/noExplicitAny: the form that infers an intersection
type Together<U> = (U extends any ? (one: U) => void : never) extends (all: infer All) => void ? All : never;
type EachOf<S> = S extends readonly (infer One)[] ? One : S;
type ServicesOf<S> = Together<S extends Service<infer N, infer M> ? { readonly [K in N]: ClientOfService<M> } : never>;
type AllTopics<S> = Together<S extends Service<string, infer M> ? TopicsOf<M> : never>;

export interface CallsQuery {
  readonly state?: CallStateName;
  /** `service/method`. */
  readonly method?: string;
  /** `next` of the page before. */
  readonly after?: string;
  readonly limit?: number;
}

export interface ClientBase {
  /** Any call of this caller, by its id or URL. */
  attach(id: string, options?: ReadOptions): CallHandle;
  /** This caller's calls, newest first. */
  calls(query?: CallsQuery): Promise<{ calls: CallState[]; next?: string }>;
  /** Ends everything that waits here; recorded calls go on. */
  close(): void;
  /** The transport that the next reading uses. */
  readonly transport: Transport;
}

/** `S` is `typeof service`, a union of several, or a list of them. */
export type Client<S> = ClientBase & ServicesOf<EachOf<S>> & { readonly topics: AllTopics<EachOf<S>> };
