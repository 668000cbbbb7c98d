/** Who may call from a browser (PROTOCOL.md §2.8): the own origin, and those that the operator allows. */
import { HttpFault } from "./fault.ts";

/** Origins such as `https://app.example`, or `*` for all of them. */
export type Origins = readonly string[] | "*";

/**
 * Whether a page of this origin (RFC 6454 §6.2) may use the server. The own origin has the host of the
 * request; a server behind a proxy that ends TLS sees http, where the page has https.
 */
export function isAllowedOrigin(origin: string, request: Request, origins: Origins): "own" | "other" | undefined {
  const slashes = origin.indexOf("://");
  if (slashes !== -1 && origin.slice(slashes + 3) === request.headers.get("host")) {
    if (origin.startsWith("https:") || request.url.startsWith("http:")) return "own";
  }
  return origins === "*" || origins.includes(origin) ? "other" : undefined;
}

export function refuseOrigin(origin: string): HttpFault {
  return new HttpFault(
    403,
    "permission_denied",
    `pages of ${origin.slice(0, 128)} may not use this server`,
    { hint: "allow the origin in the server's options" },
    { vary: "Origin" },
  );
}

/** Fetch §3.3.3: without these a page of another origin sees nothing of the answer. */
export function allowOrigin(response: Response, origin: string): Response {
  const { headers } = response;
  headers.set("access-control-allow-origin", origin);
  headers.append("vary", "Origin");
  headers.set("access-control-expose-headers", EXPOSED);
  return response;
}

export function preflight(allow: string, origin: string | undefined): Response {
  const headers: Record<string, string> = { allow, vary: "Origin" };
  if (origin !== undefined) {
    headers["access-control-allow-origin"] = origin;
    headers["access-control-allow-methods"] = allow;
    headers["access-control-allow-headers"] = ACCEPTED;
    // The longest that browsers keep it.
    headers["access-control-max-age"] = "7200";
  }
  return new Response(null, { status: 204, headers });
}

const ACCEPTED =
  "authorization, content-type, idempotency-key, if-none-match, last-event-id, prefer, request-timeout, traceparent, tracestate, x-api-key";
const EXPOSED =
  "backtalk-cursor, backtalk-verdict, etag, idempotency-replayed, link, location, preference-applied, retry-after, traceparent";
