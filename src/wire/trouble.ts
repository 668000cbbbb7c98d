/** Why a connection did not come about, in plain words: platforms tell it by codes and texts of their own. */

export interface Trouble {
  readonly what: string;
  readonly hint: string;
  /** Another try would end the same way: it is the wrong port, or a certificate that nobody trusts. */
  readonly isLasting: boolean;
}

/** @param thrown an error, with its causes; undefined for what says nothing of connections */
export function troubleOf(thrown: unknown): Trouble | undefined {
  let text = "";
  for (let error = thrown, depth = 0; error instanceof Error && depth < 5; error = error.cause, depth++) {
    text += ` ${(error as { code?: unknown }).code} ${error.message}`;
  }
  return KINDS.find(([pattern]) => pattern.test(text))?.[1];
}

/** What to say of an answer that sends elsewhere. A browser shows no more of one than that there was one (Fetch §2.2.6). */
export function redirectOf({ type, status, headers }: Response): Pick<Trouble, "what" | "hint"> | undefined {
  if (type !== "opaqueredirect" && !(status >= 300 && status < 400)) return undefined;
  const location = headers.get("location");
  return {
    what: `the server redirects ${location === null ? "elsewhere" : `to ${location.slice(0, 256)}`}`,
    hint: "redirects are not followed: credentials would go there. Give that address, if it is the right one",
  };
}

/** The first that fits. The words are those of Node, Bun (BoringSSL) and undici. */
const KINDS: readonly (readonly [RegExp, Trouble])[] = [
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|\bEPROTO\b/,
    { what: "no TLS is spoken there", hint: "is it a port without TLS? Use its address without s", isLasting: true },
  ],
  [
    /\bCERT_|ALTNAME|SELF_SIGNED|UNABLE_TO_|UNABLE_TO_VERIFY|verify the first certificate|self.signed certificate/,
    {
      what: "its certificate is not trusted",
      hint: "give the certificate that is to be trusted (--cacert FILE), and use the name that it is for",
      isLasting: true,
    },
  ],
  [
    /ECONNREFUSED|ConnectionRefused/,
    { what: "nobody listens there", hint: "is the address right, and is the server running?", isLasting: false },
  ],
  [
    /ENOENT/,
    { what: "there is no such socket", hint: "is the path right, and is the server running?", isLasting: false },
  ],
  [
    /ENOTFOUND|EAI_AGAIN|getaddrinfo/,
    { what: "the name is not known", hint: "is the name right, and is there a network?", isLasting: false },
  ],
  [
    /Malformed_HTTP|ERR_HTTP2|NGHTTP2|Protocol error|HPE_|Parse Error/,
    {
      what: "something else is spoken there",
      hint: "is the port right? `backtalk serve` prints which is for what",
      isLasting: true,
    },
  ],
  [
    /nothing came for/,
    {
      what: "it takes connections, and says nothing",
      hint: "is the port right? `backtalk serve` prints which is for what",
      isLasting: false,
    },
  ],
  [
    /ECONNRESET|SOCKET_CLOSED|Socket is closed|closed unexpectedly|socket disconnected|cancelled the stream|ended before its answer/,
    {
      what: "the connection was closed before there was an answer",
      hint: "is the port right, and is it one with TLS, or without? `backtalk serve` prints which is for what",
      isLasting: false,
    },
  ],
];
