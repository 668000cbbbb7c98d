/** The origin of a page (RFC 6454), as its browser says it. */

/** Origins such as `https://app.example` whose pages may use a server besides its own, or `*` for all of them. */
export type Origins = readonly string[] | "*";

/**
 * Whether a page is of the server's own origin: the one with the host of the request. A server behind a proxy
 * that ends TLS sees http, where the page has https.
 */
export function isOwnOrigin(origin: string, host: string | null, url: string): boolean {
  const slashes = origin.indexOf("://");
  if (slashes === -1 || origin.slice(slashes + 3) !== host) return false;
  return origin.startsWith("https:") || url.startsWith("http:");
}
