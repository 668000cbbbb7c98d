/** `Prefer` (RFC 7240). Only the preferences that Backtalk knows; §2: unknown or malformed ones are ignored. */

export interface Preferences {
  /** §4.1 */
  readonly respondAsync: boolean;
  /** §4.3: whole seconds. */
  readonly wait: number | undefined;
}

export const NO_PREFERENCES: Preferences = Object.freeze({ respondAsync: false, wait: undefined });

export function parsePrefer(header: string): Preferences {
  let respondAsync = false;
  let wait: number | undefined;
  for (const each of splitOutsideQuotes(header)) {
    // Parameters of a preference come after `;`: none of ours has any.
    const preference = each.split(";", 1)[0]!;
    const equals = preference.indexOf("=");
    const name = (equals === -1 ? preference : preference.slice(0, equals)).trim().toLowerCase();
    const value = equals === -1 ? "" : unquote(preference.slice(equals + 1).trim());
    if (name === "respond-async") respondAsync = true;
    // §2: of a preference that is given twice the first counts.
    else if (name === "wait" && wait === undefined && /^[0-9]{1,9}$/.test(value)) wait = Number(value);
  }
  return { respondAsync, wait };
}

/** By hand: an expression for it goes back at each quote of many that are never closed. */
function splitOutsideQuotes(header: string): string[] {
  if (!header.includes('"')) return header.split(",");
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < header.length; i++) {
    const char = header[i];
    if (isQuoted && char === "\\") i++;
    else if (char === '"') isQuoted = !isQuoted;
    else if (char === "," && !isQuoted) {
      parts.push(header.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, header.slice(start)];
}

function unquote(value: string): string {
  return value.length >= 2 && value[0] === '"' && value.endsWith('"') ? value.slice(1, -1) : value;
}
