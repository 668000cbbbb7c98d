/** The client half over gRPC: HTTP/2 by `node:http2`, for Node and Bun. */
import type { Transport } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { MOST_BYTES } from "../../wire/bounded.ts";
import { type RpcPeer, rpcPeer } from "./client.ts";
import { grpcUnary } from "./client-unary.ts";
import type { WireOptions } from "./client-wire.ts";

export interface GrpcPeerOptions extends Omit<WireOptions, "transport"> {
  /** `http://host:4450`, or with TLS `https://host:4451`. */
  readonly url: string;
  /** Ask for answers in gzip, and send so (default false): less bytes for more work. Messages from 1,024 bytes on. */
  readonly gzip?: boolean;
  readonly tls?: { readonly ca?: string; readonly rejectUnauthorized?: boolean } | undefined;
}

/** How often a connection with open streams is asked whether it lives, and how long its answer may take. */
const PING_MS = 25_000;
const PING_TIMEOUT_MS = 20_000;

/** Connects when it is used; after a break the next use connects anew. */
export function grpcPeer({ url, tls, gzip = false, ...options }: GrpcPeerOptions): RpcPeer {
  const baseUrl = url.replace(/\/+$/, "").replace(/^grpc/, "http");
  const ping = { pingIntervalMs: PING_MS, pingTimeoutMs: PING_TIMEOUT_MS };
  const sessionManager = new Http2SessionManager(baseUrl, ping, { ...tls });
  const full = createGrpcTransport({
    baseUrl,
    sessionManager,
    readMaxBytes: MOST_BYTES,
    acceptCompression: gzip ? [compressionGzip] : [],
    ...(gzip && { sendCompression: compressionGzip }),
  });
  const prefix = new URL(baseUrl).pathname.replace(/\/+$/, "");
  const transport: Transport = gzip ? full : { unary: grpcUnary(sessionManager, prefix), stream: full.stream };
  return rpcPeer({ ...options, transport }, () => sessionManager.abort());
}
