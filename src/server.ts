/** `backtalk/server`: to serve from a program of one's own instead of the command line. */
export { anyOf, apiKeys, type JwtOptions, jwt } from "./core/auth.ts";
export type { AnyService, Core } from "./core/core.ts";
export type { CallLine, CoreOptions, Logger, Retention } from "./core/options.ts";
export { createCore } from "./create.ts";
export { type Certificate, developmentCertificate } from "./net/certificate.ts";
export { type Listener, type Served, type ServeOptions, serve } from "./net/serve.ts";
export { type Port, type Running, type ServerOptions, startServer } from "./start.ts";
export { memoryStore } from "./stores/memory/store.ts";
export { sqliteStore } from "./stores/sqlite/store.ts";
export { type HttpOptions, httpHandler } from "./transports/http/server.ts";
export { memoryPeer } from "./transports/memory/client.ts";
export { type WebSocketOptions, websocketHandler } from "./transports/websocket/server.ts";
