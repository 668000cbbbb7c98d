export * from "./host.ts";
export * from "./limits.ts";
export * from "./peer.ts";
export * from "./schema.ts";
export * from "./service.ts";
export * from "./upload.ts";
