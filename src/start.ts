/** Puts a server together: services, store, core, the transports' handlers, listeners. */
import type { Authenticate, Authorize, Limits } from "./contract/index.ts";
import type { AnyService, Core } from "./core/core.ts";
import { type Logger, SILENT } from "./core/options.ts";
import { createCore } from "./create.ts";
import { Fault, type Store } from "./log/index.ts";
import type { Certificate } from "./net/certificate.ts";
import { type Listener, type Served, serve } from "./net/serve.ts";
import type { Address, Part, StartedPart } from "./part.ts";
import { httpHandler } from "./transports/http/server.ts";
import { websocketHandler } from "./transports/websocket/server.ts";

export interface Port {
  /** 0 takes a free one. */
  readonly port: number;
  /** Asked for by name: when it is taken that is an error. Otherwise a free one is taken instead. */
  readonly isAsked: boolean;
}

export interface ServerOptions {
  readonly services: readonly AnyService[];
  readonly store: Store;
  readonly hostname: string;
  readonly plain?: Port | undefined;
  readonly tls?: (Port & Certificate) | undefined;
  readonly origins?: readonly string[] | "*" | undefined;
  /** The names that it answers to; default any. */
  readonly hosts?: readonly string[] | undefined;
  readonly authenticate?: Authenticate | undefined;
  /** What a caller may; default everything, but only its own calls. */
  readonly authorize?: Authorize | undefined;
  /** permessage-deflate for messages of more than 1,024 characters (RFC 7692; default false). */
  readonly deflate?: boolean;
  readonly limits?: Partial<Limits>;
  readonly logger?: Logger;
  /** How long running calls may take to finish at the end, in milliseconds. */
  readonly drainMs?: number | undefined;
  /** How long calls are kept after their end, in milliseconds. */
  readonly keepMs?: number | undefined;
  readonly version: string;
  /** What it has besides its HTTP listeners. */
  readonly parts?: readonly Part[];
}

export interface Running {
  readonly core: Core;
  readonly listeners: readonly Listener[];
  /** Where its parts are reached. */
  readonly addresses: readonly Address[];
  /** What an earlier process left: calls that were started again, and calls that were ended. */
  readonly recovered: { readonly retried: number; readonly failed: number };
  /** Ports that were taken, and what was taken instead. */
  readonly moved: readonly string[];
  /** Lets running calls finish, and tells readers to come back; then closes everything, the store too. */
  stop(): Promise<void>;
}

/** @throws Fault when a port cannot be opened; the store is closed then */
export async function startServer(options: ServerOptions): Promise<Running> {
  const {
    parts = [],
    authenticate,
    authorize,
    deflate = false,
    limits,
    logger,
    drainMs,
    keepMs,
    origins = [],
    version,
  } = options;
  const started: StartedPart[] = [];
  const store = parts.reduce((inner, part) => part.store?.(inner) ?? inner, options.store);
  const services = parts.reduce((changed, part) => part.services?.(changed) ?? changed, options.services);
  const core = createCore(services, {
    store,
    layers: parts.flatMap((part) => part.layer ?? []),
    unready: () => started.flatMap((part) => part.unready?.() ?? []),
    ...(authenticate && { authenticate }),
    ...(authorize && { authorize }),
    ...(limits && { limits }),
    ...(logger && { logger }),
    ...(drainMs !== undefined && { drainMs }),
    ...(keepMs !== undefined && { retention: { callMs: keepMs } }),
  });
  const sockets = websocketHandler(core, { origins, deflate });
  type Data = NonNullable<typeof sockets.websocket.data>;
  const fetch = httpHandler<Bun.Server<Data>>(core, {
    origins,
    hosts: options.hosts,
    websocket: sockets.upgrade,
    mounts: parts.flatMap((part) => part.mounts?.(core) ?? []),
    title: services.map(({ name }) => name).join(", "),
    version,
  });
  const moved: string[] = [];
  let served: Served | undefined;
  try {
    const listen = (plain: Port | undefined, tls: (Port & Certificate) | undefined) =>
      serve<Data>({
        hostname: options.hostname,
        ...(plain && { port: plain.port }),
        ...(tls && { tls }),
        fetch,
        websocket: sockets.websocket,
        limits: core.limits,
      });
    // First the listeners: readiness can be asked for while the calls of the last process are taken up.
    served = await movable(options.plain, options.tls, listen, moved);
    const recovered = await core.start();
    const access = { hosts: options.hosts, origins };
    const tools = { store, logger: logger ?? SILENT, listeners: served.listeners, access };
    for (const part of parts) if (part.start) started.push(await part.start(core, tools));
    const addresses = started.flatMap((part) => part.addresses);
    const stopAll = () => stop(core, started, served!, store);
    return { core, listeners: served.listeners, addresses, recovered, moved, stop: stopAll };
  } catch (thrown) {
    await served?.stop();
    await core.close();
    await Promise.allSettled(started.map((part) => part.stop()));
    await store.close();
    throw thrown;
  }
}

/** For the operator: which port was taken, what is instead of it, and what makes that last. */
export function movedText(port: number, url: string, option: string): string {
  const instead = /\d+$/.exec(url)?.[0] ?? "a free one";
  return `port ${port} is in use: ${instead} is taken instead, until the next start (${option} chooses one)`;
}

/** Tries again with a free port where one that nobody asked for is taken. */
async function movable<P extends Port, T extends Port, S extends Served>(
  plain: P | undefined,
  tls: T | undefined,
  listen: (plain: P | undefined, tls: T | undefined) => Promise<S>,
  moved: string[],
): Promise<S> {
  try {
    return await listen(plain, tls);
  } catch (thrown) {
    const taken = thrown instanceof Fault ? thrown.detail?.["port"] : undefined;
    const isPlain = plain?.port === taken && plain?.isAsked === false;
    const isTls = tls?.port === taken && tls?.isAsked === false;
    if (taken === undefined || taken === 0 || (!isPlain && !isTls)) throw thrown;
    const free = <Q extends Port>(port: Q): Q => ({ ...port, port: 0 });
    const served = await movable(isPlain ? free(plain!) : plain, isTls ? free(tls!) : tls, listen, moved);
    const url = served.listeners.find((each) => each.url.startsWith("https:") === isTls)?.url;
    moved.push(movedText(Number(taken), url ?? "", isTls ? "--tls-port" : "--port"));
    return served;
  }
}

async function stop(core: Core, parts: readonly StartedPart[], served: Served, store: Store): Promise<void> {
  await core.drain();
  await Promise.allSettled([served.stop(1_000), ...parts.map((part) => part.stop())]);
  await store.close();
}
