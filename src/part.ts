/**
 * What a server has besides its HTTP listeners: another listener (gRPC, TCP, UDP), a connection to a broker,
 * or addresses on the HTTP listeners. `startServer` starts and stops it with the rest.
 */
import type { AnyService, Core } from "./core/core.ts";
import type { Mount } from "./net/mount.ts";

/** Where a part is reached, for the operator. */
export interface Address {
  /** As in `--via`, or the name of what it is. */
  readonly via: string;
  readonly url: string;
}

export interface Part {
  /** Changes the services before the core is made: a broker takes the handlers of its methods elsewhere. */
  readonly services?: (services: readonly AnyService[]) => readonly AnyService[];
  /** Addresses on the HTTP listeners; asked for once, before they open. */
  readonly mounts?: (core: Core) => readonly Mount[];
  /** Opens what it needs, when the core takes calls. @throws Fault, with `detail.port` for a port that is taken */
  readonly start?: (core: Core) => Promise<StartedPart>;
}

export interface StartedPart {
  readonly addresses: readonly Address[];
  /** Why it does not work now, for /readyz; empty when it does. */
  readonly unready?: () => readonly string[];
  /** The core has drained: closes what is open. */
  stop(): Promise<void>;
}
