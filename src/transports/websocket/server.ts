/** The server half of the WebSocket transport (PROTOCOL.md §3): the sockets of Bun become exchanges of a peer. */
import type { Server, WebSocketHandler } from "bun";
import type { Host } from "../../contract/index.ts";
import { Connection } from "../../frames/connection.ts";
import { Hub } from "../../frames/hub.ts";
import { Outbound } from "../../frames/outbound.ts";
import { Fault } from "../../log/index.ts";
import { CLOSE, SUBPROTOCOL } from "../../wire/frame.ts";
import type { Origins } from "../../wire/origin.ts";
import { checkHandshake, credentialsOf, refuse } from "./handshake.ts";

export type { Origins } from "../../wire/origin.ts";

export interface WebSocketOptions {
  /** Whose pages may connect besides the own origin's (default: nobody's). Clients that are no browsers may always. */
  readonly origins?: Origins;
  /** permessage-deflate (RFC 7692) for messages of more than 1,024 characters (default false): less bytes for more work. */
  readonly deflate?: boolean;
}

/** What a socket carries: the credentials of its handshake, and from `open` on the connection. */
export interface SocketData {
  readonly credentials: ReturnType<typeof credentialsOf>;
  connection: Connection | undefined;
}

export interface WebSocketHandlers {
  /** Answers a request for `/ws`: `undefined` when it has become a socket, else the refusal. */
  upgrade(request: Request, server: Server<SocketData>): Response | undefined;
  /** For `Bun.serve({ websocket })`. */
  readonly websocket: WebSocketHandler<SocketData>;
  /** Sockets that are open. */
  readonly size: number;
}

export function websocketHandler(host: Host, options: WebSocketOptions = {}): WebSocketHandlers {
  const { origins = [], deflate = false } = options;
  const hub = new Hub(host, "websocket", deflate);
  const { limits } = host;
  return {
    upgrade(request, server) {
      try {
        checkHandshake(request, origins);
        hub.check();
        const credentials = credentialsOf(request, server as Server<unknown>);
        const headers = { "sec-websocket-protocol": SUBPROTOCOL };
        if (server.upgrade(request, { headers, data: { credentials, connection: undefined } })) return undefined;
        throw new Fault("invalid_argument", "the handshake cannot be read", { hint: "RFC 6455 §4.1" });
      } catch (thrown) {
        return refuse(thrown);
      }
    },
    websocket: {
      maxPayloadLength: limits.bodyBytes,
      backpressureLimit: Outbound.most(limits) + limits.sendBufferBytes,
      // The heartbeat of the protocol, because pages do not see the pings of RFC 6455.
      idleTimeout: 0,
      sendPings: false,
      perMessageDeflate: deflate,
      open(ws) {
        const connection = new Connection(hub, ws, ws.data.credentials);
        ws.data.connection = connection;
        connection.opened();
      },
      message(ws, message) {
        const { connection } = ws.data;
        try {
          if (typeof message === "string") connection?.received(message);
          else connection?.receivedBinary();
        } catch {
          // A defect of ours must not end the process: RFC 6455 §7.4.1, 1011.
          connection?.out.close(CLOSE.internal, "internal");
        }
      },
      ping: (ws) => ws.data.connection?.heard(),
      pong: (ws) => ws.data.connection?.heard(),
      drain: (ws) => ws.data.connection?.out.drained(),
      close(ws) {
        ws.data.connection?.disposed();
        ws.data.connection = undefined;
      },
    },
    get size() {
      return hub.size;
    },
  };
}
