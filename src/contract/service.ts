/**
 * What a user writes: a service of methods and topics. gRPC's four kinds of methods, each with the schemas
 * of what goes in and out, and a handler. `input` is always what the caller sends (one, or each of many),
 * `item` what is streamed back, `output` the one result.
 */
import type { Cursor } from "../log/cursor.ts";
import { Fault } from "../log/fault.ts";
import { checkOptions } from "./options.ts";
import type { Principal, Trace } from "./peer.ts";
import type { AnySchema, InputOf, OutputOf } from "./schema.ts";

export type MethodKind = "unary" | "serverStream" | "clientStream" | "bidi";

/** Folds a log into the state that it stands for, so that a reader can join without its beginning. */
export interface Fold<Item, State> {
  readonly initial: State;
  /** Pure; state must be JSON. */
  readonly step: (state: State, item: Item) => State;
}

export interface MethodOptions {
  /** For people and for the generated descriptions. */
  readonly description?: string;
  /** Has no effects (RFC 9110 §9.2.1): reachable by GET and QUERY, cached, run from early data. Unary only. */
  readonly safe?: boolean;
  /** `Cache-Control` of a safe method's answers (default `no-cache`: stored, and asked again by ETag). */
  readonly cacheControl?: string;
  /**
   * When a call gets a log in the store. `auto` (default): streams always, unary calls when the caller asks
   * for a handle or gives a key; `always`; `never`: its log lives in memory and ends with the process.
   */
  readonly recorded?: "auto" | "always" | "never";
  /** After a restart of the server: `fail` (default) ends an unfinished call with `unavailable`; `retry` starts it again. */
  readonly onRestart?: "fail" | "retry";
  /** Most attempts of a call with `onRestart: "retry"` (default 5), so that one that kills the server ends. */
  readonly maxAttempts?: number;
  /**
   * When the caller goes away: `detach` lets the call go on, `cancel` aborts it. Default: `detach` for a
   * recorded call, to which the caller can come back; `cancel` for one that nobody could hear any more.
   */
  readonly onDisconnect?: "detach" | "cancel";
  /** Milliseconds after which a call fails with `deadline_exceeded`; a caller can only shorten it. */
  readonly deadlineMs?: number;
  /**
   * Its calls wait in a queue of the broker for `backtalk worker` processes, on any machine, instead of running
   * in the server (default false; `serve --amqp`). Such a call is always recorded. `onRestart` and `maxAttempts`
   * then mean the worker: one that is lost while it runs the call. One input only (unary and server streaming).
   */
  readonly queue?: boolean;
}

export type Awaitable<T> = T | Promise<T>;

/** What a handler knows of its call. */
export interface HandlerCall<Progress = never> {
  /** Undefined when the call is not recorded. */
  readonly id: string | undefined;
  readonly method: string;
  /** After a restart only its id is left: scopes and claims are not kept. */
  readonly principal: Principal;
  /** 1, and one more for each restart. */
  readonly attempt: number;
  /** Aborts on cancel, on the deadline, when the caller has gone (`onDisconnect: "cancel"`), on shutdown. Its reason is a Fault. */
  readonly signal: AbortSignal;
  readonly deadline: number | undefined;
  readonly trace: Trace | undefined;
  /** Tells how far it got. Validated; lost when the call is not recorded. @throws Fault `internal` when not valid */
  progress(value: Progress): void;
  /** Publishes to a topic of a service on the same server. With a key at most once. Resolves when it is stored. */
  publish<E extends AnySchema>(
    topic: Topic<E>,
    event: InputOf<E>,
    options?: { readonly key?: string },
  ): Promise<Cursor>;
  /** The items and progress that earlier attempts of this call have said, oldest first: to go on instead of beginning again. */
  history(): AsyncIterable<{ readonly kind: "item" | "progress"; readonly data: unknown }>;
}

// biome-ignore lint/suspicious/noExplicitAny: handlers of all types are kept in one table; the builders below give each its types
type AnyHandler = (input: any, call: HandlerCall<any>) => any;

/** A method as the core sees it. The type parameters are what the client's types are inferred from. */
export interface Method<
  K extends MethodKind = MethodKind,
  I extends AnySchema = AnySchema,
  O extends AnySchema = AnySchema,
  P extends AnySchema = AnySchema,
> {
  readonly type: "method";
  readonly kind: K;
  readonly input: I;
  /** The output, or each item of a stream. */
  readonly output: O;
  readonly progress: P | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: see AnyHandler
  readonly fold: Fold<any, any> | undefined;
  readonly options: MethodOptions;
  readonly handler: AnyHandler;
}

export interface TopicOptions {
  readonly description?: string;
  /** What is kept: at most so many events (default 100,000), bytes (default 64 MiB), and for so long (default 24 h). */
  readonly retain?: { readonly events?: number; readonly bytes?: number; readonly ageMs?: number };
  /** Whether clients may publish (default true), besides handlers on the server; `authorize` may say more. */
  readonly open?: boolean;
}

export interface Topic<E extends AnySchema = AnySchema> {
  readonly type: "topic";
  readonly event: E;
  // biome-ignore lint/suspicious/noExplicitAny: see AnyHandler
  readonly fold: Fold<any, any> | undefined;
  readonly options: TopicOptions;
}

export interface SubscriberOptions {
  readonly description?: string;
  /** Where a subscriber that is new begins (default `start`). */
  readonly from?: "start" | "now";
  /** Most tries of one event before it is given up and logged (default 5), with backoff between. */
  readonly maxAttempts?: number;
}

/** A durable reader of a topic on the server: at least once, in order, from its own stored cursor. */
export interface Subscriber {
  readonly type: "subscriber";
  readonly topic: Topic;
  readonly options: SubscriberOptions;
  // biome-ignore lint/suspicious/noExplicitAny: see AnyHandler
  readonly handler: (event: any, call: HandlerCall & { readonly cursor: Cursor }) => Awaitable<void>;
}

export type Member = Method | Topic | Subscriber;
/**
 * Says less than `Member` on purpose: inside `service(name, { ... })` the compiler would else take the widest
 * type from here for what the user has left out, such as `progress`.
 */
export type Members = Readonly<Record<string, { readonly type: Member["type"] }>>;

export interface Service<N extends string = string, M extends Members = Members> {
  readonly name: N;
  readonly members: M;
}

/** Names are part of addresses and of generated code, so they are identifiers. */
const NAME = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
/** Taken by addresses and by the client. */
const RESERVED = new Set([
  "calls",
  "topics",
  "streams",
  "webhooks",
  "attach",
  "backtalk",
  "ws",
  "healthz",
  "readyz",
  "metrics",
  "close",
  "then",
]);

export function service<const N extends string, const M extends Members>(name: N, members: M): Service<N, M> {
  checkName(name, "service");
  if (RESERVED.has(name))
    throw new Fault("invalid_argument", `a service cannot be called "${name}": the name is taken`);
  for (const [member, value] of Object.entries(members)) {
    checkName(member, `member of ${name}`);
    if (TYPES.has(value?.type)) continue;
    throw new Fault("invalid_argument", `${name}.${member} is not a member of a service`, {
      hint: "make it with unary(), serverStream(), clientStream(), bidi(), topic() or subscriber()",
    });
  }
  return { name, members };
}

const TYPES: ReadonlySet<string> = new Set<Member["type"]>(["method", "topic", "subscriber"]);

function checkName(name: string, what: string): void {
  if (NAME.test(name)) return;
  throw new Fault("invalid_argument", `not a name for a ${what}: ${JSON.stringify(name)}`, {
    hint: "use a letter, then at most 63 letters, digits or _",
  });
}

/** One in, one out. */
export function unary<I extends AnySchema, O extends AnySchema, P extends AnySchema = never>(
  options: MethodOptions & { readonly input: I; readonly output: O; readonly progress?: P },
  handler: (input: OutputOf<I>, call: HandlerCall<InputOf<P>>) => Awaitable<InputOf<O>>,
): Method<"unary", I, O, P> {
  return method("unary", options, options?.output, handler);
}

/** One in, many out. */
export function serverStream<I extends AnySchema, O extends AnySchema, P extends AnySchema = never, S = never>(
  options: MethodOptions & {
    readonly input: I;
    readonly item: O;
    readonly progress?: P;
    readonly fold?: Fold<OutputOf<O>, S>;
  },
  handler: (input: OutputOf<I>, call: HandlerCall<InputOf<P>>) => AsyncIterable<InputOf<O>> | Iterable<InputOf<O>>,
): Method<"serverStream", I, O, P> {
  return method("serverStream", options, options?.item, handler);
}

/** Many in, one out. */
export function clientStream<I extends AnySchema, O extends AnySchema, P extends AnySchema = never>(
  options: MethodOptions & { readonly input: I; readonly output: O; readonly progress?: P },
  handler: (items: AsyncIterable<OutputOf<I>>, call: HandlerCall<InputOf<P>>) => Awaitable<InputOf<O>>,
): Method<"clientStream", I, O, P> {
  return method("clientStream", options, options?.output, handler);
}

/** Many in, many out. */
export function bidi<I extends AnySchema, O extends AnySchema, P extends AnySchema = never, S = never>(
  options: MethodOptions & {
    readonly input: I;
    readonly item: O;
    readonly progress?: P;
    readonly fold?: Fold<OutputOf<O>, S>;
  },
  handler: (items: AsyncIterable<OutputOf<I>>, call: HandlerCall<InputOf<P>>) => AsyncIterable<InputOf<O>>,
): Method<"bidi", I, O, P> {
  return method("bidi", options, options?.item, handler);
}

/** A named log with many writers and many readers, each with its own cursor. */
export function topic<E extends AnySchema, S = never>(
  options: TopicOptions & { readonly event: E; readonly fold?: Fold<OutputOf<E>, S> },
): Topic<E> {
  checkOptions("topic", options);
  const { event, fold, ...rest } = options;
  return { type: "topic", event, fold, options: rest };
}

export function subscriber<E extends AnySchema>(
  topic: Topic<E>,
  handler: (event: OutputOf<E>, call: HandlerCall & { readonly cursor: Cursor }) => Awaitable<void>,
  options: SubscriberOptions = {},
): Subscriber {
  if (topic?.type !== "topic" || typeof handler !== "function") {
    throw new Fault("invalid_argument", "subscriber needs a topic and a handler", {
      hint: "give what topic() has returned, then a function",
    });
  }
  checkOptions("subscriber", options);
  return { type: "subscriber", topic: topic as unknown as Topic, options, handler };
}

function method<K extends MethodKind, I extends AnySchema, O extends AnySchema, P extends AnySchema>(
  kind: K,
  options: MethodOptions & {
    readonly input: I;
    readonly progress?: P;
    readonly item?: unknown;
    readonly output?: unknown;
    // biome-ignore lint/suspicious/noExplicitAny: see AnyHandler
    readonly fold?: Fold<any, any>;
  },
  output: O,
  handler: AnyHandler,
): Method<K, I, O, P> {
  if (typeof handler !== "function") {
    throw new Fault("invalid_argument", "a method without a handler", { hint: "give a function after the options" });
  }
  checkOptions(kind, options);
  const { input, progress, item: _item, output: _output, fold, ...rest } = options;
  if (rest.safe && kind !== "unary") {
    throw new Fault("invalid_argument", "only a unary method can be safe", { hint: "leave out `safe`" });
  }
  return { type: "method", kind, input, output, progress, fold, options: rest, handler };
}
