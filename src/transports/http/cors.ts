/** Who may call from a browser (PROTOCOL.md §2.8): the own origin, and those that the operator allows. */
import { isOwnOrigin, type Origins } from "../../wire/origin.ts";
import { HttpFault } from "./fault.ts";

/** Whether a page of this origin may use the server. */
export function isAllowedOrigin(origin: string, request: Request, origins: Origins): "own" | "other" | undefined {
  if (isOwnOrigin(origin, request.headers.get("host"), request.url)) return "own";
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

/** Whether the beginning of a URL, `scheme://host:port`, names one of the hosts. What was right once is remembered. */
export function hostCheck(hosts: readonly string[]): (base: string) => boolean {
  const names = new Set(hosts.map((name) => name.toLowerCase()));
  const known = new Set<string>();
  return (base) => {
    if (known.has(base)) return true;
    const name = base
      .slice(base.indexOf("://") + 3)
      .replace(/:\d*$/, "")
      .toLowerCase();
    // RFC 6761 §6.3: names below localhost are this machine.
    if (!names.has(name) && !(names.has("localhost") && name.endsWith(".localhost"))) return false;
    if (known.size < KNOWN_BASES) known.add(base);
    return true;
  };
}

const KNOWN_BASES = 64;

/** RFC 9110 §15.5.20 */
export function misdirected(): HttpFault {
  return new HttpFault(421, "permission_denied", "this server does not answer to that name", {
    hint: "use localhost or its address, or allow the name in the server's options (--name)",
  });
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
