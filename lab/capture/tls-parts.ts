/** The records of both directions of a TLS connection, with what they carry: by the key log, or as far as it shows. */

import {
  type HandshakeMessage,
  isTls,
  RECORD_HEADER_BYTES,
  readAlert,
  readHandshake,
  readRecords,
  type TlsRecord,
} from "../../src/wire/packet/tls.ts";
import {
  type ClientHello,
  readClientHello,
  readServerHello,
  type ServerHello,
} from "../../src/wire/packet/tls-hello.ts";
import { alertName, CONTENT_TYPE, HANDSHAKE, suiteName } from "../../src/wire/packet/tls-names.ts";
import { EARLY_SECRET, type KeyLog, type Keys, openRecord, suiteOf, tlsKeys } from "./keys.ts";
import { type Part, plainParts, type Sides, size } from "./parts.ts";
import { messageText } from "./tls-text.ts";

const TLS_13 = 0x0304;
const EMPTY = new Uint8Array(0);
/** The tag and the real type (RFC 8446 §5.2). */
const TAIL_13 = 17;
const TAG_BYTES = 16;

export interface TlsConversation {
  readonly parts: Sides<readonly Part[]>;
  /** The messages of the handshake that could be read, in the order of each side. */
  readonly messages: Sides<readonly ReadMessage[]>;
  /** The same with what applications sent, in the order of each side, for as much of it as was whole. */
  readonly said: Sides<readonly Said[]>;
  /** The last hello of the client: after a HelloRetryRequest there are two. */
  readonly clientHello: ClientHello | undefined;
  readonly serverHello: ServerHello | undefined;
  readonly wasRetried: boolean;
  /** What was sent in the records, as far as the keys open them. */
  readonly plain: Sides<Uint8Array>;
}

export interface ReadMessage extends HandshakeMessage {
  /** It was sent encrypted, and the key log opened it. */
  readonly wasEncrypted: boolean;
}

export interface Said {
  /** In the stream of its side: where the record begins that has it, or the end of it. */
  readonly from: number;
  readonly what:
    | { readonly kind: "handshake"; readonly message: ReadMessage }
    /** Bytes of the application; `isEarly`: under the keys of early data. */
    | { readonly kind: "data"; readonly bytes: number; readonly isEarly: boolean }
    /** No key opens it. */
    | { readonly kind: "sealed"; readonly bytes: number };
}

/** When the byte at this place of the stream of a side was first sent, on the clock of the capture. */
export type TimeOf = (side: "client" | "server", offset: number) => number;

/** Undefined when it is no TLS. */
export function tlsConversation(
  client: Uint8Array,
  server: Uint8Array,
  keyLog?: KeyLog,
  timeOf: TimeOf = () => 0,
): TlsConversation | undefined {
  if (!isTls(client) && !isTls(server)) return undefined;
  const records = { client: readRecords(client).records, server: readRecords(server).records };
  const hellos = plainMessages(records.server).flatMap(({ type, body }) => {
    const hello = type === HANDSHAKE.ServerHello ? readServerHello(body) : undefined;
    return hello ? [hello] : [];
  });
  const clientHello = plainMessages(records.client)
    .flatMap(({ type, body }) => (type === HANDSHAKE.ClientHello ? [readClientHello(body)] : []))
    .at(-1);
  const serverHello = hellos.at(-1);
  const answeredAt = records.server[0] ? timeOf("server", records.server[0].at) : Number.POSITIVE_INFINITY;
  const finished = records.client.find(({ type, at }) => {
    return type === "application_data" && timeOf("client", at) >= answeredAt;
  });
  const read = (side: "client" | "server") =>
    new Side(side, records[side], {
      hello: serverHello,
      epochs: clientHello ? epochs(side, keyLog, clientHello, serverHello) : [],
      // Without keys: what a client sends before the first answer is early data, its next record its Finished.
      isEarly: (record) => side === "client" && timeOf("client", record.at) < answeredAt,
      isFinished: (record) => record === finished,
      isHandshake: (record) => {
        return side === "server" && (!finished || timeOf("server", record.at) < timeOf("client", finished.at));
      },
    });
  const [a, b] = [read("client"), read("server")];
  const inner = plainParts(a.plain, b.plain);
  const attach = (parts: readonly Building[], of: readonly Part[]): Part[] => {
    return parts.map(({ plainAt, ...part }) =>
      plainAt === undefined ? part : { ...part, inner: { at: plainAt, parts: of } },
    );
  };
  return {
    parts: { client: attach(a.parts, inner.client), server: attach(b.parts, inner.server) },
    messages: { client: a.messages, server: b.messages },
    said: { client: a.said, server: b.said },
    clientHello,
    serverHello,
    wasRetried: hellos.some(({ isRetryRequest }) => isRetryRequest),
    plain: { client: a.plain, server: b.plain },
  };
}

interface Known {
  readonly hello: ServerHello | undefined;
  readonly epochs: readonly Epoch[];
  isEarly(record: TlsRecord): boolean;
  isFinished(record: TlsRecord): boolean;
  isHandshake(record: TlsRecord): boolean;
}

interface Epoch {
  readonly keys: Omit<Keys, "header">;
  readonly isEarly: boolean;
}

interface Building extends Part {
  readonly plainAt?: number;
}

/** One direction, record by record. */
class Side {
  readonly parts: Building[] = [];
  readonly said: Said[] = [];
  readonly #pieces: Uint8Array[] = [];
  #plainBytes = 0;
  readonly #side: "client" | "server";
  readonly #known: Known;
  #epoch = 0;
  #number = 0;
  #isEncrypted = false;
  /** Of a handshake message that goes on in the next record. */
  #rest: Uint8Array = EMPTY;

  constructor(side: "client" | "server", records: readonly TlsRecord[], known: Known) {
    this.#side = side;
    this.#known = known;
    for (const record of records) this.#add(record);
  }

  get messages(): ReadMessage[] {
    return this.said.flatMap(({ what }) => (what.kind === "handshake" ? [what.message] : []));
  }

  get plain(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }

  #add(record: TlsRecord): void {
    const isTls13 = this.#known.hello?.version === TLS_13;
    switch (record.type) {
      case "change_cipher_spec":
        // RFC 8446 §5: in TLS 1.3 it means nothing, and is there for boxes in between.
        this.#isEncrypted = !isTls13;
        this.#push(record, "ChangeCipherSpec", "handshake");
        return;
      case "alert": {
        const alert = readAlert(record);
        this.#push(record, alert ? `alert ${alertName(alert.description)}` : "alert (encrypted)", "close");
        return;
      }
      case "handshake":
        this.#push(
          record,
          this.#isEncrypted ? "Finished (encrypted)" : this.#handshake(record, record.payload, false, isTls13),
          "handshake",
        );
        return;
      default:
        if (isTls13 || !this.#known.hello) this.#sealed(record);
        else this.#push12(record);
    }
  }

  /** A record of TLS 1.3 that hides its type. */
  #sealed(record: TlsRecord): void {
    const opened = record.isWhole ? this.#open(record) : undefined;
    const isEarly = opened ? this.#known.epochs[this.#epoch]!.isEarly : this.#known.isEarly(record);
    const say = (what: Said["what"]) => this.said.push({ from: record.at, what });
    if (!opened) say({ kind: "sealed", bytes: record.payload.length });
    if (opened?.type === CONTENT_TYPE.application_data) say({ kind: "data", bytes: opened.content.length, isEarly });
    if (opened?.type === CONTENT_TYPE.handshake) {
      this.#push(record, this.#handshake(record, opened.content, true, true), "handshake");
    } else if (opened?.type === CONTENT_TYPE.alert) {
      this.#push(record, `alert ${alertName(opened.content[1] ?? 0)}`, "close");
    } else if (opened) {
      // Padding of a record is between its content and its end.
      const tail = record.length - opened.content.length;
      this.#data(record, RECORD_HEADER_BYTES, tail, isEarly, opened.content);
    } else if (this.#known.isFinished(record)) {
      this.#push(record, "Finished (encrypted)", "handshake");
    } else if (this.#known.isHandshake(record)) {
      this.#push(record, `encrypted handshake ${size(record.length - TAIL_13)}`, "handshake");
    } else this.#data(record, RECORD_HEADER_BYTES, TAIL_13, isEarly);
  }

  /** TLS 1.2: an explicit nonce of 8 bytes with AES-GCM (RFC 5288 §3), none with ChaCha20 (RFC 7905 §2). */
  #push12(record: TlsRecord): void {
    const isGcm = suiteName(this.#known.hello?.cipherSuite ?? 0).includes("_GCM_");
    const isAead = isGcm || suiteName(this.#known.hello?.cipherSuite ?? 0).includes("POLY1305");
    const [nonce, tag] = [isGcm ? 8 : 0, isAead ? TAG_BYTES : 0];
    this.#data(record, RECORD_HEADER_BYTES + nonce, tag, false);
    if (!record.isWhole) return;
    this.said.push({ from: record.at, what: { kind: "data", bytes: record.length - nonce - tag, isEarly: false } });
  }

  #data(record: TlsRecord, head: number, tail: number, isEarly: boolean, content?: Uint8Array): void {
    const to = record.at + RECORD_HEADER_BYTES + record.payload.length;
    const bytes = Math.max(0, record.length - (head - RECORD_HEADER_BYTES) - tail);
    this.parts.push({
      from: record.at,
      to,
      layer: "TLS",
      label: `${isEarly ? "early" : "application"} data ${size(bytes)}`,
      kind: "data",
      head: Math.min(head, to - record.at),
      tail: record.isWhole ? tail : 0,
      isEarly,
      ...(content && { plainAt: this.#plainBytes }),
    });
    if (!content) return;
    this.#pieces.push(content);
    this.#plainBytes += content.length;
  }

  #push(record: TlsRecord, label: string, kind: Part["kind"]): void {
    const to = record.at + RECORD_HEADER_BYTES + record.payload.length;
    this.parts.push({ from: record.at, to, layer: "TLS", label, kind, head: to - record.at, tail: 0 });
  }

  /** The messages that begin in these bytes of handshake records; those that are cut are read when they are whole. */
  #handshake({ at: from }: TlsRecord, bytes: Uint8Array, wasEncrypted: boolean, isTls13: boolean): string {
    const begun = this.#rest.length;
    const all = begun > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    const labels: string[] = [];
    this.#rest = EMPTY;
    for (const message of readHandshake(all)) {
      const text = messageText(message, this.#side, isTls13);
      if (message.at > 0 || begun === 0) labels.push(text);
      if (message.isWhole) this.said.push({ from, what: { kind: "handshake", message: { ...message, wasEncrypted } } });
      else this.#rest = all.subarray(message.at);
    }
    return labels.length > 0 ? labels.join(", ") : "handshake message, continued";
  }

  /** With the keys of now, or the next ones: nothing in the clear says when they change. */
  #open(record: TlsRecord): ReturnType<typeof openRecord> {
    const bytes = new Uint8Array(RECORD_HEADER_BYTES + record.length);
    bytes.set([23, record.version >> 8, record.version & 255, record.length >> 8, record.length & 255]);
    bytes.set(record.payload, RECORD_HEADER_BYTES);
    for (let epoch = this.#epoch; epoch < this.#known.epochs.length; epoch++) {
      const number = epoch === this.#epoch ? this.#number : 0;
      const opened = openRecord(bytes, number, this.#known.epochs[epoch]!.keys);
      if (!opened) continue;
      this.#epoch = epoch;
      this.#number = number + 1;
      return opened;
    }
    return undefined;
  }
}

/** Handshake messages before anything is encrypted. */
function plainMessages(records: readonly TlsRecord[]): HandshakeMessage[] {
  const end = records.findIndex(({ type }) => type === "change_cipher_spec" || type === "application_data");
  // After a HelloRetryRequest the other side sends a ChangeCipherSpec before its second hello: it is plain, too.
  const plain = records.filter(({ type, payload }, index) => {
    return type === "handshake" && (end < 0 || index < end || payload[0] === 1 || payload[0] === 2);
  });
  return readHandshake(Buffer.concat(plain.map(({ payload }) => payload)));
}

function epochs(
  side: "client" | "server",
  keyLog: KeyLog | undefined,
  { random, cipherSuites }: ClientHello,
  hello: ServerHello | undefined,
): Epoch[] {
  if (hello && hello.version !== TLS_13) return [];
  const labels =
    side === "client"
      ? [EARLY_SECRET, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"]
      : ["SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"];
  return labels.flatMap((label) => {
    const secret = keyLog?.secret(label, random);
    const suite = hello?.cipherSuite ?? (secret && suiteOf(secret, cipherSuites));
    const keys = secret && suite !== undefined ? tlsKeys(suite, secret) : undefined;
    return keys ? [{ keys, isEarly: label === EARLY_SECRET }] : [];
  });
}
