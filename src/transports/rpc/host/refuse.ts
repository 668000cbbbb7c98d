/** Answers to requests that reach no handler: each in the form that its protocol's clients read. */
import { Code } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { protocolOf, type RpcProtocol } from "./caller.ts";

/** Reached by a name (421, RFC 9110 §15.5.20), or from a page (403), that may not. */
export function forbidden(
  status: 403 | 421,
  { message, hint }: { readonly message: string; readonly hint: string },
  contentType: string | null | undefined,
): UniversalServerResponse {
  const protocol = protocolOf(contentType);
  if (protocol !== "connect") return grpcStatus(protocol, `${message}: ${hint}`, Code.PermissionDenied);
  return json(status, "application/json", { code: "permission_denied", message: `${message}: ${hint}` });
}

/** No such method. gRPC says so as a status, with HTTP's 200; the clients of Connect read 404 the same way. */
export function notFound(path: string, contentType: string | null | undefined): UniversalServerResponse {
  const message = `there is no method ${path.slice(0, 256)}`;
  const protocol = protocolOf(contentType);
  if (protocol !== "connect") return grpcStatus(protocol, message);
  return json(404, "application/json", { code: "unimplemented", message });
}

/** RFC 9110 §15.5.16: `Accept-Post` says what is taken. */
export function unsupportedType(
  handler: UniversalHandler,
  contentType: string | null | undefined,
  spoken: readonly RpcProtocol[],
): UniversalServerResponse {
  const types = typesOf(handler, spoken).join(", ");
  const message = `a body of ${contentType?.slice(0, 64) || "no type"} is not taken here: send Content-Type ${types}`;
  return problem(415, "invalid_argument", message, { "accept-post": types });
}

/** RFC 9110 §15.5.6: `Allow` is required. */
export function notAllowed(handler: UniversalHandler, method: string): UniversalServerResponse {
  const allow = handler.allowedMethods.join(", ");
  return problem(405, "unimplemented", `${method} is not possible here: use ${allow}`, { allow });
}

/** gRPC sent to a listener that cannot send trailers: a status in the header fields is all that can be said. */
export function needsTrailers(where: string | undefined): UniversalServerResponse {
  const hint = where === undefined ? "use gRPC-Web or Connect" : `call ${where}, or use gRPC-Web or Connect`;
  return grpcStatus("grpc", `this port cannot send the trailers of gRPC: ${hint}`);
}

/** What a method takes, by its kind and by the protocols that are spoken. */
function typesOf({ method, protocolNames }: UniversalHandler, spoken: readonly RpcProtocol[]): string[] {
  const connect = method.methodKind === "unary" ? "application/" : "application/connect+";
  const types: Record<RpcProtocol, readonly string[]> = {
    connect: [`${connect}json`, `${connect}proto`],
    "grpc-web": ["application/grpc-web", "application/grpc-web+json"],
    grpc: ["application/grpc", "application/grpc+json"],
  };
  return spoken.filter((protocol) => protocolNames.includes(protocol)).flatMap((protocol) => types[protocol]);
}

/**
 * Problem details (RFC 9457), as of the HTTP transport. Not the JSON of a Connect error: it would have to name a
 * code, and for these statuses its clients are to take the one that the status stands for.
 */
function problem(
  status: number,
  code: string,
  detail: string,
  fields: Record<string, string>,
): UniversalServerResponse {
  const body = { type: `urn:backtalk:fault:${code}`, title: code, status, detail, code, retryable: false };
  return json(status, "application/problem+json", body, fields);
}

function json(status: number, type: string, body: unknown, fields?: Record<string, string>): UniversalServerResponse {
  const header = new Headers({ "content-type": type, "x-content-type-options": "nosniff", ...fields });
  return { status, header, body: once(new TextEncoder().encode(JSON.stringify(body))) };
}

/** "Trailers-Only": the status is among the header fields, and nothing follows. */
function grpcStatus(protocol: RpcProtocol, message: string, code = Code.Unimplemented): UniversalServerResponse {
  const header = new Headers({
    "content-type": protocol === "grpc" ? "application/grpc" : "application/grpc-web",
    "grpc-status": String(code),
    // Percent-encoded, of which a URI's encoding is a stricter form.
    "grpc-message": encodeURI(message),
  });
  return { status: 200, header };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
