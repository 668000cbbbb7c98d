/** `backtalk/server`: to serve from a program of one's own instead of the command line. */
import { type AnyService, type Core, createCore as createCoreOf } from "./core/core.ts";
import type { CoreOptions } from "./core/options.ts";
import { memoryStore } from "./stores/memory/store.ts";

/** A peer for these services, with a store in memory for methods with `recorded: "never"`. Call `start` before use. */
export function createCore(services: AnyService | readonly AnyService[], options: CoreOptions): Core {
  const { now, random } = options;
  return createCoreOf(services, {
    ...options,
    volatile: memoryStore({ ...(now && { now }), ...(random && { random }) }),
  });
}

export { anyOf, apiKeys, type JwtOptions, jwt } from "./core/auth.ts";
export type { AnyService, Core } from "./core/core.ts";
export type { CallLine, CoreOptions, Logger, Retention } from "./core/options.ts";
export { memoryStore } from "./stores/memory/store.ts";
