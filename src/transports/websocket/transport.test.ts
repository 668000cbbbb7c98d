import { WebSocket as WsSocket } from "ws";
import { runTransportSuite } from "../../../suites/transport/suite.ts";
import { websocketLink } from "./testing.ts";

runTransportSuite("websocket", () => websocketLink());
// The smallest window: each event waits for credit of its own.
runTransportSuite("websocket, a window of one", () => websocketLink({ window: 1 }));
runTransportSuite("websocket, the client of the package ws", () =>
  websocketLink({ WebSocket: WsSocket as unknown as typeof WebSocket }),
);
