/** The addresses of this transport. */
import { Fault } from "../../log/fault.ts";
import { TCP_PORT, TLS_PORT } from "./properties.ts";

export interface SocketAddress {
  /** For people. */
  readonly url: string;
  readonly isTls: boolean;
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
}

/** @throws Fault `invalid_argument` */
export function addressOf(url: string): SocketAddress {
  if (url.startsWith("unix:")) {
    const path = url.slice(5).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw bad(url);
    return { url: `unix:${path}`, isTls: false, target: { path } };
  }
  const match = /^(tcp|tls):\/\/(\[[\da-f:.]+\]|[^/:?#@[\]\s]+)(?::(\d{1,5}))?\/?$/i.exec(url);
  if (!match) throw bad(url);
  const isTls = match[1]!.toLowerCase() === "tls";
  const host = match[2]!.replace(/^\[|\]$/g, "");
  const port = match[3] === undefined ? (isTls ? TLS_PORT : TCP_PORT) : Number(match[3]);
  if (port === 0 || port > 65_535) throw bad(url);
  return { url: `${isTls ? "tls" : "tcp"}://${match[2]}:${port}`, isTls, target: { host, port } };
}

function bad(url: string): Fault {
  // Whoever wrote credentials into it does not want to read them in a log.
  const shown = url.replace(/\/\/[^/]*@/, "//...@").slice(0, 128);
  return new Fault("invalid_argument", `not an address of TCP or of a Unix socket: ${JSON.stringify(shown)}`, {
    hint: "write it as tcp://host:port, tls://host:port or unix:/path",
  });
}
