/**
 * Connect and gRPC-Web on the HTTP listeners, over HTTP/1.1, 2 and 3, beside everything else: an RPC's path has
 * a dot in its first segment, `/package.Service/Method`, which no other address has. gRPC itself needs trailers,
 * which `Bun.serve` cannot send: it has a listener of its own (listener.ts).
 */
import { type ConnectError, cors } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Limits } from "../../../contract/index.ts";
import type { Answer, HttpServer, Mount } from "../../../net/mount.ts";
import { RequestBody } from "./body.ts";
import { callerValues, protocolOf } from "./caller.ts";
import { Incoming } from "./incoming.ts";
import { needsTrailers, notAllowed, notFound, unsupportedType } from "./refuse.ts";
import { byPath, type Handlers, hasOneInput } from "./router.ts";
import { Whole } from "./whole.ts";

export interface RpcMountOptions {
  readonly limits: Pick<Limits, "bodyBytes" | "bodyMs">;
  /** The listener's idle timeout in seconds: connections get it back after each call (default 60). */
  readonly idleSeconds?: number;
  /** Where gRPC is spoken, for those who try it here. */
  readonly grpcUrl?: () => string | undefined;
  /** Hears of what no handler has caught: a defect. */
  readonly onDefect?: (thrown: unknown, path: string) => void;
}

/** It answers by itself alone. */
export interface RpcMount extends Mount {
  fetch(request: Request, server: HttpServer): Answer;
}

export function rpcMount(handlers: Handlers, options: RpcMountOptions): RpcMount {
  const methods = byPath(handlers);
  const { limits, idleSeconds = 60, onDefect } = options;

  const respond = async (handler: UniversalHandler, request: Request, server: HttpServer): Promise<Response> => {
    const via = protocolOf(request.headers.get("content-type"));
    const isUnary = handler.method.methodKind === "unary";
    const incoming = new Incoming(request);
    // A call may be silent for long; how long its body may take is looked after here, not by the platform.
    server.timeout(request, 0);
    const done = () => {
      incoming.cancel();
      server.timeout(request, idleSeconds);
    };
    const body = new RequestBody(incoming.chunks(), {
      isEnveloped: via !== "connect" || !isUnary,
      maxBytes: limits.bodyBytes,
      isOne: hasOneInput(handler),
      withinMs: limits.bodyMs,
    });
    try {
      const answer = await handler({
        // Unknown to a request here. A stream in both directions works over HTTP/1.1 too, one way after the other.
        httpVersion: "",
        method: request.method,
        url: request.url,
        header: request.headers,
        body,
        signal: request.signal,
        contextValues: callerValues({ address: server.requestIP(request)?.address, via }),
      });
      const isRead = !isUnary || (!body.isLate && (await incoming.discard()));
      const response = await toResponse(answer, isUnary, done);
      return isRead ? response : closeAfter(response);
    } catch (thrown) {
      done();
      // Nobody hears the answer any more.
      if (request.signal.aborted) return new Response(null, { status: 499 });
      onDefect?.(thrown, pathOf(request.url));
      throw thrown;
    }
  };

  const refuse = async (answer: UniversalServerResponse, request: Request): Promise<Response> => {
    const incoming = new Incoming(request);
    const isRead = await incoming.discard();
    const response = await toResponse(answer, true, () => incoming.cancel());
    return isRead ? response : closeAfter(response);
  };

  return {
    matches: (path) => RPC_PATH.test(path),
    cors: {
      methods: cors.allowedMethods.join(", "),
      accepts: cors.allowedHeaders.join(", ").toLowerCase(),
      exposes: cors.exposedHeaders.join(", ").toLowerCase(),
    },
    fetch(request, server) {
      const path = pathOf(request.url);
      const contentType = request.headers.get("content-type");
      if (protocolOf(contentType) === "grpc") return refuse(needsTrailers(options.grpcUrl?.()), request);
      const handler = methods.get(path);
      if (!handler) return refuse(notFound(path, contentType), request);
      if (!handler.allowedMethods.includes(request.method)) return refuse(notAllowed(handler, request.method), request);
      if (request.method === "POST" && !handler.supportedContentType(contentType))
        return refuse(unsupportedType(handler, contentType, SPOKEN), request);
      return respond(handler, request, server);
    },
  };
}

const SPOKEN = ["connect", "grpc-web"] as const;

/** A package's name has at least one part before the service's (Protobuf, Language Specification: fullIdent). */
const RPC_PATH = /^\/[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\/\w+$/;

function pathOf(url: string): string {
  const start = url.indexOf("/", 8);
  const end = url.indexOf("?", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/** Bun stops reading a body that nobody wants only when the connection closes. Of HTTP/1.1 alone. */
function closeAfter(response: Response): Response {
  response.headers.set("connection", "close");
  return response;
}

/**
 * A unary answer is sent at once, with its length: Bun 1.4.5 sends no header before the first byte of a body, so
 * nothing is lost by waiting for all of it. A stream is asked for as the connection takes it.
 */
async function toResponse(answer: UniversalServerResponse, isUnary: boolean, done: () => void): Promise<Response> {
  const init: ResponseInit = { status: answer.status, ...(answer.header && { headers: answer.header }) };
  if (!answer.body) {
    done();
    return new Response(null, init);
  }
  if (answer.body instanceof Whole) {
    done();
    return new Response(answer.body.bytes as BodyInit, init);
  }
  const chunks = answer.body[Symbol.asyncIterator]();
  if (!isUnary) return new Response(streamOf(chunks, done), init);
  const all: Uint8Array[] = [];
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) all.push(next.value);
  done();
  return new Response((all.length === 1 ? all[0] : Buffer.concat(all)) as BodyInit, init);
}

function streamOf(chunks: AsyncIterator<Uint8Array>, done: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await chunks.next();
          if (!next.done) return controller.enqueue(next.value);
          controller.close();
        } catch (thrown) {
          // The answer breaks off: its reader sees that it has no end.
          controller.error(thrown);
        }
        done();
      },
      /** The reader has gone. */
      async cancel(reason: ConnectError | undefined) {
        done();
        await chunks.throw?.(reason).catch(() => {});
      },
    },
    { highWaterMark: 0 },
  );
}
