/** Why a port could not be opened, for the one who started the server. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { Fault } from "../log/index.ts";
import type { Certificate } from "./certificate.ts";

export interface Wanted {
  readonly hostname: string;
  readonly port: number;
  /** How the port is chosen: `--port`, `--tls-port`, or the name of an option. */
  readonly option: string;
}

/** @param thrown of `Bun.serve` */
export function listenFault(thrown: unknown, { hostname, port, option }: Wanted): Fault {
  const { code, message = "" } = thrown as { code?: string; message?: string };
  const isUdp = isUdpTaken(thrown);
  const where = `port ${port}${isUdp ? " (UDP, for HTTP/3)" : ""} of ${hostname}`;
  switch (isUdp ? "EADDRINUSE" : code) {
    case "EADDRINUSE":
      return new Fault("unavailable", `${where} is in use`, {
        retryable: false,
        hint: `another program listens there, maybe an earlier server: stop it, or choose another port with ${option} (${option === "--port" ? "the other ports move with it; " : ""}0 takes a free one)`,
        detail: { port },
        cause: thrown,
      });
    case "EACCES":
    case "EPERM":
      return new Fault("permission_denied", `${where} may not be opened`, {
        hint: `ports below 1024 need a right of their own: choose another with ${option}, or give the right (setcap cap_net_bind_service=+ep)`,
        detail: { port },
        cause: thrown,
      });
    case "EADDRNOTAVAIL":
    case "EINVAL":
    case "ENOTFOUND":
      return new Fault("invalid_argument", `${hostname} is not an address of this machine`, {
        hint: "use 127.0.0.1 for this machine only, or 0.0.0.0 for all of its addresses",
        cause: thrown,
      });
    case "ERR_OUT_OF_RANGE":
      return new Fault("invalid_argument", `${port} is not a port`, { hint: "ports are 0 to 65535", cause: thrown });
    default:
      return new Fault("failed_precondition", `${where} cannot be opened: ${message}`, { cause: thrown });
  }
}

/** Bun 1.4.5 gives no code when only the UDP port of HTTP/3 cannot be had. */
export function isUdpTaken(thrown: unknown): boolean {
  const { code, message = "" } = thrown as { code?: string; message?: string };
  return code === undefined && message.includes("UDP port");
}

/** @throws Fault `invalid_argument` for what cannot serve, `failed_precondition` when its time is over */
export function checkCertificate({ cert, key }: Certificate, now: number): void {
  const hint =
    "give PEM files: --cert with the certificate first and those that vouch for it after, --key with its key";
  let x509: X509Certificate;
  try {
    x509 = new X509Certificate(cert);
  } catch (cause) {
    throw new Fault("invalid_argument", "the certificate cannot be read", { hint, cause });
  }
  let isOurs: boolean;
  try {
    isOurs = x509.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new Fault("invalid_argument", "the key of the certificate cannot be read", { hint, cause });
  }
  if (!isOurs) throw new Fault("invalid_argument", "the key is not that of the certificate", { hint });
  if (Date.parse(x509.validTo) <= now) {
    throw new Fault("failed_precondition", `the certificate expired on ${x509.validTo}`, { hint: "renew it" });
  }
}
