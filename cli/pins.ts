/** The pinned numbers of fields: `NAME.proto` beside the file of the services (PROTOCOL.md §11.2). */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Contract } from "../src/contract/index.ts";
import type { AnyService } from "../src/core/core.ts";
import { createCore } from "../src/create.ts";
import { memoryStore } from "../src/stores/memory/store.ts";
import { UsageError } from "./exit.ts";

/** Where the pins of a service are. */
export function pinPath(file: string, service: string): string {
  return join(dirname(file), `${service}.proto`);
}

/** The text by the name of the service, of those that have a file. @throws UsageError */
export function readPins(file: string, services: Iterable<string>): ReadonlyMap<string, string> {
  const pins = new Map<string, string>();
  for (const service of services) {
    const path = pinPath(file, service);
    if (!existsSync(path)) continue;
    try {
      pins.set(service, readFileSync(path, "utf8"));
    } catch (thrown) {
      throw new UsageError(`${path} cannot be read: ${(thrown as Error).message}`);
    }
  }
  return pins;
}

/** The names of the services that are described, in their order. */
export function serviceNames(contract: Contract): ReadonlySet<string> {
  const methods = [...contract.methods.keys()].map((address) => address.slice(0, address.indexOf("/")));
  return new Set([...methods.filter((name) => name !== "backtalk"), ...contract.owners.values()]);
}

/** What a server of these services would serve; nothing is opened or kept. @throws Fault as a server would */
export function contractOf(services: readonly AnyService[]): Contract {
  return createCore(services, { store: memoryStore() }).contract;
}
