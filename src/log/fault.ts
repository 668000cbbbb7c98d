/**
 * The one error class of Backtalk: a closed set of codes, a message for the reader, a hint for the
 * operator, and whether trying again can help. Each transport maps the codes to its own in one table.
 */

/** The codes of gRPC without OK; there are no others. */
export const CODES = [
  "cancelled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
] as const;
export type Code = (typeof CODES)[number];

/** One bad field: where it is (`items[2].name`, empty for the whole value) and what is wrong with it. */
export interface FieldFault {
  readonly path: string;
  readonly message: string;
}

export interface FaultOptions {
  /** What an operator or a developer can do about it. */
  readonly hint?: string;
  /** Whether the same request can succeed later; the default follows from the code. */
  readonly retryable?: boolean;
  /** Milliseconds to wait before trying again. */
  readonly retryAfterMs?: number | undefined;
  /** The bad fields of an `invalid_argument`. */
  readonly fields?: readonly FieldFault[];
  /** The name of the limit that was hit (`bodyBytes`, `callsPerPrincipal`, ...). */
  readonly limit?: string;
  /** Further facts, to be sent with the fault; nothing secret. */
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

/** A fault as it travels: JSON on every transport. */
export interface FaultJson {
  readonly code: Code;
  readonly message: string;
  readonly retryable: boolean;
  readonly hint?: string;
  readonly retryAfterMs?: number;
  readonly fields?: readonly FieldFault[];
  readonly limit?: string;
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

const RETRYABLE: ReadonlySet<Code> = new Set(["unavailable", "resource_exhausted", "aborted", "deadline_exceeded"]);

/** The same in every copy of this module: a program may have two, one of them in the client's bundle. */
const BRAND = Symbol.for("backtalk.fault");

export class Fault extends Error {
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: classes made of this one inherit this, and are told apart as usual
    if (this !== Fault) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && BRAND in value;
  }

  readonly [BRAND] = true;
  override readonly name = "Fault";
  readonly code: Code;
  readonly retryable: boolean;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly fields: readonly FieldFault[] | undefined;
  readonly limit: string | undefined;
  readonly detail: Readonly<Record<string, string | number | boolean>> | undefined;

  constructor(code: Code, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
    this.hint = options.hint;
    this.retryAfterMs = options.retryAfterMs;
    this.fields = options.fields;
    this.limit = options.limit;
    this.detail = options.detail;
  }

  toJSON(): FaultJson {
    return {
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      ...(this.hint !== undefined && { hint: this.hint }),
      ...(this.retryAfterMs !== undefined && { retryAfterMs: this.retryAfterMs }),
      ...(this.fields !== undefined && { fields: this.fields }),
      ...(this.limit !== undefined && { limit: this.limit }),
      ...(this.detail !== undefined && { detail: this.detail }),
    };
  }
}

/** Reads a fault that came over a wire. Anything unreadable becomes `unknown`, never an exception. */
export function faultFromJson(value: unknown): Fault {
  if (typeof value !== "object" || value === null) return new Fault("unknown", "the peer sent an unreadable fault");
  const json = value as Partial<FaultJson>;
  const code = (CODES as readonly unknown[]).includes(json.code) ? (json.code as Code) : "unknown";
  return new Fault(code, typeof json.message === "string" ? json.message : code, {
    ...(typeof json.retryable === "boolean" && { retryable: json.retryable }),
    ...(typeof json.hint === "string" && { hint: json.hint }),
    ...(typeof json.retryAfterMs === "number" && { retryAfterMs: json.retryAfterMs }),
    ...(Array.isArray(json.fields) && { fields: json.fields }),
    ...(typeof json.limit === "string" && { limit: json.limit }),
    ...(typeof json.detail === "object" && json.detail !== null && { detail: json.detail }),
  });
}

/**
 * Makes a fault of anything thrown. What is not a Fault is a defect of the handler: its message stays in
 * `cause` for the log and is not shown to the caller.
 */
export function toFault(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  if (thrown instanceof DOMException && thrown.name === "AbortError") {
    return new Fault("cancelled", "the call was cancelled", { cause: thrown });
  }
  if (thrown instanceof DOMException && thrown.name === "TimeoutError") {
    return new Fault("deadline_exceeded", "the deadline passed", { cause: thrown });
  }
  return new Fault("internal", "the handler failed", {
    hint: "the server's log has the error; throw a Fault in the handler to tell the caller more",
    cause: thrown,
  });
}
