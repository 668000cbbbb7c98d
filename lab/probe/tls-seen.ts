/** What a server says in the clear while TLS begins: its choices are read from the wire, not asked of a library. */
import { type HandshakeMessage, isTls, readAlert, readHandshake, readRecords } from "../../src/wire/packet/tls.ts";
import { readCertificate, readServerHello, readServerKeyExchange } from "../../src/wire/packet/tls-hello.ts";
import { alertName, groupName, HANDSHAKE, suiteName, versionName } from "../../src/wire/packet/tls-names.ts";

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
}

export interface Clear {
  readonly choice: Choice | undefined;
  /** Such as `protocol_version`. */
  readonly alert: string | undefined;
  /** The first bytes, where they are no TLS. */
  readonly foreign: Uint8Array | undefined;
  /** Of TLS 1.2 and before: the sizes of the certificates; undefined when none came in the clear. */
  readonly certificateBytes: readonly number[] | undefined;
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

  read(): Clear {
    const bytes = this.#bytes;
    const foreign = bytes.length >= 5 && !isTls(bytes) ? bytes.subarray(0, 64) : undefined;
    const parts: Uint8Array[] = [];
    let alert: string | undefined;
    for (const record of readRecords(bytes).records) {
      if (record.type === "application_data") break;
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
    const messages = readHandshake(Buffer.concat(parts)).filter(({ isWhole }) => isWhole);
    const certificate = messages.find(({ type }) => type === HANDSHAKE.Certificate);
    return {
      choice: choiceOf(messages),
      alert,
      foreign,
      certificateBytes: certificate && readCertificate(certificate.body)?.map(({ length }) => length),
    };
  }
}

/** The last ServerHello of these messages. */
export function choiceOf(messages: readonly HandshakeMessage[]): Choice | undefined {
  const hellos = messages.flatMap(({ type, body }) =>
    type === HANDSHAKE.ServerHello ? (readServerHello(body) ?? []) : [],
  );
  const hello = hellos.at(-1);
  if (!hello) return undefined;
  const exchange = messages.find(({ type }) => type === HANDSHAKE.ServerKeyExchange);
  const group = hello.group ?? (exchange && readServerKeyExchange(exchange.body)?.group);
  return {
    version: versionName(hello.version),
    cipher: suiteName(hello.cipherSuite),
    group: group === undefined ? undefined : groupName(group),
    isRetried: hellos.some(({ isRetryRequest }) => isRetryRequest),
    isResumed: hello.pskIndex !== undefined,
  };
}
