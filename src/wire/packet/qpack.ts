/**
 * Header blocks of HTTP/3 (QPACK, RFC 9204 §4.5). The static table is known; a reference to the dynamic table
 * is told as such, without its text: that came on another stream. Nothing here throws.
 */
import { type HeaderField, readInteger, readText } from "./hpack.ts";

/** Undefined when the block is broken. */
export function readQpack(block: Uint8Array): HeaderField[] | undefined {
  const at = { value: 0 };
  // §4.5.1: how much of the dynamic table must have come, and from where it is counted.
  if (readInteger(block, at, 8) === undefined || readInteger(block, at, 7) === undefined) return undefined;
  const fields: HeaderField[] = [];
  while (at.value < block.length) {
    const begin = at.value;
    const read = readField(block, at);
    if (!read) return undefined;
    fields.push({ ...read, bytes: at.value - begin });
  }
  return fields;
}

function readField(block: Uint8Array, at: { value: number }): Omit<HeaderField, "bytes"> | undefined {
  const first = block[at.value]!;
  if (first & 0x80) return referred(block, at, 6, (first & 0x40) === 0, "indexed");
  if (first & 0x40) return referred(block, at, 4, (first & 0x10) === 0, first & 0x20 ? "never remembered" : "literal");
  if (first & 0x20) {
    const name = readText(block, at, 3);
    const value = readText(block, at);
    const how = first & 0x10 ? "never remembered" : "literal";
    return name === undefined || value === undefined ? undefined : { name, value, how, isDynamic: false };
  }
  // §4.5.3, §4.5.5: entries that came after the base.
  return first & 0x10
    ? referred(block, at, 4, true, "indexed")
    : referred(block, at, 3, true, first & 0x08 ? "never remembered" : "literal");
}

/** By an index: the field, or for a literal its name. */
function referred(
  block: Uint8Array,
  at: { value: number },
  prefix: number,
  isDynamic: boolean,
  how: HeaderField["how"],
): Omit<HeaderField, "bytes"> | undefined {
  const index = readInteger(block, at, prefix);
  if (index === undefined) return undefined;
  const entry = isDynamic ? ([`dynamic entry ${index}`] as const) : STATIC[index];
  const value = how === "indexed" ? (entry?.[1] ?? "") : readText(block, at);
  return entry && value !== undefined ? { name: entry[0], value, how, isDynamic } : undefined;
}

/** Appendix A, from 0. */
const STATIC: readonly (readonly [name: string, value?: string])[] = [
  [":authority"],
  [":path", "/"],
  ["age", "0"],
  ["content-disposition"],
  ["content-length", "0"],
  ["cookie"],
  ["date"],
  ["etag"],
  ["if-modified-since"],
  ["if-none-match"],
  ["last-modified"],
  ["link"],
  ["location"],
  ["referer"],
  ["set-cookie"],
  [":method", "CONNECT"],
  [":method", "DELETE"],
  [":method", "GET"],
  [":method", "HEAD"],
  [":method", "OPTIONS"],
  [":method", "POST"],
  [":method", "PUT"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "103"],
  [":status", "200"],
  [":status", "304"],
  [":status", "404"],
  [":status", "503"],
  ["accept", "*/*"],
  ["accept", "application/dns-message"],
  ["accept-encoding", "gzip, deflate, br"],
  ["accept-ranges", "bytes"],
  ["access-control-allow-headers", "cache-control"],
  ["access-control-allow-headers", "content-type"],
  ["access-control-allow-origin", "*"],
  ["cache-control", "max-age=0"],
  ["cache-control", "max-age=2592000"],
  ["cache-control", "max-age=604800"],
  ["cache-control", "no-cache"],
  ["cache-control", "no-store"],
  ["cache-control", "public, max-age=31536000"],
  ["content-encoding", "br"],
  ["content-encoding", "gzip"],
  ["content-type", "application/dns-message"],
  ["content-type", "application/javascript"],
  ["content-type", "application/json"],
  ["content-type", "application/x-www-form-urlencoded"],
  ["content-type", "image/gif"],
  ["content-type", "image/jpeg"],
  ["content-type", "image/png"],
  ["content-type", "text/css"],
  ["content-type", "text/html; charset=utf-8"],
  ["content-type", "text/plain"],
  ["content-type", "text/plain;charset=utf-8"],
  ["range", "bytes=0-"],
  ["strict-transport-security", "max-age=31536000"],
  ["strict-transport-security", "max-age=31536000; includesubdomains"],
  ["strict-transport-security", "max-age=31536000; includesubdomains; preload"],
  ["vary", "accept-encoding"],
  ["vary", "origin"],
  ["x-content-type-options", "nosniff"],
  ["x-xss-protection", "1; mode=block"],
  [":status", "100"],
  [":status", "204"],
  [":status", "206"],
  [":status", "302"],
  [":status", "400"],
  [":status", "403"],
  [":status", "421"],
  [":status", "425"],
  [":status", "500"],
  ["accept-language"],
  ["access-control-allow-credentials", "FALSE"],
  ["access-control-allow-credentials", "TRUE"],
  ["access-control-allow-headers", "*"],
  ["access-control-allow-methods", "get"],
  ["access-control-allow-methods", "get, post, options"],
  ["access-control-allow-methods", "options"],
  ["access-control-expose-headers", "content-length"],
  ["access-control-request-headers", "content-type"],
  ["access-control-request-method", "get"],
  ["access-control-request-method", "post"],
  ["alt-svc", "clear"],
  ["authorization"],
  ["content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"],
  ["early-data", "1"],
  ["expect-ct"],
  ["forwarded"],
  ["if-range"],
  ["origin"],
  ["purpose", "prefetch"],
  ["server"],
  ["timing-allow-origin", "*"],
  ["upgrade-insecure-requests", "1"],
  ["user-agent"],
  ["x-forwarded-for"],
  ["x-frame-options", "deny"],
  ["x-frame-options", "sameorigin"],
];
