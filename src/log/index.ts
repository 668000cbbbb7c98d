export * from "./cursor.ts";
export * from "./event.ts";
export * from "./fault.ts";
export * from "./store.ts";
