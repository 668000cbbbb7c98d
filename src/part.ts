/**
 * What a server has besides its HTTP listeners: another listener (gRPC, TCP, UDP), a connection to a broker,
 * or addresses on the HTTP listeners. `startServer` starts and stops it with the rest.
 */
import type { Layer } from "./contract/index.ts";
import type { AnyService, Core } from "./core/core.ts";
import type { Logger } from "./core/options.ts";
import type { Store } from "./log/index.ts";
import type { Access } from "./net/access.ts";
import type { Mount } from "./net/mount.ts";
import type { Listener } from "./net/serve.ts";

/** Where a part is reached, for the operator. */
export interface Address {
  /** As in `--via`, or the name of what it is. */
  readonly via: string;
  readonly url: string;
}

/** What a part is given besides the core, for what it keeps itself and what it tells the operator. */
export interface PartTools {
  /** That of the core: a part's own logs have a prefix of their own. */
  readonly store: Store;
  readonly logger: Logger;
  /** Those of HTTP: where whoever knocks at the wrong port is sent. */
  readonly listeners: readonly Listener[];
  /** Who may use those from a browser; a part's own listeners that a browser can speak to ask it too. */
  readonly access: Access;
}

export interface Part {
  /** Changes the services before the core is made: a broker takes the handlers of its methods elsewhere. */
  readonly services?: (services: readonly AnyService[]) => readonly AnyService[];
  /** Sees what is stored before the store does. */
  readonly store?: (store: Store) => Store;
  /** Sees every call before the core does, whatever its transport. */
  readonly layer?: Layer;
  /** Addresses on the HTTP listeners; asked for once, before they open. */
  readonly mounts?: (core: Core) => readonly Mount[];
  /** Opens what it needs, when the core takes calls. @throws Fault, with `detail.port` for a port that is taken */
  readonly start?: (core: Core, tools: PartTools) => Promise<StartedPart>;
}

export interface StartedPart {
  readonly addresses: readonly Address[];
  /** Why it does not work now, for /readyz; empty when it does. */
  readonly unready?: () => readonly string[];
  /** The core has drained: closes what is open. */
  stop(): Promise<void>;
}
