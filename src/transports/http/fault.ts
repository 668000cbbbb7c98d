/** A fault whose HTTP status says more than its code. */
import { type Code, Fault, type FaultOptions } from "../../log/index.ts";

export class HttpFault extends Fault {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(
    status: number,
    code: Code,
    message: string,
    options: FaultOptions = {},
    headers?: Readonly<Record<string, string>>,
  ) {
    super(code, message, options);
    this.status = status;
    this.headers = headers;
  }
}

/** RFC 9110 §15.5.6: `Allow` is required. */
export function notAllowed(method: string, allow: string): HttpFault {
  return new HttpFault(
    405,
    "unimplemented",
    `${method} is not possible here`,
    { hint: `use ${allow.replace(/, OPTIONS$/, "")}` },
    { allow },
  );
}

/** RFC 9110 §15.5.7 */
export function notAcceptable(types: readonly string[]): HttpFault {
  return new HttpFault(406, "unimplemented", "no media type of the answer is acceptable", {
    hint: `send Accept: ${types.join(" or ")}`,
  });
}

/** RFC 9110 §15.5.16 */
export function unsupportedType(what: string, types: readonly string[]): HttpFault {
  return new HttpFault(
    415,
    "invalid_argument",
    `${what} is not taken here`,
    { hint: `send Content-Type: ${types.join(" or ")}` },
    { "accept-post": types.join(", ") },
  );
}

/** RFC 9110 §15.5.9. The connection is closed: the rest of the body would come some day. */
export function tooSlow(bodyMs: number): HttpFault {
  return new HttpFault(
    408,
    "deadline_exceeded",
    `the body did not arrive within ${bodyMs} ms`,
    { limit: "bodyMs", hint: "send the body at once, or as items of a client stream" },
    { connection: "close" },
  );
}
