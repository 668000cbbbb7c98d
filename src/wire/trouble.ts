/** Why a connection did not come about, in plain words: platforms tell it by codes and texts of their own. Not for browsers, which tell nothing. */

export interface Trouble {
  readonly what: string;
  readonly hint: string;
  /** What somebody would have to look at. */
  readonly about: "address" | "port" | "certificate" | "trust";
  /** Another try would end the same way: it is the wrong port, or a certificate that nobody trusts. */
  readonly isLasting: boolean;
}

/** @param thrown an error, with its causes; undefined for what says nothing of connections */
export function troubleOf(thrown: unknown): Trouble | undefined {
  let text = "";
  for (let error = thrown, depth = 0; error instanceof Error && depth < 5; error = error.cause, depth++) {
    text += ` ${(error as { code?: unknown }).code} ${error.message}`;
  }
  const kind = KINDS.find(([pattern]) => pattern.test(text));
  if (!kind) return undefined;
  const [, about, what, hint, isLasting = false] = kind;
  return { what, hint, about, isLasting };
}

type Kind = readonly [pattern: RegExp, about: Trouble["about"], what: string, hint: string, isLasting?: true];

/** The first that fits. The words are those of Node, Bun (BoringSSL) and undici. */
const KINDS: readonly Kind[] = [
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|\bEPROTO\b/,
    "address",
    "no TLS is spoken there",
    "is it a port without TLS? Then its address begins with http://, grpc:// or tcp://",
    true,
  ],
  [
    /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate (has expired|is not yet valid)/,
    "certificate",
    "its certificate has expired, or is not valid yet",
    "the server needs a new one; or is the clock of one of the two machines wrong?",
    true,
  ],
  [/ALTNAME/, "certificate", "its certificate is for another name", "use the name that it is for", true],
  [
    /\bCERT_|SELF_SIGNED|UNABLE_TO_|verify the first certificate|self.signed certificate/,
    "trust",
    "its certificate is not trusted",
    "give the certificate that is to be trusted",
    true,
  ],
  [
    /ECONNREFUSED|ConnectionRefused/,
    "address",
    "nobody listens there",
    "is the address right, and is the server running?",
  ],
  [/ENOENT/, "address", "there is no such socket", "is the path right, and is the server running?"],
  [/ENOTFOUND|EAI_AGAIN|getaddrinfo/, "address", "the name is not known", "is the name right, and is there a network?"],
  [
    /Malformed_HTTP|ERR_HTTP2|NGHTTP2|Protocol error|HPE_|Parse Error/,
    "port",
    "something else is spoken there",
    "is the port right? Each protocol has its own",
    true,
  ],
  [
    /nothing came for/,
    "port",
    "it takes connections, and says nothing",
    "is the port right? Each protocol has its own",
  ],
  [
    /ECONNRESET|SOCKET_CLOSED|Socket is closed|closed unexpectedly|socket disconnected|cancelled the stream|ended before its answer/,
    "port",
    "the connection was closed before there was an answer",
    "is the port right, and is it one with TLS, or without?",
  ],
];
