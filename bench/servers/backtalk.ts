/** Backtalk with the service that is measured, put together as the command line does it. */

import { serve } from "../../src/net/serve.ts";
import { createCore, memoryStore } from "../../src/server.ts";
import { sqliteStore } from "../../src/stores/sqlite/store.ts";
import { httpHandler } from "../../src/transports/http/server.ts";
import { websocketHandler } from "../../src/transports/websocket/server.ts";
import { options, ready } from "../peers/shared.mjs";
import service from "../service.ts";

const { tls, store, sync, port } = options<{
  tls?: { key: string; cert: string };
  store: string;
  sync: "full" | "normal";
  port: number;
}>();
const core = createCore(service, {
  store: store === "memory:" ? memoryStore() : await sqliteStore({ path: store, sync }),
});
await core.start();
const { upgrade, websocket } = websocketHandler(core);
const fetch = httpHandler(core, { websocket: upgrade });
const { listeners } = await serve({
  hostname: "127.0.0.1",
  port,
  ...(tls && { tls: { ...tls, port: 0 } }),
  fetch,
  websocket,
  limits: core.limits,
});
ready({ port: listeners[0]!.port, ...(listeners[1] && { tlsPort: listeners[1].port }) });
