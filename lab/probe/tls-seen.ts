/** What a server says while TLS begins: its choices are read from the wire, not asked of a library. */
import { type HandshakeMessage, isTls, readAlert, readHandshake, readRecords } from "../../src/wire/packet/tls.ts";
import {
  readCertificate,
  readNewSessionTicket,
  readServerHello,
  readServerKeyExchange,
} from "../../src/wire/packet/tls-hello.ts";
import {
  alertName,
  CONTENT_TYPE,
  groupName,
  HANDSHAKE,
  suiteName,
  versionName,
} from "../../src/wire/packet/tls-names.ts";
import { openRecord, tlsKeys } from "../capture/keys.ts";

/** What a ServerHello chose (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3). */
export interface Choice {
  readonly version: string;
  readonly cipher: string;
  /** Of TLS 1.3: of the key share. Before: of the server's key, where it has one of its own. */
  readonly group: string | undefined;
  /** A HelloRetryRequest came first: one more round trip. */
  readonly isRetried: boolean;
  /** The ticket was taken (TLS 1.3). */
  readonly isResumed: boolean;
  /** TLS 1.2 and before: TLS 1.3 encrypts it. */
  readonly alpn?: string | undefined;
}

export interface Said {
  readonly choice: Choice | undefined;
  /** Such as `protocol_version`. */
  readonly alert: string | undefined;
  /** The first bytes, where they are no TLS. */
  readonly foreign: Uint8Array | undefined;
  /** As they were sent, the leaf first; undefined when none were seen. Of TLS 1.3: with the secret alone. */
  readonly certificates: readonly Uint8Array[] | undefined;
  /** It wants a certificate of the client. Of TLS 1.3: with the secret alone. */
  readonly asksCertificate: boolean;
  /** What of TLS 1.2 and before a session can be resumed by. */
  readonly session: "ticket" | "session id" | undefined;
}

/** More is never in the clear. */
const MOST_BYTES = 128 * 1024;

export class TlsSeen {
  /** How often this side has sent and then got something: round trips. */
  turns = 0;
  bytesReceived = 0;
  #isOurTurn = false;
  #bytes = Buffer.alloc(0);

  sent(): void {
    this.#isOurTurn = true;
  }

  received(bytes: Uint8Array): void {
    if (this.#isOurTurn) this.turns++;
    this.#isOurTurn = false;
    this.bytesReceived += bytes.length;
    if (this.#bytes.length < MOST_BYTES) this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  /** `secret`: SERVER_HANDSHAKE_TRAFFIC_SECRET, to read what TLS 1.3 encrypts of its handshake. */
  read(secret?: Uint8Array): Said {
    const bytes = this.#bytes;
    const foreign = bytes.length >= 5 && !isTls(bytes) ? bytes.subarray(0, 64) : undefined;
    const parts: Uint8Array[] = [];
    const sealed: Uint8Array[] = [];
    let alert: string | undefined;
    for (const record of readRecords(bytes).records) {
      if (record.type === "application_data") {
        sealed.push(bytes.subarray(record.at, record.at + 5 + record.payload.length));
        continue;
      }
      // Of TLS 1.2 and before all that follows is encrypted; of TLS 1.3 it means nothing (RFC 8446 §D.4).
      if (
        record.type === "change_cipher_spec" &&
        choiceOf(readHandshake(Buffer.concat(parts)))?.version !== "TLS 1.3"
      ) {
        break;
      }
      if (record.type === "handshake") parts.push(record.payload);
      const said = readAlert(record);
      if (said) alert ??= alertName(said.description);
    }
    const clear = readHandshake(Buffer.concat(parts)).filter(({ isWhole }) => isWhole);
    const choice = choiceOf(clear);
    const isTls13 = choice?.version === "TLS 1.3";
    const messages = isTls13 && secret ? [...clear, ...opened(sealed, helloOf(clear)!.cipherSuite, secret)] : clear;
    const find = (wanted: number) => messages.find(({ type }) => type === wanted);
    const certificate = find(HANDSHAKE.Certificate);
    const ticket = isTls13 ? undefined : find(HANDSHAKE.NewSessionTicket);
    const hasTicket = ticket !== undefined && (readNewSessionTicket(ticket.body)?.bytes ?? 0) > 0;
    const hasId = !isTls13 && (helloOf(clear)?.sessionId.length ?? 0) > 0;
    return {
      choice,
      alert,
      foreign,
      certificates: certificate && readCertificate(certificate.body, isTls13),
      asksCertificate: find(HANDSHAKE.CertificateRequest) !== undefined,
      session: hasTicket ? "ticket" : hasId ? "session id" : undefined,
    };
  }
}

/** The handshake messages of TLS 1.3 that were sealed, as far as the key of the handshake opens records. */
function opened(records: readonly Uint8Array[], suite: number, secret: Uint8Array): HandshakeMessage[] {
  const keys = tlsKeys(suite, secret);
  const parts: Uint8Array[] = [];
  for (const [number, record] of keys ? records.entries() : []) {
    const plain = openRecord(record, number, keys!);
    if (!plain) break;
    if (plain.type === CONTENT_TYPE.handshake) parts.push(plain.content);
  }
  return readHandshake(Buffer.concat(parts)).filter(({ isWhole }) => isWhole);
}

function hellosOf(messages: readonly HandshakeMessage[]) {
  return messages.flatMap(({ type, body }) => (type === HANDSHAKE.ServerHello ? (readServerHello(body) ?? []) : []));
}

function helloOf(messages: readonly HandshakeMessage[]) {
  return hellosOf(messages).at(-1);
}

/** The last ServerHello of these messages. */
export function choiceOf(messages: readonly HandshakeMessage[]): Choice | undefined {
  const hello = helloOf(messages);
  if (!hello) return undefined;
  const exchange = messages.find(({ type }) => type === HANDSHAKE.ServerKeyExchange);
  const group = hello.group ?? (exchange && readServerKeyExchange(exchange.body)?.group);
  return {
    version: versionName(hello.version),
    cipher: suiteName(hello.cipherSuite),
    group: group === undefined ? undefined : groupName(group),
    isRetried: hellosOf(messages).some(({ isRetryRequest }) => isRetryRequest),
    isResumed: hello.pskIndex !== undefined,
    alpn: hello.alpn,
  };
}
