/** Faults as `application/problem+json` (RFC 9457, PROTOCOL.md §2.3). */
import { type Fault, toFault } from "../../log/index.ts";
import { HttpFault } from "./fault.ts";
import { statusOf } from "./status.ts";

/** The body of a fault. `detail` is the message, as RFC 9457 §3.1.4 has it; the fault's own `detail` is `info`. */
export function problemOf(fault: Fault, status: number): Record<string, unknown> {
  const { message, detail, ...rest } = fault.toJSON();
  return {
    type: `urn:backtalk:fault:${fault.code}`,
    title: fault.code,
    status,
    detail: message,
    ...rest,
    ...(detail && { info: detail }),
  };
}

/** @param asked another status than that of the fault's code */
export function problem(thrown: unknown, headers?: Readonly<Record<string, string>>, asked?: number): Response {
  const fault = toFault(thrown);
  const status = asked ?? statusOf(fault);
  const fields: Record<string, string> = {
    "content-type": "application/problem+json",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    ...headers,
    ...(fault instanceof HttpFault && fault.headers),
  };
  // RFC 6750 §3: what was tried and failed is named.
  if (status === 401) fields["www-authenticate"] = "Bearer";
  if (status === 429 || status === 503) fields["retry-after"] = String(Math.ceil((fault.retryAfterMs ?? 1000) / 1000));
  // Bun stops reading a body that nobody wants only when the connection closes.
  if (status === 413) fields["connection"] = "close";
  return new Response(JSON.stringify(problemOf(fault, status)), { status, headers: fields });
}
