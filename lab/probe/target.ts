/** What a probe is pointed at. */

export interface Target {
  /** As it is written in full: `https://host:port/path`, or `host:port` where the scheme was not said. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** With the query. */
  readonly path: string;
  /** Undefined: what is spoken there is to be found out. */
  readonly scheme: "https" | "http" | undefined;
  /** Of the field Host: without a port that is the usual one. */
  readonly authority: string;
  /** The name for SNI; an address is none (RFC 6066 §3). */
  readonly serverName: string | undefined;
}

/**
 * `localhost:4400`, `example.org`, `https://example.org/path`, `wss://...`, `grpcs://...`, `[::1]:443`.
 * @throws RangeError that says how it is written
 */
export function parseTarget(text: string): Target {
  const given = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text.trim());
  const scheme = given ? SCHEMES[given[1]!.toLowerCase()] : undefined;
  if (given && !scheme) throw new RangeError(`${given[1]}:// is not probed; ${WRITE}`);
  const rest = given ? given[2]! : text.trim().startsWith(":") ? `localhost${text.trim()}` : text.trim();
  const url = URL.parse(`http://${rest}`);
  if (!url || url.hostname === "") throw new RangeError(`not an address: ${JSON.stringify(text)}; ${WRITE}`);
  if (url.username !== "" || url.password !== "") throw new RangeError("the address holds credentials: none are sent");
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  // "http://host:80" loses its port, which is the same for http alone.
  const said = /^[^/?#]*:(\d+)(?=[/?#]|$)/.exec(rest)?.[1];
  const port = said === undefined ? (scheme === "http" ? 80 : 443) : Number(said);
  if (port < 1) throw new RangeError("port 0 is no port of a server");
  const isUsual = port === (scheme === "http" ? 80 : 443);
  const authority = isUsual ? url.hostname : `${url.hostname}:${port}`;
  const path = `${url.pathname}${url.search}`;
  // A name alone is a site of the web.
  const known = scheme ?? (said === undefined ? "https" : undefined);
  return {
    url: known === undefined ? `${authority}${path === "/" ? "" : path}` : `${known}://${authority}${path}`,
    host,
    port,
    path,
    scheme: known,
    authority,
    serverName: isAddress(host) ? undefined : host,
  };
}

export function isAddress(host: string): boolean {
  return host.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(host);
}

const SCHEMES: Readonly<Record<string, "https" | "http">> = {
  https: "https",
  wss: "https",
  grpcs: "https",
  http: "http",
  ws: "http",
  grpc: "http",
};

const WRITE = "write it as host:port, http://host:port/path or https://host:port/path";
