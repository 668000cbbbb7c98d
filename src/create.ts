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
