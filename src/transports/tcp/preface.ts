/** The first bytes of a connection: what it is, and what is said to what speaks something else (PROTOCOL.md §5). */
import { PREFACE } from "../../wire/length-prefix.ts";

export const PREFACE_BYTES = Buffer.from(PREFACE);

export type Opening = "backtalk" | "http" | "tls" | "unknown";

/** Undefined while that cannot be told yet. */
export function openingOf(bytes: Uint8Array): Opening | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, PREFACE_BYTES.length));
  if (head.length < PREFACE_BYTES.length) {
    if (head.equals(PREFACE_BYTES.subarray(0, head.length))) return undefined;
    // A line that is shorter than the preface is not it, and no request.
    return head.includes(0x0a) ? "unknown" : undefined;
  }
  if (head.equals(PREFACE_BYTES)) return "backtalk";
  // A record of a handshake, of any version since SSL 3 (RFC 8446 §5.1).
  if (head[0] === 0x16 && head[1] === 3) return "tls";
  // A method and the beginning of a target (RFC 9112 §3); that of HTTP/2's preface is PRI (RFC 9113 §3.4).
  return /^[A-Z]{3,10} [/*a-zA-Z]/.test(head.toString("latin1")) ? "http" : "unknown";
}

/** To a request of HTTP. `httpAt` are the addresses where it is spoken. */
export function httpAnswer(httpAt: readonly string[]): Buffer {
  const where = httpAt.length === 0 ? "" : `\nHTTP is spoken at ${httpAt.join(" and ")}`;
  const text = `This port speaks backtalk.v1 over TCP, not HTTP: see PROTOCOL.md §5.${where}\n`;
  const head = [
    "HTTP/1.1 400 Bad Request",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(text)}`,
    "Connection: close",
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${text}`);
}

/** No record of TLS: a client takes it for a server without TLS, which is what it is. */
export const TLS_ANSWER = Buffer.from("This port speaks backtalk.v1 without TLS.\n");
