/** The client half of WebSocket (PROTOCOL.md §3): a peer over one socket, for browsers, Node, Deno and Bun. */
import { type FramesPeer, type FramesPeerOptions, framesPeer } from "../../frames/client.ts";

export interface WebSocketPeerOptions extends FramesPeerOptions {
  /** Where the server is, as for HTTP: `https://example.com`; `/ws` is put after it. */
  readonly url: string;
  /** The constructor, where the platform has none. */
  readonly WebSocket?: typeof WebSocket;
}

export type WebSocketPeer = FramesPeer;

export function websocketPeer(options: WebSocketPeerOptions): WebSocketPeer {
  return framesPeer(({ message, closed }) => {
    const address = `${options.url.replace(/^http/, "ws").replace(/\/+$/, "")}/ws`;
    options.trace?.("*", `connect ${address}`);
    const ws = new (options.WebSocket ?? WebSocket)(address, "backtalk.v1");
    ws.onmessage = ({ data }) => message(data as string);
    ws.onclose = ({ code, reason }) => closed(code, reason);
    // A close event comes after it in any case, and says as much.
    ws.onerror = () => {};
    return ws;
  }, options);
}
