/** Handshake messages of TLS as far as their kind and their extensions (RFC 8446 §4, RFC 5246 §7.4). Never throws. */
import { u16 } from "../../src/wire/packet/ip.ts";

export interface HandshakeMessage {
  readonly kind: Kind;
  /** With its header of four bytes. */
  readonly bytes: number;
  /** Kinds of its extensions, of hellos and EncryptedExtensions. */
  readonly extensions: ReadonlySet<number>;
  /** Of a ServerHello. */
  readonly suite?: number;
}

const KINDS = {
  1: "ClientHello",
  2: "ServerHello",
  4: "NewSessionTicket",
  5: "EndOfEarlyData",
  8: "EncryptedExtensions",
  11: "Certificate",
  12: "ServerKeyExchange",
  13: "CertificateRequest",
  14: "ServerHelloDone",
  15: "CertificateVerify",
  16: "ClientKeyExchange",
  20: "Finished",
  24: "KeyUpdate",
} as const;

export type Kind = (typeof KINDS)[keyof typeof KINDS] | "HelloRetryRequest" | "unknown";

export const EXTENSION = { preSharedKey: 41, earlyData: 42 } as const;

/** RFC 8446 §4.1.3: a ServerHello with this random asks for another ClientHello. */
const RETRY = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

/** The whole messages, and how many bytes of the input they are. */
export function readHandshake(bytes: Uint8Array): { readonly messages: HandshakeMessage[]; readonly read: number } {
  const messages: HandshakeMessage[] = [];
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = (bytes[at + 1]! << 16) | u16(bytes, at + 2);
    if (at + 4 + length > bytes.length) break;
    messages.push(message(bytes[at]!, bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return { messages, read: at };
}

function message(type: number, body: Uint8Array): HandshakeMessage {
  const bytes = body.length + 4;
  const kind = KINDS[type as keyof typeof KINDS] ?? "unknown";
  if (kind === "EncryptedExtensions") return { kind, bytes, extensions: extensions(body, 0) };
  if (kind !== "ClientHello" && kind !== "ServerHello") return { kind, bytes, extensions: new Set() };
  // Version, random, session id.
  let at = 35 + (body[34] ?? 0);
  if (kind === "ServerHello") {
    const isRetry = Buffer.from(body.subarray(2, 34)).toString("hex") === RETRY;
    const suite = at + 2 <= body.length ? u16(body, at) : 0;
    return { kind: isRetry ? "HelloRetryRequest" : kind, bytes, extensions: extensions(body, at + 3), suite };
  }
  at += 2 + (at + 2 <= body.length ? u16(body, at) : 0);
  at += 1 + (body[at] ?? 0);
  return { kind, bytes, extensions: extensions(body, at) };
}

function extensions(body: Uint8Array, from: number): Set<number> {
  const found = new Set<number>();
  for (let at = from + 2; at + 4 <= body.length; at += 4 + u16(body, at + 2)) found.add(u16(body, at));
  return found;
}
