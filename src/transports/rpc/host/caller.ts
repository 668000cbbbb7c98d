/** Who sent a request, for the handlers: what only the listener knows. */
import { type ContextKey, type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";

export type RpcProtocol = "connect" | "grpc-web" | "grpc";

export interface RpcCaller {
  /** The network address of the other side, without its port. */
  readonly address: string | undefined;
  readonly via: RpcProtocol;
}

const NOBODY: RpcCaller = Object.freeze({ address: undefined, via: "connect" });

/** `context.values.get(callerKey)` in a handler or an interceptor. The header fields are `context.requestHeader`. */
export const callerKey: ContextKey<RpcCaller> = createContextKey(NOBODY, { description: "caller" });

export function callerValues(caller: RpcCaller): ContextValues {
  return createContextValues().set(callerKey, caller);
}

/** By the media type, as the handlers choose; what has none of gRPC's is taken for Connect. */
export function protocolOf(contentType: string | null | undefined): RpcProtocol {
  if (!contentType?.toLowerCase().startsWith("application/grpc")) return "connect";
  return contentType.toLowerCase().startsWith("application/grpc-web") ? "grpc-web" : "grpc";
}
