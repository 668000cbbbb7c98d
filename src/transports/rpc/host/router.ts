/** The options that every router of this transport shares: what is taken, and how much of it. */
import type { ConnectRouter, ConnectRouterOptions } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { Limits } from "../../../contract/index.ts";

/** From how many bytes on messages are packed, for those who take it. */
export const PACKED_FROM_BYTES = 1024;

/** For `createConnectRouter`: messages of at most `bodyBytes`, also after they are unpacked. */
export function routerOptions(limits: Pick<Limits, "bodyBytes">) {
  return {
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: limits.bodyBytes,
    compressMinBytes: PACKED_FROM_BYTES,
  } satisfies ConnectRouterOptions;
}

export type Handlers = readonly UniversalHandler[] | Pick<ConnectRouter, "handlers">;

/** The handlers by their path, `/package.Service/Method`. */
export function byPath(handlers: Handlers): ReadonlyMap<string, UniversalHandler> {
  const list = "handlers" in handlers ? handlers.handlers : handlers;
  return new Map(list.map((handler) => [handler.requestPath, handler]));
}

/** Another way to the same method. */
export function like(
  { service, method, requestPath, supportedContentType, protocolNames, allowedMethods }: UniversalHandler,
  answer: (request: UniversalServerRequest) => Promise<UniversalServerResponse>,
): UniversalHandler {
  const facts = { service, method, requestPath, supportedContentType, protocolNames, allowedMethods };
  return Object.assign((request: UniversalServerRequest) => answer(request), facts);
}

/** Whether there is one message in the request: then its body has a time within which it must arrive. */
export function hasOneInput(handler: UniversalHandler): boolean {
  const kind = handler.method.methodKind;
  return kind === "unary" || kind === "server_streaming";
}
