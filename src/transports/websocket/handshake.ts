/** The opening handshake (RFC 6455 §4.2): who may open a socket, and how it is refused. */
import type { Server } from "bun";
import type { Credentials } from "../../contract/index.ts";
import { type Code, Fault, toFault } from "../../log/index.ts";
import { credentialsIn } from "../../net/credentials.ts";
import { SUBPROTOCOL } from "../../wire/frame.ts";
import { isOwnOrigin, type Origins } from "../../wire/origin.ts";

/** A refusal with its status; the rest of the statuses follow from the codes. */
class Refusal extends Fault {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: Code, message: string, hint: string, headers: Record<string, string> = {}) {
    super(code, message, { hint });
    this.status = status;
    this.headers = headers;
  }
}

/** @throws Fault when the request is not a handshake that is taken */
export function checkHandshake(request: Request, origins: Origins): void {
  const { headers, method } = request;
  if (method !== "GET") {
    throw new Refusal(405, "unimplemented", `${method} is not possible here`, "use GET", { allow: "GET" });
  }
  // RFC 9110 §15.5.22
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const hint = "connect with a WebSocket over HTTP/1.1";
    throw new Refusal(426, "failed_precondition", "this address speaks WebSocket", hint, { upgrade: "websocket" });
  }
  // RFC 6455 §4.4
  if (headers.get("sec-websocket-version") !== "13") {
    const version = { "sec-websocket-version": "13" };
    throw new Refusal(426, "failed_precondition", "the version of WebSocket is not 13", "use RFC 6455", version);
  }
  const offered = headers.get("sec-websocket-protocol") ?? "";
  if (!offered.split(",").some((each) => each.trim() === SUBPROTOCOL)) {
    const hint = `send Sec-WebSocket-Protocol: ${SUBPROTOCOL}, as new WebSocket(url, "${SUBPROTOCOL}") does`;
    throw new Refusal(400, "invalid_argument", `the subprotocol ${SUBPROTOCOL} is required`, hint);
  }
  // RFC 6455 §10.2: only browsers send it, and their pages would act with what the user may do.
  const origin = headers.get("origin");
  if (origin === null || origins === "*" || origins.includes(origin)) return;
  if (!isOwnOrigin(origin, headers.get("host"), request.url)) {
    const hint = "allow the origin in the server's options";
    throw new Refusal(403, "permission_denied", `pages of ${origin.slice(0, 128)} may not use this server`, hint);
  }
}

export function credentialsOf(request: Request, server: Server<unknown>): Credentials {
  return credentialsIn((name) => request.headers.get(name), "websocket", server.requestIP(request)?.address);
}

/** A refusal as problem details (RFC 9457, PROTOCOL.md §2.3). */
export function refuse(thrown: unknown): Response {
  const fault = toFault(thrown);
  const { message, detail, ...rest } = fault.toJSON();
  const status = fault instanceof Refusal ? fault.status : (STATUS[fault.code] ?? 500);
  const body = {
    type: `urn:backtalk:fault:${fault.code}`,
    title: fault.code,
    status,
    detail: message,
    ...rest,
    ...(detail && { info: detail }),
  };
  const headers: Record<string, string> = { "content-type": "application/problem+json", "cache-control": "no-store" };
  if (fault instanceof Refusal) Object.assign(headers, fault.headers);
  if (fault.retryAfterMs !== undefined) headers["retry-after"] = String(Math.ceil(fault.retryAfterMs / 1000));
  return new Response(JSON.stringify(body), { status, headers });
}

/** Those that a handshake can come to. */
const STATUS: Partial<Record<Code, number>> = {
  invalid_argument: 400,
  unavailable: 503,
  resource_exhausted: 429,
};
