/** Structured fields (RFC 9651), as far as they are needed. */

/**
 * An `Idempotency-Key`: a string (RFC 9651 §3.3.3), or as many clients send it, the same without quotes.
 * Undefined for what is neither.
 */
export function parseKey(header: string): string | undefined {
  const text = header.trim();
  if (text[0] !== '"') return BARE.test(text) ? text : undefined;
  const match = STRING.exec(text);
  return match ? match[1]!.replace(/\\(.)/g, "$1") || undefined : undefined;
}

/** Visible ASCII without quotes, commas and semicolons, so that two joined fields are not taken for one key. */
const BARE = /^[!#-+\--:<-~]+$/;
const STRING = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
