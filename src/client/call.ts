/** What a method's call gives back: something to await, or to iterate, or a handle. */
import { CALLS, type Call, type CallState } from "../contract/peer.ts";
import { Fault, faultFromJson } from "../log/fault.ts";
import type { Cursor, LogEvent, Place } from "../log/index.ts";
import { Linked } from "../transports/http/client-request.ts";
import { LogReading } from "./reading.ts";
import { Attempt, type Context, Final } from "./retry.ts";
import { Session } from "./session.ts";
import type { CallEvent, CallHandle, CallOptions, ReadOptions } from "./types.ts";
import { upload } from "./upload.ts";

/** One use of a method, before it is known how it is used. */
export interface Use {
  readonly context: Context;
  /** `service/method`. */
  readonly to: string;
  readonly input: unknown;
  readonly options: CallOptions;
}

/**
 * What a method returns at once. Nothing tells the client what kind a method is, so the use decides: to
 * iterate makes a stream of it, anything else a call for its result. It begins in any case before the next
 * task, so that a call that nobody waits for is made too.
 */
export class Pending implements Promise<unknown>, AsyncIterable<unknown> {
  readonly [Symbol.toStringTag] = "Promise";
  readonly #use: Use;
  #result: Promise<unknown> | undefined;
  #isIterated = false;

  constructor(use: Use) {
    this.#use = use;
    // A result that nobody looks at must not become an unhandled rejection.
    queueMicrotask(() => {
      if (!this.#isIterated) this.#await().catch(() => {});
    });
  }

  // biome-ignore lint/suspicious/noThenProperty: to be awaited is what it is for
  then<T, U>(
    ok?: ((value: unknown) => T | PromiseLike<T>) | null,
    bad?: ((reason: unknown) => U | PromiseLike<U>) | null,
  ) {
    return this.#await().then(ok, bad);
  }

  catch<U>(bad?: ((reason: unknown) => U | PromiseLike<U>) | null) {
    return this.#await().catch(bad);
  }

  finally(run?: (() => void) | null) {
    return this.#await().finally(run);
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    if (this.#result || this.#isIterated) {
      throw new Fault("failed_precondition", "this call has been made already, and not to be iterated now", {
        hint: "iterate where you call, or use `start` and its `events`",
      });
    }
    this.#isIterated = true;
    return iterate(this.#use);
  }

  #await(): Promise<unknown> {
    if (this.#isIterated)
      return Promise.reject(new Fault("failed_precondition", "this call is iterated: it has no result"));
    this.#result ??= resultOf(this.#use);
    return this.#result;
  }
}

async function resultOf(use: Use): Promise<unknown> {
  const { context, input, options } = use;
  if (isItems(input) || options.key !== undefined || options.keep || options.retry) return keptResult(use);
  const scope = new Linked(options.signal, context.closing);
  const call = { ...callOf(use, false), signal: scope.signal };
  const stop = expire(context, scope, call.deadline);
  try {
    const attempt = new Attempt(context, scope.signal, false);
    return await attempt.run(
      () => false,
      async () => (await context.peer(call)).result(scope.signal),
    );
  } finally {
    stop();
    scope.release();
  }
}

async function keptResult(use: Use): Promise<unknown> {
  const { input, options } = use;
  const { session, close } = open(use, options.keep === true || isItems(input));
  try {
    const result = session.result();
    if (!isItems(input)) return await result;
    result.catch(() => {});
    // That all items are sent decides nothing: only a fault of theirs does.
    const failed = new Promise<never>((_, reject) => {
      upload(session, input).catch((thrown: unknown) => {
        session.scope.abort(thrown);
        reject(thrown);
      });
    });
    return await Promise.race([failed, result]);
  } finally {
    if (session.scope.signal.aborted && !canComeBack(options)) session.abandon();
    close();
  }
}

function iterate(use: Use): AsyncIterator<unknown> {
  const { input, options } = use;
  const { session, close } = open(use, isItems(input));
  let failure: { readonly thrown: unknown } | undefined;
  if (isItems(input)) {
    upload(session, input).catch((thrown: unknown) => {
      failure = { thrown };
      session.scope.abort(thrown);
    });
  }
  const reading = new LogReading(session, {
    from: "start",
    onVerdict: options.onVerdict,
    map: ({ kind, json }) => {
      if (kind === "fail") throw new Final(faultFromJson(JSON.parse(json)));
      // Wrapped: an item may be anything JSON has, `null` included.
      return kind === "item" ? { item: JSON.parse(json) as unknown } : undefined;
    },
    onLeave: () => {
      if (!canComeBack(options)) session.abandon();
    },
  });
  const items = reading[Symbol.asyncIterator]();
  return {
    async next() {
      try {
        const { done, value } = await items.next();
        if (done) close();
        return done ? { done, value: undefined } : { done: false, value: value.item };
      } catch (thrown) {
        close();
        throw failure ? failure.thrown : thrown;
      }
    },
    async return() {
      await items.return?.();
      close();
      return { done: true, value: undefined };
    },
  };
}

/** Makes the call, and comes back when the server has it. */
export async function start(use: Use): Promise<CallHandle> {
  const { context, to, input, options } = use;
  const session = new Session(context, callOf(use, true), options.signal);
  await session.use((exchange) => {
    if (exchange.id === undefined) throw new Fault("unimplemented", `${to} does not record its calls`);
  });
  const handle = new Handle(session, options);
  if (isItems(input)) upload(session, input).catch(() => session.abandon());
  return handle;
}

/** A call that exists, by its id or URL. */
export function attach(context: Context, base: string, idOrUrl: string, options: ReadOptions = {}): CallHandle {
  const id = idOf(base, idOrUrl);
  return new Handle(
    new Session(context, { to: CALLS + id, principal: context.principal, via: VIA }, options.signal),
    options,
  );
}

class Handle implements CallHandle {
  readonly id: string;
  readonly events: LogReading<CallEvent>;
  progress: unknown;
  readonly #session: Session;
  #result: Promise<unknown> | undefined;
  /** The end, when it was read. */
  #end: CallEvent | undefined;

  constructor(session: Session, { after = "start", onVerdict }: ReadOptions) {
    this.#session = session;
    this.id = session.id!;
    this.events = new LogReading(session, { from: after as Place, onVerdict, map: (event) => this.#saw(event) });
  }

  get url(): string {
    return `${this.#session.context.base}/calls/${encodeURIComponent(this.id)}`;
  }

  get cursor(): Cursor | undefined {
    return this.events.cursor;
  }

  get result(): Promise<unknown> {
    if (!this.#result) {
      this.#result = this.#settle();
      this.#result.catch(() => {});
    }
    return this.#result;
  }

  async state(): Promise<CallState> {
    const state = await this.#session.state();
    if (state.progress !== undefined) this.progress = state.progress;
    return state;
  }

  cancel(): Promise<void> {
    return this.#session.cancel();
  }

  detach(): void {
    this.#session.scope.abort(new Fault("cancelled", "detached: the call goes on", { hint: "come back with its id" }));
  }

  async #settle(): Promise<unknown> {
    const end = this.#end;
    if (end?.kind === "end") return end.data.result;
    if (end?.kind === "fail") throw faultFromJson(end.data);
    return this.#session.result();
  }

  #saw({ cursor, kind, json, at }: LogEvent): CallEvent {
    const event = { cursor, kind, data: JSON.parse(json) as unknown, at } as CallEvent;
    if (kind === "progress") this.progress = event.data;
    if (kind === "end" || kind === "fail") this.#end = event;
    return event;
  }
}

/** A call that is sent again after a break, so it has a key. */
function open(use: Use, keep: boolean): { readonly session: Session; readonly close: () => void } {
  const call = callOf({ ...use, options: { ...use.options, key: use.options.key ?? newKey() } }, keep);
  const session = new Session(use.context, call, use.options.signal);
  const stop = expire(use.context, session.scope, call.deadline);
  const close = (): void => {
    stop();
    session.scope.abort(new Fault("cancelled", "the call is over here"));
  };
  return { session, close };
}

function callOf({ context, to, input, options }: Use, keep: boolean): Call {
  const { key = keep ? newKey() : undefined, timeoutMs, trace } = options;
  return {
    to,
    principal: context.principal,
    via: VIA,
    // Absent it would open a stream of items over HTTP; the server reads it as this anyway.
    ...(!isItems(input) && { input: input === undefined ? {} : input }),
    ...(key !== undefined && { key }),
    ...(keep && { keep }),
    ...(timeoutMs !== undefined && { deadline: context.env.now() + timeoutMs }),
    ...(trace && { trace }),
  };
}

/** Ends the waiting when the deadline has passed, also when nobody answers. */
function expire({ env }: Context, scope: Linked, deadline: number | undefined): () => void {
  if (deadline === undefined) return () => {};
  return env.after(deadline - env.now(), () => scope.abort(new Fault("deadline_exceeded", "the deadline passed")));
}

function canComeBack({ key, keep }: CallOptions): boolean {
  return key !== undefined || keep === true;
}

function isItems(input: unknown): input is AsyncIterable<unknown> {
  return typeof input === "object" && input !== null && Symbol.asyncIterator in input;
}

function idOf(base: string, idOrUrl: string): string {
  if (!idOrUrl.includes("/")) return idOrUrl;
  const prefix = `${base}/calls/`;
  if (idOrUrl.startsWith(prefix)) return decodeURIComponent(idOrUrl.slice(prefix.length));
  throw new Fault("invalid_argument", `not a call of this server: ${idOrUrl}`, { hint: `it begins with ${prefix}` });
}

/** Not enough entropy is never risked: two calls with one key would be one. */
export function newKey(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  // A page that is not secure has no randomUUID.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const VIA = "client";
