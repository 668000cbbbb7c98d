/** What the client says when no answer of the server says it. */
import { Fault } from "../../log/fault.ts";

export function tooLarge(bytes: number, most: number): Fault {
  return new Fault("resource_exhausted", `the question has ${bytes} bytes of JSON, and a datagram holds ${most}`, {
    limit: "datagramBytes",
    retryable: false,
    hint: "use another transport, such as http1 or tcp",
    detail: { sent: false },
  });
}

export function closed(): Fault {
  return new Fault("cancelled", "the client was closed");
}

export function deadlineFault(): Fault {
  return new Fault("deadline_exceeded", "the deadline passed before the answer came", {
    hint: "allow more time, or ask for a handle and come back",
  });
}

export function abortFault({ reason }: AbortSignal): Fault {
  return reason instanceof Fault ? reason : new Fault("cancelled", "the caller stopped waiting", { cause: reason });
}

export function inTheClear(): Fault {
  return new Fault("permission_denied", "credentials are not sent over UDP to other machines: anybody can read them", {
    hint: "use a transport with TLS, or allow it: insecureCredentials, --insecure",
    detail: { sent: false },
  });
}

/** `mayHaveRun`: it was sent with a token. Else it certainly was not. */
export function silent(sends: number, mayHaveRun: boolean): Fault {
  return new Fault("unavailable", `no answer came to ${sends} datagrams`, {
    hint: "is the address right, and does a firewall let UDP through? Whether the call ran is not known",
    ...(!mayHaveRun && { detail: { sent: false } }),
  });
}

export function restarted(): Fault {
  return new Fault("unavailable", "the server was restarted meanwhile: whether the call ran is not known", {
    hint: "with an idempotency key the call can be made again, and runs once",
  });
}

/** The cause tells those who would ask again that it certainly never reached a server: only when it did not. */
export function nobody(where: string, mayHaveRun: boolean, cause: unknown): Fault {
  return new Fault("unavailable", `nobody listens at ${where}`, {
    hint: "is the address right, and is the server running?",
    ...(!mayHaveRun && { detail: { sent: false }, cause }),
  });
}
