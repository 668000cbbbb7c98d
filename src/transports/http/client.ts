/**
 * The client half of HTTP with every way of reading. NDJSON is apart from the rest, because the SDK for browsers
 * reads SSE, and should not carry a second format.
 */
import type { Peer } from "../../contract/peer.ts";
import { NDJSON } from "./client-ndjson.ts";
import { type HttpPeerOptions as LeanOptions, httpPeer as leanPeer } from "./client-peer.ts";

/** How events are read: as one unending response, by requests that the server holds, or by asking again and again. */
export type HttpMode = LeanOptions["mode"] | "ndjson";

export interface HttpPeerOptions extends Omit<LeanOptions, "mode" | "format"> {
  readonly mode: HttpMode;
}

export function httpPeer({ mode, ...options }: HttpPeerOptions): Peer {
  return leanPeer(mode === "ndjson" ? { ...options, mode: "sse", format: NDJSON } : { ...options, mode });
}
