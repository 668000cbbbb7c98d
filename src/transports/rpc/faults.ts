/** Faults and statuses, both ways, without loss (PROTOCOL.md §4.3). For servers and clients, browsers too. */
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, Code as Status } from "@connectrpc/connect";
import { type Code, Fault, type FaultOptions, toFault } from "../../log/fault.ts";
import {
  type BadRequest,
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  type LocalizedMessage,
  LocalizedMessageSchema,
  type RetryInfo,
  RetryInfoSchema,
} from "./details.ts";

const STATUS: Readonly<Record<Code, Status>> = {
  cancelled: Status.Canceled,
  unknown: Status.Unknown,
  invalid_argument: Status.InvalidArgument,
  deadline_exceeded: Status.DeadlineExceeded,
  not_found: Status.NotFound,
  already_exists: Status.AlreadyExists,
  permission_denied: Status.PermissionDenied,
  resource_exhausted: Status.ResourceExhausted,
  failed_precondition: Status.FailedPrecondition,
  aborted: Status.Aborted,
  out_of_range: Status.OutOfRange,
  unimplemented: Status.Unimplemented,
  internal: Status.Internal,
  unavailable: Status.Unavailable,
  data_loss: Status.DataLoss,
  unauthenticated: Status.Unauthenticated,
};
const CODE = new Map(Object.entries(STATUS).map(([code, status]) => [status, code as Code]));

/**
 * Over gRPC they are header fields, of which many peers take 8 KiB together: a byte of the message can become three
 * there, and is among the details again; base64 makes a third more of these.
 */
const MOST_DETAIL_BYTES = 2048;
const MOST_MESSAGE_BYTES = 1024;
const MOST_HINT_BYTES = 512;
const DOMAIN = "backtalk";

/**
 * What is thrown becomes the status of the call.
 * @param isBounded it travels in header fields, so that what is too large is left out
 */
export function toStatus(thrown: unknown, isBounded = false): ConnectError {
  // What the protocol itself refuses is a status already.
  if (thrown instanceof ConnectError) return thrown;
  const fault = toFault(thrown);
  const message = isBounded ? cut(fault.message, MOST_MESSAGE_BYTES) : fault.message;
  const error = new ConnectError(message, STATUS[fault.code], undefined, undefined, fault.cause);
  error.details = isBounded ? bounded(fault) : detailsOf(fault);
  return error;
}

/** What a call failed with. Anything that is no status of a server is a broken connection. */
export function fromStatus(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  if (!(thrown instanceof ConnectError)) return toFault(thrown);
  const code = CODE.get(thrown.code) ?? "unknown";
  const info = find<ErrorInfo>(thrown, ErrorInfoSchema);
  const bad = find<BadRequest>(thrown, BadRequestSchema);
  const delay = find<RetryInfo>(thrown, RetryInfoSchema)?.retryDelay;
  const hint = find<LocalizedMessage>(thrown, LocalizedMessageSchema)?.message;
  const { retryable, limit, detail } = info?.metadata ?? {};
  const facts = factsOf(detail);
  return new Fault(code, thrown.rawMessage, {
    cause: thrown,
    ...(retryable !== undefined && { retryable: retryable === "true" }),
    ...(hint !== undefined && { hint }),
    ...(delay && { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 }),
    ...(bad && {
      fields: bad.fieldViolations.map(({ field, description }) => ({ path: field, message: description })),
    }),
    ...(limit !== undefined && { limit }),
    ...(facts && { detail: facts }),
  });
}

/** Whether a Backtalk server has said it. */
export function isOurs(thrown: unknown): boolean {
  return thrown instanceof ConnectError && find<ErrorInfo>(thrown, ErrorInfoSchema)?.domain === DOMAIN;
}

type Detail = ConnectError["details"][number];

function detailsOf({ code, retryable, hint, retryAfterMs, fields, limit, detail }: Shape): Detail[] {
  const metadata: Record<string, string> = { retryable: String(retryable) };
  if (limit !== undefined) metadata["limit"] = limit;
  if (detail !== undefined) metadata["detail"] = JSON.stringify(detail);
  const details = [made(ErrorInfoSchema, { reason: code.toUpperCase(), domain: DOMAIN, metadata })];
  if (fields !== undefined) {
    const fieldViolations = fields.map(({ path, message }) => ({ field: path, description: message }));
    details.push(made(BadRequestSchema, { fieldViolations }));
  }
  if (retryAfterMs !== undefined) {
    const seconds = Math.floor(retryAfterMs / 1000);
    const nanos = Math.round((retryAfterMs - seconds * 1000) * 1e6);
    details.push(made(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } }));
  }
  if (hint !== undefined) details.push(made(LocalizedMessageSchema, { locale: "en", message: hint }));
  return details;
}

type Shape = Pick<Fault, "code" | "retryable" | "hint" | "retryAfterMs" | "fields" | "limit" | "detail">;

/** Leaves out the last fields but one, then the hint, the detail, the last field. What is left is small by itself. */
function bounded(fault: Fault): Detail[] {
  const { code, retryable, retryAfterMs } = fault;
  const limit = fault.limit && cut(fault.limit, 64);
  let { fields, hint, detail } = fault;
  hint = hint && cut(hint, MOST_HINT_BYTES);
  for (;;) {
    const details = detailsOf({ code, retryable, retryAfterMs, limit, fields, hint, detail });
    const bytes = details.reduce((sum, { value }) => sum + (value as Uint8Array).length, 0);
    if (bytes <= MOST_DETAIL_BYTES) return details;
    if (fields && fields.length > 1) fields = fields.slice(0, Math.floor(fields.length / 2));
    else if (hint !== undefined) hint = undefined;
    else if (detail) detail = undefined;
    else if (fields) fields = undefined;
    else return details;
  }
}

function cut(text: string, bytes: number): string {
  const all = new TextEncoder().encode(text);
  if (all.length <= bytes) return text;
  // What is left of a character that was cut in two is replaced by U+FFFD, and dropped.
  return `${new TextDecoder().decode(all.subarray(0, bytes - 3)).replace(/\ufffd$/, "")}…`;
}

function made(desc: DescMessage, init: object): Detail {
  return { type: desc.typeName, value: toBinary(desc, create(desc, init as never)) };
}

function find<M>(error: ConnectError, desc: DescMessage): M | undefined {
  for (const detail of error.details) {
    if (!("type" in detail) || detail.type !== desc.typeName) continue;
    try {
      return fromBinary(desc, detail.value) as M;
    } catch {
      // What cannot be read says nothing.
    }
  }
  return undefined;
}

function factsOf(text: string | undefined): FaultOptions["detail"] {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? (value as NonNullable<FaultOptions["detail"]>) : undefined;
  } catch {
    return undefined;
  }
}
