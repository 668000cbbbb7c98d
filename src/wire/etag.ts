/** Entity tags (RFC 9110 §8.8.3) and `If-None-Match` (§13.1.2). */

/** The tags of an `If-None-Match`, without quotes and the mark of weakness: it compares weakly. */
export function parseEtags(header: string): string[] | "*" {
  if (header.trim() === "*") return "*";
  return Array.from(header.matchAll(/(?:W\/)?"([^"]*)"/g), (match) => match[1]!);
}

/** Whether the tag (without quotes) is among them. */
export function hasEtag(header: string | null, tag: string): boolean {
  if (header === null) return false;
  const tags = parseEtags(header);
  return tags === "*" || tags.includes(tag);
}
