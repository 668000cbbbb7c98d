/** How the command ends: 0, 1, 2, 130, or 10 + the number that gRPC gives the code of the fault. */
import { CODES, Fault, toFault } from "../src/log/index.ts";
import { type Trouble, troubleOf } from "../src/wire/trouble.ts";

export const OK = 0;
/** A defect of the command itself. */
export const DEFECT = 1;
export const USAGE = 2;
/** Ended by Ctrl-C, as shells have it: 128 + SIGINT. The call goes on. */
export const DETACHED = 130;

export function exitCode(fault: Fault): number {
  return 11 + CODES.indexOf(fault.code);
}

/** The command was written wrong: nothing was done. */
export class UsageError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** What was thrown, for people: the message, then what helps. */
export function explain(thrown: unknown): { readonly code: number; readonly lines: readonly string[] } {
  if (thrown instanceof UsageError) {
    return { code: USAGE, lines: [thrown.message, ...(thrown.hint === undefined ? [] : [thrown.hint])] };
  }
  if (!(thrown instanceof Fault) && !(thrown instanceof DOMException)) {
    return { code: DEFECT, lines: [thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)] };
  }
  const fault = toFault(thrown);
  const lines = [`${fault.code}: ${fault.message}${causeOf(fault)}`];
  for (const { path, message } of fault.fields ?? []) {
    // The first one is in the message already.
    if (fault.message.endsWith(path === "" ? message : `${path}: ${message}`)) continue;
    lines.push(`  ${path === "" ? "(all of it)" : path}: ${message}`);
  }
  if (fault.limit !== undefined) lines.push(`the limit is ${fault.limit}`);
  lines.push(...hintsOf(fault));
  if (fault.code === "unauthenticated") lines.push("here: --api-key KEY or --token TOKEN");
  if (fault.retryAfterMs !== undefined) lines.push(`try again in ${Math.ceil(fault.retryAfterMs / 1000)} s`);
  return { code: exitCode(fault), lines };
}

/** What helps; where no connection came about, by what the platform says of it. */
export function hintsOf({ code, message, cause, hint }: Fault): readonly string[] {
  const isConnection = code === "unavailable" || code === "failed_precondition";
  const trouble = isConnection ? troubleOf(cause) : undefined;
  const isSaid = trouble !== undefined && message.includes(trouble.what);
  // What passes may be something else the next time, and may have come in the middle: then all that it could be is told.
  const here = trouble && (trouble.isLasting || isSaid) ? HERE[trouble.about] : undefined;
  const first = trouble?.isLasting ? `${isSaid ? "" : `${trouble.what}: `}${trouble.hint}` : hint;
  return [...(first === undefined ? [] : [first]), ...(here === undefined ? [] : [here])];
}

const HERE: Partial<Readonly<Record<Trouble["about"], string>>> = {
  port: "here: `backtalk serve` prints which port is for what",
  trust: "here: --cacert FILE, with a certificate of the server or of who has signed it",
};

/** What the platform said of a connection that failed. */
export function causeOf({ cause, message }: Pick<Fault, "cause" | "message">): string {
  // Those of gRPC say the same once more.
  if (!(cause instanceof Error) || cause.message.includes(message)) return "";
  const { code } = cause as { code?: unknown };
  return ` (${typeof code === "string" ? code : cause.message})`;
}

/** For the help. */
export function exitTable(): readonly (readonly [string, string])[] {
  return [
    ["0", "done"],
    ["1", "a check that failed, or a defect of this command"],
    ["2", "the command was written wrong"],
    ["130", "Ctrl-C: detached, the call goes on"],
    ["11 to 26", `a fault of the call: ${CODES.map((code, index) => `${11 + index}=${code}`).join(", ")}`],
  ];
}
