/** What both hellos say (RFC 8446 §4.1.2, §4.1.3), and the messages of TLS 1.2 that are sent in the clear. */
import { Cursor, hex, latin1 } from "./cursor.ts";
import { EXTENSION, isGrease } from "./tls-names.ts";

export interface Hello {
  /** As the field of TLS 1.2 says; what TLS 1.3 goes by is `versions` or `version`. */
  readonly legacyVersion: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  /** Types, in their order. */
  readonly extensions: readonly Extension[];
}

export interface Extension {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface ClientHello extends Hello {
  /** Without GREASE (RFC 8701), as in all lists here. */
  readonly cipherSuites: readonly number[];
  /** The newest first as a rule; of a client without the extension its legacy version. */
  readonly versions: readonly number[];
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  readonly groups: readonly number[];
  /** For which it sends a public key already, with its size. */
  readonly keyShares: readonly { readonly group: number; readonly bytes: number }[];
  readonly signatureAlgorithms: readonly number[];
  /** Tickets of TLS 1.3 that it offers (pre_shared_key), with the size of each. */
  readonly pskIdentities: readonly number[];
  /** Of TLS 1.2 (RFC 5077): undefined: cannot; 0: asks for a ticket; else the size of the one that it offers. */
  readonly sessionTicketBytes: number | undefined;
  readonly hasEarlyData: boolean;
  /** It answers a HelloRetryRequest with a cookie. */
  readonly hasCookie: boolean;
}

export interface ServerHello extends Hello {
  readonly cipherSuite: number;
  /** Chosen: of `supported_versions`, else the legacy version. */
  readonly version: number;
  /** Of its key share, or in a HelloRetryRequest the group that it wants. */
  readonly group: number | undefined;
  readonly isRetryRequest: boolean;
  /** It takes this one of the offered tickets (TLS 1.3). */
  readonly pskIndex: number | undefined;
  /** TLS 1.2 alone: in TLS 1.3 it is encrypted. */
  readonly alpn: string | undefined;
  /** TLS 1.2 alone: it will send a ticket. */
  readonly willSendTicket: boolean;
}

/** RFC 8446 §4.1.3: the random of a ServerHello that is a HelloRetryRequest. */
const RETRY = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

/** The body of the message. A hello that is cut is read as far as it goes when its lists have come; else undefined. */
export function readClientHello(body: Uint8Array): ClientHello | undefined {
  const cursor = new Cursor(body);
  const legacyVersion = cursor.u16();
  const random = cursor.take(32);
  const sessionId = cursor.vector(1);
  const cipherSuites = cursor.u16s(2).filter(isMeant);
  cursor.vector(1);
  if (cursor.isShort) return undefined;
  const extensions = readExtensions(cursor);
  const within = (type: number) => new Cursor(find(extensions, type) ?? new Uint8Array(0));
  const has = (type: number) => find(extensions, type) !== undefined;
  const versions = within(EXTENSION.supported_versions).u16s(1).filter(isMeant);
  return {
    legacyVersion,
    random,
    sessionId,
    extensions,
    cipherSuites,
    versions: versions.length > 0 ? versions : [legacyVersion],
    serverName: serverName(within(EXTENSION.server_name)),
    alpn: protocols(within(EXTENSION.alpn)),
    groups: within(EXTENSION.supported_groups).u16s(2).filter(isMeant),
    keyShares: keyShares(within(EXTENSION.key_share)),
    signatureAlgorithms: within(EXTENSION.signature_algorithms).u16s(2).filter(isMeant),
    pskIdentities: identities(within(EXTENSION.pre_shared_key)),
    sessionTicketBytes: find(extensions, EXTENSION.session_ticket)?.length,
    hasEarlyData: has(EXTENSION.early_data),
    hasCookie: has(EXTENSION.cookie),
  };
}

export function readServerHello(body: Uint8Array): ServerHello | undefined {
  const cursor = new Cursor(body);
  const legacyVersion = cursor.u16();
  const random = cursor.take(32);
  const sessionId = cursor.vector(1);
  const cipherSuite = cursor.u16();
  cursor.u8();
  if (cursor.isShort) return undefined;
  const extensions = readExtensions(cursor);
  const within = (type: number) => new Cursor(find(extensions, type) ?? new Uint8Array(0));
  const first = (type: number) => {
    const number = within(type).u16();
    return find(extensions, type) ? number : undefined;
  };
  return {
    legacyVersion,
    random,
    sessionId,
    extensions,
    cipherSuite,
    version: first(EXTENSION.supported_versions) ?? legacyVersion,
    group: first(EXTENSION.key_share),
    isRetryRequest: hex(random) === RETRY,
    pskIndex: first(EXTENSION.pre_shared_key),
    alpn: protocols(within(EXTENSION.alpn))[0],
    willSendTicket: find(extensions, EXTENSION.session_ticket) !== undefined,
  };
}

/** Sizes of the certificates of a chain, the leaf first (RFC 5246 §7.4.2); with `isTls13` as in RFC 8446 §4.4.2. */
export function readCertificate(body: Uint8Array, isTls13 = false): Uint8Array[] | undefined {
  const cursor = new Cursor(body);
  if (isTls13) cursor.vector(1);
  const list = new Cursor(cursor.vector(3));
  const chain: Uint8Array[] = [];
  while (list.left > 0) {
    const certificate = list.vector(3);
    if (isTls13) list.vector(2);
    if (!list.isShort) chain.push(certificate);
  }
  return cursor.isShort || list.isShort ? undefined : chain;
}

/** The group of an ephemeral key exchange over a named curve (RFC 8422 §5.4); undefined for other ways. */
export function readServerKeyExchange(
  body: Uint8Array,
): { readonly group: number; readonly bytes: number } | undefined {
  const cursor = new Cursor(body);
  const isNamed = cursor.u8() === 3;
  const group = cursor.u16();
  const key = cursor.vector(1);
  return cursor.isShort || !isNamed ? undefined : { group, bytes: key.length };
}

export interface NewSessionTicket {
  readonly lifetimeSeconds: number;
  readonly bytes: number;
  /** Of TLS 1.3: most bytes of early data that it allows. */
  readonly maxEarlyData?: number;
}

/** RFC 5077 §3.3; with `isTls13` as in RFC 8446 §4.6.1. */
export function readNewSessionTicket(body: Uint8Array, isTls13 = false): NewSessionTicket | undefined {
  const cursor = new Cursor(body);
  const lifetimeSeconds = cursor.u32();
  if (isTls13) {
    cursor.u32();
    cursor.vector(1);
  }
  const ticket = cursor.vector(2);
  if (cursor.isShort) return undefined;
  const early = isTls13 ? find(readExtensions(cursor), EXTENSION.early_data) : undefined;
  return {
    lifetimeSeconds,
    bytes: ticket.length,
    ...(early?.length === 4 && { maxEarlyData: new Cursor(early).u32() }),
  };
}

/** The protocol of an EncryptedExtensions that was decrypted (RFC 8446 §4.3.1). */
export function readEncryptedExtensions(body: Uint8Array): { readonly alpn?: string; readonly hasEarlyData: boolean } {
  const extensions = readExtensions(new Cursor(body));
  const [alpn] = protocols(new Cursor(find(extensions, EXTENSION.alpn) ?? new Uint8Array(0)));
  return {
    ...(alpn !== undefined && { alpn }),
    hasEarlyData: find(extensions, EXTENSION.early_data) !== undefined,
  };
}

const isMeant = (value: number) => !isGrease(value);

function find(extensions: readonly Extension[], wanted: number): Uint8Array | undefined {
  return extensions.find(({ type }) => type === wanted)?.data;
}

function readExtensions(cursor: Cursor): Extension[] {
  const size = cursor.left >= 2 ? cursor.u16() : 0;
  // Of a hello that is cut, those that have come.
  const within = new Cursor(cursor.bytes, cursor.at, cursor.at + size);
  const extensions: Extension[] = [];
  while (within.left >= 4) {
    const type = within.u16();
    const data = within.vector(2);
    if (!within.isShort && isMeant(type)) extensions.push({ type, data });
  }
  return extensions;
}

/** RFC 6066 §3 */
function serverName(cursor: Cursor): string | undefined {
  const list = new Cursor(cursor.vector(2));
  while (list.left > 0) {
    const type = list.u8();
    const name = list.vector(2);
    if (!list.isShort && type === 0) return latin1(name);
  }
  return undefined;
}

/** RFC 7301 §3.1 */
function protocols(cursor: Cursor): string[] {
  const list = new Cursor(cursor.vector(2));
  const names: string[] = [];
  while (list.left > 0) {
    const name = latin1(list.vector(1));
    if (!list.isShort && !isGreaseName(name)) names.push(name);
  }
  return names;
}

function isGreaseName(name: string): boolean {
  return name.length === 2 && isGrease((name.charCodeAt(0) << 8) | name.charCodeAt(1));
}

function keyShares(cursor: Cursor): { group: number; bytes: number }[] {
  const list = new Cursor(cursor.vector(2));
  const shares: { group: number; bytes: number }[] = [];
  while (list.left > 0) {
    const group = list.u16();
    const key = list.vector(2);
    if (!list.isShort && isMeant(group)) shares.push({ group, bytes: key.length });
  }
  return shares;
}

function identities(cursor: Cursor): number[] {
  const list = new Cursor(cursor.vector(2));
  const sizes: number[] = [];
  while (list.left > 0) {
    const identity = list.vector(2);
    list.u32();
    if (!list.isShort) sizes.push(identity.length);
  }
  return sizes;
}
