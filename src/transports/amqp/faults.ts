/** What goes wrong with a broker, as faults. */
import { Fault, toFault } from "../../log/index.ts";

/** What the broker says of its own errors (AMQP 0-9-1 §1.2), as faults. */
const CODES = {
  ACCESS_REFUSED: ["permission_denied", "check the user, the password, and its permissions on the virtual host"],
  NOT_ALLOWED: ["permission_denied", "does the virtual host exist, and may the user use it?"],
  PRECONDITION_FAILED: [
    "failed_precondition",
    "a queue or exchange of this name exists with other settings: remove it, or choose another prefix",
  ],
  RESOURCE_LOCKED: ["failed_precondition", "another connection holds a queue of this name for itself"],
  NOT_FOUND: ["unavailable", "a queue or exchange was deleted; it is declared again"],
} as const;

export function faultOf(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  const code = (thrown as { code?: string } | undefined)?.code ?? "";
  const known = Object.hasOwn(CODES, code) ? CODES[code as keyof typeof CODES] : undefined;
  if (!known) return lost("the connection to the broker is lost", thrown);
  return new Fault(known[0], `the broker refuses: ${wordsOf(thrown)}`, { hint: known[1], cause: thrown });
}

export function lost(message: string, cause: unknown, detail?: { readonly sent: false }): Fault {
  const why = cause === undefined ? "" : `: ${wordsOf(cause)}`;
  return new Fault("unavailable", message + why, { cause, ...(detail && { detail }) });
}

export function throwLost(thrown: unknown): never {
  throw lost("the broker has not confirmed the message", thrown);
}

/** The driver's messages name no credentials. */
export function wordsOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return [code, message ?? toFault(error).message].filter(Boolean).join(": ").slice(0, 300);
}
