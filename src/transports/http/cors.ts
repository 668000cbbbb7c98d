/** Who may call from a browser (PROTOCOL.md §2.8): the own origin, and those that the operator allows. */
import { OTHER_NAME, otherOrigin } from "../../net/access.ts";
import { HttpFault } from "./fault.ts";

export function refuseOrigin(origin: string): HttpFault {
  const { message, hint } = otherOrigin(origin);
  return new HttpFault(403, "permission_denied", message, { hint }, { vary: "Origin" });
}

/** RFC 9110 §15.5.20 */
export function misdirected(): HttpFault {
  return new HttpFault(421, "permission_denied", OTHER_NAME.message, { hint: OTHER_NAME.hint });
}

/** Fetch §3.3.3: without these a page of another origin sees nothing of the answer. */
export function allowOrigin(response: Response, origin: string, more?: string): Response {
  const { headers } = response;
  headers.set("access-control-allow-origin", origin);
  headers.set("vary", "Origin");
  headers.set("access-control-expose-headers", more === undefined ? EXPOSED : `${EXPOSED}, ${more}`);
  return response;
}

export function preflight(allow: string, origin: string | undefined, more?: string): Response {
  const headers: Record<string, string> = { allow, vary: "Origin" };
  if (origin !== undefined) {
    headers["access-control-allow-origin"] = origin;
    headers["access-control-allow-methods"] = allow;
    headers["access-control-allow-headers"] = more === undefined ? ACCEPTED : `${ACCEPTED}, ${more}`;
    // The longest that browsers keep it.
    headers["access-control-max-age"] = "7200";
  }
  return new Response(null, { status: 204, headers });
}

const ACCEPTED =
  "authorization, content-type, idempotency-key, if-none-match, last-event-id, prefer, request-timeout, traceparent, tracestate, x-api-key";
const EXPOSED =
  "backtalk-cursor, backtalk-verdict, etag, idempotency-replayed, link, location, preference-applied, retry-after, traceparent";
