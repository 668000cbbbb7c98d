/** What the methods of one server share: how a request becomes a call, and what is counted. */
import type { DescMethod } from "@bufbuild/protobuf";
import { type ConnectRouter, type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";
import { ANONYMOUS, CALLS, type Call, type Exchange, type Host, type Principal } from "../../contract/index.ts";
import { Fault, toFault } from "../../log/index.ts";
import { credentialsIn } from "../../net/credentials.ts";
import { toStatus } from "./faults.ts";
import { callerKey } from "./host/caller.ts";
import type { Unary } from "./host/unary.ts";
import { type Asked, traceIn } from "./metadata.ts";
import { META } from "./metadata-names.ts";

/** What the listener knows of a request besides its caller. */
export interface RpcRequest {
  /** Aborts when the client has gone. That of the context aborts at the deadline too, which is the core's matter. */
  readonly signal: AbortSignal | undefined;
  /** The header is complete: it goes out before the first message, which may be long in coming. */
  readonly opened: ((context: HandlerContext) => void) | undefined;
}

const ALONE: RpcRequest = Object.freeze({ signal: undefined, opened: undefined });

export const requestKey: ContextKey<RpcRequest> = createContextKey(ALONE, { description: "request" });

export class Rpc {
  readonly host: Host;
  /** The implementations of unary methods, for the short way of `unary.ts`. */
  readonly unary = new Map<DescMethod, Unary>();
  /** Streams that are open. */
  #streams = 0;

  constructor(host: Host) {
    this.host = host;
  }

  addUnary(router: ConnectRouter, desc: DescMethod, run: Unary): void {
    this.unary.set(desc, run);
    router.rpc(desc, run as never);
  }

  async principal(context: HandlerContext): Promise<Principal> {
    if (this.host.anonymous) return ANONYMOUS;
    const { requestHeader } = context;
    const { address } = context.values.get(callerKey);
    return this.host.authenticate(credentialsIn((name) => requestHeader.get(name), context.protocolName, address));
  }

  /** Opens or attaches. Its metadata is in the header then. */
  async use(context: HandlerContext, to: string, more: Partial<Call> = {}): Promise<Exchange> {
    const { host } = this;
    const principal = more.principal ?? (await this.principal(context));
    const remaining = context.timeoutMs();
    if (remaining !== undefined && remaining <= 0) {
      throw new Fault("deadline_exceeded", "the deadline of the request has passed before it came");
    }
    const trace = traceIn(context.requestHeader, host.random);
    if (trace) context.responseHeader.set("traceparent", trace.traceparent);
    return host.peer({
      to,
      ...(remaining !== undefined && { deadline: host.now() + remaining }),
      trace,
      signal: context.values.get(requestKey).signal ?? context.signal,
      address: context.values.get(callerKey).address,
      via: context.protocolName,
      ...more,
      principal,
    });
  }

  /** A typed method: opens its call, or finds that of `backtalk-call`. */
  async open(context: HandlerContext, method: string, asked: Asked, call: Partial<Call>): Promise<Exchange> {
    if (asked.call === undefined) {
      const exchange = await this.use(context, method, { ...call, key: asked.key, keep: asked.keep });
      this.tell(context, exchange);
      return exchange;
    }
    const exchange = await this.use(context, CALLS + asked.call, call.principal ? { principal: call.principal } : {});
    const state = await exchange.state();
    if ("method" in state && state.method !== method) {
      throw new Fault("invalid_argument", `the call is one of ${state.method}, not of ${method}`, {
        hint: "go on with the method that it was opened by",
        fields: [{ path: META.call, message: `is a call of ${state.method}` }],
      });
    }
    if ("received" in state && state.received) context.responseHeader.set(META.seq, String(state.received.items));
    this.tell(context, exchange);
    return exchange;
  }

  tell({ responseHeader }: HandlerContext, { id, replayed }: Exchange): void {
    if (id === undefined) return;
    responseHeader.set(META.call, id);
    if (replayed) responseHeader.set(META.replayed, "true");
  }

  /** Sends the header now. */
  flush(context: HandlerContext): void {
    context.values.get(requestKey).opened?.(context);
  }

  status(context: HandlerContext, thrown: unknown) {
    this.host.metrics.add("backtalk_faults_total", `code="${toFault(thrown).code}"`, 1);
    return toStatus(thrown, context.protocolName === "grpc");
  }

  /** @throws Fault when there are too many */
  enter(context: HandlerContext): () => void {
    const { limits, metrics, random, timing } = this.host;
    if (this.#streams >= limits.connections) {
      throw new Fault("resource_exhausted", `${limits.connections} streams are open already`, {
        limit: "connections",
        retryAfterMs: Math.ceil(1000 + random() * timing.spreadMs),
        hint: "come back later, or raise the limit connections of the server",
      });
    }
    const labels = `transport="${context.protocolName}"`;
    this.#streams++;
    metrics.add("backtalk_subscriptions", labels, 1);
    return () => {
      this.#streams--;
      metrics.add("backtalk_subscriptions", labels, -1);
    };
  }
}
