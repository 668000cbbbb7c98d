/** What goes wrong with uploads. */
import { Fault } from "../log/index.ts";

export function noSuchUpload(): Fault {
  return new Fault("not_found", "there is no such upload", {
    hint: "it may have expired, or belong to somebody else; begin again with POST /uploads",
  });
}

/** Another request goes on with this upload, so this one must not. */
export function takenOver(): Fault {
  return new Fault("aborted", "another request goes on with this upload", {
    hint: "ask for the offset with HEAD, and append from there",
  });
}

/** @param ms spread, so that those who wait do not come back together */
export function going(ms = 0): Fault {
  return new Fault("unavailable", "the server is going", {
    retryAfterMs: Math.ceil(500 + ms),
    hint: "come back, and append from the offset that HEAD tells; what was to come in one request is sent again",
  });
}

export function brokenOff(): Fault {
  return new Fault("unavailable", "the body broke off", { hint: "ask for the offset with HEAD, and append the rest" });
}

export function wrongOffset(expected: number, provided: number): Fault {
  return new Fault("aborted", `the upload is at ${expected}, and not at ${provided}`, {
    detail: { expected, provided },
    hint: "append from the offset that HEAD tells",
  });
}

export function tooLarge(bytes: number, what: string): Fault {
  return new Fault("resource_exhausted", `the upload has more than ${bytes} bytes: ${what}`, {
    limit: "uploadBytes",
    retryable: false,
    hint: "send a smaller file, or raise the limit of the server or the method",
  });
}

export function wrongLength(message: string): Fault {
  return new Fault("invalid_argument", message, { fields: [{ path: "Upload-Length", message }] });
}

export function wrongChecksum(field: string): Fault {
  return new Fault("invalid_argument", "the bytes are not those of the checksum", {
    fields: [{ path: field, message: "is not the digest of what arrived" }],
    detail: { digest: "wrong" },
    hint: "nothing of it was kept: send it again",
  });
}

/** A file of a wrong type, or too large a one, for the member of an input that it is for. */
export function unfit(member: string, message: string): Fault {
  return new Fault("invalid_argument", `the input is not valid: ${member === "" ? "the upload" : member} ${message}`, {
    fields: [{ path: member, message }],
  });
}

/** What the disk says. */
export function diskFault(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  const { code } = thrown as { code?: string };
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new Fault("resource_exhausted", "no space is left for uploads", {
      limit: "disk",
      retryable: false,
      hint: "free some space, or serve uploads from another disk (--uploads)",
      cause: thrown,
    });
  }
  return new Fault("internal", "an upload cannot be written or read", {
    hint: "the server's log has the error",
    cause: thrown,
  });
}
