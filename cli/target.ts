/** What the command is pointed at: the address of a server, and a method, call or topic there. */
import { UsageError } from "./exit.ts";

/** The argument that names a server, in the help of a command. */
export const SERVER = {
  name: "URL",
  what: "the server: host:port, https://..., or as serve printed it: tcp://..., tls://..., unix:PATH, udp://..., grpc://..., amqp://...",
} as const;

/** The address of a server, without a slash at its end: `localhost:4400` is `http://localhost:4400`. @throws UsageError */
export function serverUrl(text: string): string {
  const hint = "write it as host:port, http://host:port or https://host:port, or as `backtalk serve` has printed it";
  if (OTHER.test(text)) return text;
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
    ? text
    : `http://${text.startsWith(":") ? `localhost${text}` : text}`;
  let url: URL;
  try {
    url = new URL(full.replace(/^ws(s?):/i, "http$1:"));
  } catch {
    throw new UsageError(`not the address of a server: ${JSON.stringify(text)}`, hint);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new UsageError(`${url.protocol}// is not spoken here`, hint);
  }
  if (url.username !== "" || url.password !== "") {
    throw new UsageError("the address holds credentials", "give them by --token or BACKTALK_TOKEN");
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** Addresses of transports that are no HTTP: they say themselves what is wrong with one. */
const OTHER = /^(grpc|grpcs|tcp|tls|udp|unix|amqp|amqps):/;

/** The transport that an address is for by its scheme, when it is for one alone. */
export function viaOf(url: string): string | undefined {
  const scheme = OTHER.exec(url)?.[1];
  if (scheme === undefined) return undefined;
  return { grpcs: "grpc", tls: "tcp", amqps: "amqp" }[scheme] ?? scheme;
}

/** `studio.isPrime` or `studio/isPrime` → `studio/isPrime`. @throws UsageError */
export function methodName(text: string): string {
  const match = /^([A-Za-z]\w*)[./]([A-Za-z]\w*)$/.exec(text);
  if (match) return `${match[1]}/${match[2]}`;
  const hint = /^[A-Za-z]\w*$/.test(text) ? `write it with its service: SERVICE.${text}` : "write it as service.method";
  throw new UsageError(`not the name of a method: ${JSON.stringify(text)}`, hint);
}

/** `http://host/calls/ID` → the server and the id. @throws UsageError */
export function callUrl(text: string): { readonly url: string; readonly id: string } {
  const match = /^(.*)\/calls\/([^/?#]+)$/.exec(text);
  if (match?.[1] && match[2]) return { url: serverUrl(match[1]), id: decodeURIComponent(match[2]) };
  throw new UsageError(
    `not the address of a call: ${JSON.stringify(text)}`,
    "write it as URL/calls/ID, as it was printed",
  );
}
