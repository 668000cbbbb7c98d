import type { SessionOptions } from "node:quic";
import type { Conditions } from "./conditions.ts";

/** What the lab's clients of HTTP/3 ask of `node:quic`. @param onKey is given each line of the key log */
export function quicClient(onKey: (line: string) => void, congestion?: Conditions["congestion"]): SessionOptions {
  return {
    alpn: "h3",
    servername: "localhost",
    rejectUnauthorized: false,
    verifyPeer: "manual",
    reuseEndpoint: false,
    // By default it is bound to 127.0.0.1, and reaches nobody else.
    endpoint: { address: "0.0.0.0:0" },
    // Version 2 would cost nothing, but negotiating it makes two captures out of one (RFC 9369 §4).
    version: 1,
    ...(congestion !== undefined && { cc: congestion }),
    keylog: true,
    onkeylog: (line) => onKey(line.trim()),
  };
}
