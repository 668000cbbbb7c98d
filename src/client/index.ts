/** `backtalk/client`: for browsers, Node, Deno and Bun. Loads nothing of the server. */
import { websocketPeer } from "../transports/websocket/client.ts";
import { clientOver } from "./client.ts";
import type { Client, ClientOptions } from "./types.ts";

export type { CallState, Exchange, Layer, Peer } from "../contract/peer.ts";
export type { Code, FaultJson } from "../log/fault.ts";
export { Fault, faultFromJson } from "../log/fault.ts";
export type { Cursor, Place } from "../log/index.ts";
export { httpPeer } from "../transports/http/client-peer.ts";
export { websocketPeer } from "../transports/websocket/client.ts";
export type { Environment } from "./environment.ts";
export type { Transport } from "./fallback.ts";
export type * from "./types.ts";

/**
 * `url`: where the server is, such as `http://localhost:4400`. Nothing is connected before it is used.
 * `S` is `typeof service`, a union of several, or a list of them.
 */
export function createClient<S>(url: string, options: ClientOptions = {}): Client<S> {
  return clientOver<S>(url, options, websocketPeer);
}
