/** What is answered when a request is refused: problem details (RFC 9457), with the fields of Durable Streams. */
import { type Code, Fault, type FaultOptions } from "../log/index.ts";

/** A fault whose status, and fields of the header, are those of Durable Streams. */
export class Refusal extends Fault {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: Code,
    message: string,
    options: FaultOptions = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(code, message, options);
    this.status = status;
    this.headers = headers;
  }
}

export function refused(refusal: Refusal): Response {
  const { message, detail, ...rest } = refusal.toJSON();
  const problem = {
    type: `urn:backtalk:fault:${refusal.code}`,
    title: refusal.code,
    status: refusal.status,
    detail: message,
    ...rest,
    ...(detail && { info: detail }),
  };
  return new Response(JSON.stringify(problem), {
    status: refusal.status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...refusal.headers,
    },
  });
}

export function bad(message: string, hint?: string): Refusal {
  return new Refusal(400, "invalid_argument", message, hint === undefined ? {} : { hint });
}

export function unknownStream(name: string): Refusal {
  return new Refusal(404, "not_found", `there is no stream ${name.slice(0, 128)}`, {
    hint: "create it by PUT, where the server allows that, or use the name of a topic",
  });
}

/** §4.2: deleted, and kept for its forks alone. */
export function gone(name: string): Refusal {
  return new Refusal(410, "not_found", `the stream ${name.slice(0, 128)} was deleted`);
}

/** §8: what was there is no longer kept, or the stream is another one. */
export function lost(offset: string): Refusal {
  return new Refusal(410, "out_of_range", `the events after ${offset} are no longer kept`, {
    hint: "begin again with offset=-1",
  });
}

/** §5.2: told before anything else, so that a writer learns of the end. */
export function closed(next: string): Refusal {
  return new Refusal(
    409,
    "failed_precondition",
    "the stream is closed",
    { retryable: false },
    { "stream-closed": "true", "stream-next-offset": next },
  );
}

/** RFC 9110 §15.5.6 */
export function notAllowed(what: string, allow: string): Refusal {
  return new Refusal(405, "unimplemented", what, { hint: `use ${allow.replace(/, OPTIONS$/, "")}` }, { allow });
}
