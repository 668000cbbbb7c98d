/** The HTTP status of each code of faults (PROTOCOL.md §1.4). */
import type { Code, Fault } from "../../log/index.ts";
import { HttpFault } from "./fault.ts";

export const STATUS: Readonly<Record<Code, number>> = Object.freeze({
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  unimplemented: 501,
  failed_precondition: 409,
  aborted: 409,
  already_exists: 409,
  out_of_range: 400,
  resource_exhausted: 429,
  cancelled: 499,
  deadline_exceeded: 504,
  unavailable: 503,
  internal: 500,
  unknown: 500,
  data_loss: 500,
});

/** Limits on how much was sent: waiting does not help, so 413 (RFC 9110 §15.5.14) instead of 429. */
const TOO_LARGE = new Set(["bodyBytes", "itemBytes", "uploadBytes"]);
/** There is no room, and waiting does not make it (RFC 4918 §11.5). */
const NO_ROOM = new Set(["uploadBytesPerPrincipal", "uploadBytesTotal", "disk"]);

export function statusOf(fault: Fault): number {
  if (fault instanceof HttpFault) return fault.status;
  if (fault.code === "resource_exhausted" && fault.limit !== undefined && TOO_LARGE.has(fault.limit)) return 413;
  if (fault.code === "resource_exhausted" && fault.limit !== undefined && NO_ROOM.has(fault.limit)) return 507;
  // draft-ietf-httpapi-idempotency-key-header §2.7: the key of another request.
  if (fault.code === "invalid_argument" && fault.detail?.["key"] === "reused") return 422;
  return STATUS[fault.code];
}
