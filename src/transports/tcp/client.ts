/** The client half of TCP and of Unix sockets (PROTOCOL.md §5): a peer over one connection, for Node and Bun. */
import { type FramesPeer, type FramesPeerOptions, framesPeer } from "../../frames/client.ts";
import { addressOf } from "./client-address.ts";
import { type ClientTls, dialer } from "./client-dial.ts";

export interface TcpPeerOptions extends FramesPeerOptions {
  /** `tcp://host:port`, `tls://host:port` or `unix:/path`; without a port 4460, with TLS 4461. */
  readonly url: string;
  /** Of `tls://`: as for `tls.connect` of Node, such as `ca` or `rejectUnauthorized`. */
  readonly tls?: ClientTls;
}

export type TcpPeer = FramesPeer;

/** @throws Fault `invalid_argument` when the address cannot be read; nothing is connected before it is used */
export function tcpPeer(options: TcpPeerOptions): TcpPeer {
  return framesPeer(dialer(addressOf(options.url), options), options);
}
