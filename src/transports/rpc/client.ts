/**
 * The client half over Connect and gRPC-Web (PROTOCOL.md §4): peers over `fetch`, for browsers, Node, Deno and Bun.
 * gRPC is in `client-grpc.ts`, since no browser can speak it.
 */
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import type { Peer } from "../../contract/peer.ts";
import { Fault } from "../../log/fault.ts";
import { bounded } from "./client-bounds.ts";
import { RpcExchange } from "./client-exchange.ts";
import { Wire, type WireOptions } from "./client-wire.ts";

export interface RpcPeerOptions extends Omit<WireOptions, "transport"> {
  /** Where the HTTP listener is, such as `https://example.com`. */
  readonly url: string;
  /** Instead of the platform's. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Options of Bun's `fetch`; browsers and Node take no certificates so. */
  readonly tls?: object | undefined;
}

export interface RpcPeer extends Peer {
  /** Ends everything that is open. */
  close(): void;
}

/** The Connect protocol, with messages in binary. Also for `createClient(url, { transport: connectPeer })`. */
export function connectPeer(options: RpcPeerOptions): RpcPeer {
  return rpcPeer({ ...options, transport: createConnectTransport(transportOptions(options)) });
}

export function grpcWebPeer(options: RpcPeerOptions): RpcPeer {
  return rpcPeer({ ...options, transport: createGrpcWebTransport(transportOptions(options)) });
}

/** Over any transport of Connect for ECMAScript. */
export function rpcPeer(options: WireOptions, onClose?: () => void): RpcPeer {
  const closing = new AbortController();
  const wire = new Wire(options, closing.signal);
  const peer: Peer = (call) => {
    const exchange = new RpcExchange(wire, call);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
  const close = (): void => {
    closing.abort(new Fault("cancelled", "the client was closed"));
    onClose?.();
  };
  return Object.assign(peer, { close });
}

function transportOptions({ url, fetch = globalThis.fetch, tls }: RpcPeerOptions) {
  // As a function of its own: a browser's `fetch` minds what it is called on.
  const own = async (url: string, init: RequestInit) =>
    bounded(await fetch(url, tls ? ({ ...init, tls } as RequestInit) : init));
  return { baseUrl: url.replace(/\/+$/, ""), useBinaryFormat: true, fetch: own as never };
}
