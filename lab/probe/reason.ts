/** Why something is absent: a closed set, so that a program can decide by it. */

/** The codes, with the exit code of the command when it is the reason why nothing spoke: those of curl. */
export const REASONS = {
  /** The name has no address. */
  dns_failed: 6,
  /** Nobody listens there: RST, or ICMP "port unreachable". */
  refused: 7,
  /** There is no way to the host or its network. */
  unreachable: 7,
  /** Nothing came in the time that a try may take. */
  timeout: 28,
  /** The connection was cut by the other end. */
  reset: 56,
  /** The connection was ended properly, without an answer. */
  closed: 52,
  /** What came is not the protocol; the detail says what it looks like. */
  malformed: 8,
  /** The other end ended TLS by an alert; the detail is its name (RFC 8446 §6). */
  tls_alert: 35,
  /** TLS failed on this side; the detail says by what. */
  tls_failed: 35,
  /** TLS is spoken, with another protocol in it, which is the detail, or with none (RFC 7301). */
  alpn_other: 35,
  /** The certificate is not one that clients take; the detail says why. */
  certificate: 60,
  /** The detail is the status. */
  http_status: 22,
  /** gRPC answered with this status. */
  grpc_status: 22,
  /** The other end speaks the protocol, and makes no use of this part of it. */
  not_offered: 22,
  /** It was offered, or claimed, and turned down when it was tried. */
  rejected: 22,
  /** The detail says why it was not tried. */
  not_tried: 22,
  /** This machine cannot try it; the detail says what it lacks. */
  platform: 2,
} as const;

export type ReasonCode = keyof typeof REASONS;

export interface Reason {
  readonly code: ReasonCode;
  /** A name or a number for some codes, a sentence for others. */
  readonly detail?: string;
}

/** Thrown by a try that came to nothing. */
export class Absent extends Error {
  readonly reason: Reason;
  /** What else was seen, for people. */
  readonly note: string;

  constructor(code: ReasonCode, detail?: string | number, note = "") {
    super(detail === undefined ? code : `${code}(${detail})`);
    this.reason = detail === undefined ? { code } : { code, detail: String(detail) };
    this.note = note;
  }
}

export function reasonText({ code, detail }: Reason): string {
  return detail === undefined ? code : `${code}(${detail})`;
}

/** What a socket, TLS or a program says, as a reason. */
export function reasonOf(thrown: unknown): Reason {
  if (thrown instanceof Absent) return thrown.reason;
  const { code = "", message = String(thrown) } = thrown as { code?: string; message?: string };
  const known = SYSTEM[code];
  if (known !== undefined) return { code: known };
  const alert = /ALERT_([A-Z_]+)/.exec(`${code} ${message}`);
  if (alert) return { code: "tls_alert", detail: alert[1]!.toLowerCase() };
  if (/^ERR_(SSL|TLS)/.test(code) || /\bSSL\b|\bTLS\b/.test(message)) {
    return { code: "tls_failed", detail: plain(message) };
  }
  return { code: "malformed", detail: plain(message) };
}

const SYSTEM: Readonly<Record<string, ReasonCode>> = {
  ENOTFOUND: "dns_failed",
  EAI_AGAIN: "dns_failed",
  EAI_NODATA: "dns_failed",
  EAI_NONAME: "dns_failed",
  DNS_ENOTFOUND: "dns_failed",
  DNS_ENODATA: "dns_failed",
  DNS_ETIMEOUT: "dns_failed",
  DNS_ESERVFAIL: "dns_failed",
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  EACCES: "unreachable",
  EPERM: "unreachable",
  ETIMEDOUT: "timeout",
  ERR_QUIC_HANDSHAKE_TIMEOUT: "timeout",
  ECONNRESET: "reset",
  EPIPE: "reset",
};

/** Without the places in the code of a library: `error:1000042e:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER`. */
function plain(message: string): string {
  const name = /OPENSSL_internal:([A-Z0-9_]+)/.exec(message)?.[1];
  return (name ? name.toLowerCase() : message).slice(0, 120);
}
