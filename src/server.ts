/** `backtalk/server`: to serve from a program of one's own instead of the command line. */
export { anyOf, apiKeys, type JwtOptions, jwt } from "./core/auth.ts";
export type { AnyService, Core } from "./core/core.ts";
export type { CallLine, CoreOptions, Logger, Retention } from "./core/options.ts";
export { createCore } from "./create.ts";
export { type DescriptionOptions, descriptions } from "./describe/mount.ts";
export { durableStreamsPart } from "./durable/part.ts";
export type { DurableStreamsOptions, StreamAccess, StreamVerb } from "./durable/server.ts";
export { type Certificate, developmentCertificate } from "./net/certificate.ts";
export { type Listener, type Served, type ServeOptions, serve } from "./net/serve.ts";
export { type Port, type Running, type ServerOptions, startServer } from "./start.ts";
export { memoryStore } from "./stores/memory/store.ts";
export { sqliteStore } from "./stores/sqlite/store.ts";
export { type AmqpPeer, type AmqpPeerOptions, amqpPeer } from "./transports/amqp/client.ts";
export { type Amqp, type AmqpOptions, amqp } from "./transports/amqp/server.ts";
export { type RunningWorker, startWorker, type WorkerOptions } from "./transports/amqp/worker.ts";
export { type HttpOptions, httpHandler } from "./transports/http/server.ts";
export { memoryPeer } from "./transports/memory/client.ts";
export { connectPeer, grpcWebPeer, type RpcPeer, type RpcPeerOptions } from "./transports/rpc/client.ts";
export { type GrpcPeerOptions, grpcPeer } from "./transports/rpc/client-grpc.ts";
export {
  type GrpcListener,
  type GrpcListenerOptions,
  grpcListener,
  type RpcMountOptions,
  rpcHandlers,
  rpcMount,
} from "./transports/rpc/server.ts";
export { type TcpPeer, type TcpPeerOptions, tcpPeer } from "./transports/tcp/client.ts";
export { type TcpListener, type TcpListenerOptions, tcpListener } from "./transports/tcp/server.ts";
export { type UdpPeer, type UdpPeerOptions, udpPeer } from "./transports/udp/client.ts";
export { type UdpListener, type UdpOptions, udpListener } from "./transports/udp/server.ts";
export { type WebSocketOptions, websocketHandler } from "./transports/websocket/server.ts";
export { type UploadsOptions, type UploadsPart, uploads } from "./uploads/part.ts";
export { type Endpoint, type ReadSecret, type WebhooksConfig, webhooksConfig } from "./webhooks/config.ts";
export { type WebhooksOptions, webhooksPart } from "./webhooks/part.ts";
