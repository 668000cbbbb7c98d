/** `backtalk`: what a service file needs. */
export * from "./contract/index.ts";
export * from "./log/index.ts";
