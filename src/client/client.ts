/** The caller's side of services, typed by them and by nothing else. */
import { ANONYMOUS, compose, TOPICS } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import { httpPeer } from "../transports/http/client-peer.ts";
import { Linked } from "../transports/http/client-request.ts";
import { attach, newKey, Pending, start, type Use } from "./call.ts";
import { pause, platformEnvironment } from "./environment.ts";
import { LADDER } from "./fallback.ts";
import { Link } from "./link.ts";
import { LogReading } from "./reading.ts";
import type { Context } from "./retry.ts";
import { Session } from "./session.ts";
import { Tokens } from "./tokens.ts";
import type { CallOptions, CallsQuery, Client, ClientOptions, MakePeer, ReadOptions, TopicEvent } from "./types.ts";

export function clientOver<S>(url: string, options: ClientOptions, connect?: MakePeer): Client<S> {
  const base = url.replace(/\/+$/, "");
  const env = options.environment ?? platformEnvironment();
  const closing = new AbortController();
  const tokens = options.token === undefined ? undefined : new Tokens(options.token);
  const link = linkOf(base, options, connect, env, tokens, closing.signal);
  const context: Context = {
    peer: compose(options.layers ?? [])(link.peer),
    principal: ANONYMOUS,
    base,
    env,
    tokens,
    attempts: options.attempts,
    closing: closing.signal,
    isUnsent: (fault) => link.isUnsent(fault),
    onRetry: (retry) => options.onRetry?.({ ...retry, transport: link.transport }),
  };
  const own: Record<string, unknown> = {
    topics: members((name) => topicOf(context, name)),
    attach: (id: string, read?: ReadOptions) => attach(context, base, id, read),
    calls: (query: CallsQuery = {}) =>
      new Pending({ context, to: "backtalk/calls", input: query, options: { retry: false } }),
    close() {
      closing.abort(new Fault("cancelled", "the client was closed"));
      link.close();
    },
    // What awaits a client, or returns it from an async function, must not take it for a promise.
    // biome-ignore lint/suspicious/noThenProperty: it is there to be undefined
    then: undefined,
  };
  const services = (name: string): unknown => members((member) => methodOf(context, `${name}/${member}`));
  return members((name) =>
    name === "transport" ? link.transport : name in own ? own[name] : services(name),
  ) as Client<S>;
}

function methodOf(context: Context, to: string): unknown {
  const use = (input: unknown, options: CallOptions = {}): Use => ({ context, to, input, options });
  const method = (input: unknown, options?: CallOptions) => new Pending(use(input, options));
  return Object.assign(method, {
    start: (input: unknown, options?: CallOptions) => start(use(input, options)),
    attach: (id: string, options?: ReadOptions) => attach(context, context.base, id, options),
  });
}

function topicOf(context: Context, name: string): unknown {
  const call = { to: TOPICS + name, principal: context.principal, via: "client" };
  return {
    subscribe({ after = "now", signal, onVerdict }: ReadOptions = {}) {
      return new LogReading<TopicEvent>(new Session(context, call, signal), {
        from: after,
        isTopic: true,
        onVerdict,
        map: ({ cursor, at, json }) => ({ cursor, at, data: JSON.parse(json) as unknown }),
      });
    },
    async publish(event: unknown, { key = newKey(), signal, timeoutMs }: CallOptions = {}) {
      const scope = new Linked(signal);
      const stop = timeoutMs === undefined ? undefined : context.env.after(timeoutMs, () => scope.abort(late()));
      try {
        const session = new Session(context, call, scope.signal);
        const { cursor, duplicate } = await session.use((exchange) => exchange.append({ items: [event], key }));
        return { cursor, duplicate };
      } finally {
        stop?.();
        scope.release();
      }
    },
  };
}

function linkOf(
  url: string,
  options: ClientOptions,
  connect: MakePeer | undefined,
  env: Context["env"],
  tokens: Tokens | undefined,
  closing: AbortSignal,
): Link {
  // What a transport does not know of the options it ignores; the token it gets from `tokens` only.
  const { transport = "auto", token: _, ...shared } = options;
  const isOwn = typeof transport === "function";
  const make = isOwn ? transport : (options.WebSocket ?? globalThis.WebSocket) && connect;
  const ladder = isOwn ? (["own"] as const) : transport !== "auto" ? [transport] : make ? LADDER : LADDER.slice(1);
  return new Link({
    clock: env,
    ladder,
    http: (mode) =>
      httpPeer({
        ...shared,
        url,
        mode,
        clock: env,
        pause: (ms, signal, isReader) => pause(env, ms, signal ?? closing, isReader),
        ...(tokens && { token: () => tokens.get() }),
      }),
    connect(report) {
      if (make) return make({ ...shared, ...report, url, ...(tokens && { token: (renew) => tokens.get(renew) }) });
      throw new Fault("unimplemented", "there is no WebSocket here", {
        hint: "give its constructor as an option, or use another transport",
      });
    },
  });
}

/** An object that makes its members when they are first asked for. */
function members(make: (name: string) => unknown): unknown {
  const made = new Map<string, unknown>();
  return new Proxy(Object.create(null), {
    get(_, name) {
      if (typeof name !== "string" || name === "then") return undefined;
      // Not kept: it changes.
      if (name === "transport") return make(name);
      if (!made.has(name)) made.set(name, make(name));
      return made.get(name);
    },
  });
}

function late(): Fault {
  return new Fault("deadline_exceeded", "the deadline passed");
}
