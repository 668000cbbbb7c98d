/** What both halves, and what hosts them, know of messages and fields. */
import type { IncomingHttpHeaders } from "node:http2";

/** The flags of a message and its length in four bytes, in gRPC, gRPC-Web and the streams of Connect. */
export const PREFIX_BYTES = 5;

/** The fields without the pseudo-header fields. */
export function headersOf(fields: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const name in fields) {
    const value = fields[name];
    if (value === undefined || name.startsWith(":")) continue;
    for (const each of Array.isArray(value) ? value : [value]) headers.append(name, each);
  }
  return headers;
}
