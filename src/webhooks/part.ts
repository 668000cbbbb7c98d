/** Webhooks as a part of a server: Standard Webhooks for the ends of calls and the events of topics (PROTOCOL.md §9). */
import type { Host } from "../contract/index.ts";
import { MOST_TIMER_MS } from "../contract/timer.ts";
import { decodeCursor, Fault, type Store } from "../log/index.ts";
import { Addresses } from "./address.ts";
import type { Endpoint, WebhooksConfig } from "./config.ts";
import { type Clock, Delivery, type DeliveryLogger } from "./delivery.ts";
import { webhooksMount } from "./mount.ts";
import { OUTBOX, OutboxStore } from "./outbox.ts";
import { literalOf, openOf, type Resolve, resolveBySystem, send } from "./send.ts";

export interface WebhooksOptions {
  readonly config: WebhooksConfig;
  /** `loopback`, addresses and ranges that may be sent to besides the internet, also without TLS. */
  readonly allow?: readonly string[];
  /** How names are resolved (default: by the system). */
  readonly resolve?: Resolve;
  /** PEM of an authority of receivers, instead of those of the system. */
  readonly ca?: string;
  readonly clock?: Clock;
}

interface Tools {
  readonly logger: Pick<DeliveryLogger, "note">;
}

/** For `parts` of `startServer`. @throws Fault for a range that is none, and an endpoint at an address that is closed */
export function webhooksPart(options: WebhooksOptions) {
  const { config, resolve = resolveBySystem, ca } = options;
  const addresses = new Addresses(options.allow);
  for (const endpoint of config.endpoints) refuseClosed(endpoint, addresses);
  const deliveries = new Map<string, Delivery>();
  let store: OutboxStore | undefined;
  return {
    store: (inner: Store): Store => {
      store = new OutboxStore(inner);
      return store;
    },
    mounts: () => (config.token === undefined ? [] : [webhooksMount(config.token, deliveries)]),
    async start(host: Host, { logger }: Tools) {
      const outbox = store!;
      const clock = options.clock ?? { now: host.now, sleep };
      const { limits, metrics, random, contract } = host;
      const trim = trimmer(outbox, deliveries);
      let isReady = false;
      // What an endpoint has still to read is known when all have been started.
      const moved = () => isReady && trim();
      for (const endpoint of config.endpoints) {
        const unknown = endpoint.topics.find((name) => !contract.topics.has(name));
        if (unknown !== undefined) {
          throw new Fault("failed_precondition", `the webhook endpoint ${endpoint.name} wants a topic ${unknown}`, {
            hint: `this server has: ${[...contract.topics.keys()].join(", ") || "no topics"}`,
          });
        }
        const sending = {
          addresses,
          resolve,
          timeoutMs: limits.webhookMs,
          now: clock.now,
          ...(ca !== undefined && { ca }),
        };
        const delivery = new Delivery({
          endpoint,
          store: outbox,
          limits,
          clock,
          random,
          metrics,
          logger,
          send: (url, headers, body, signal) => send(url, headers, body, { ...sending, signal }),
          moved,
        });
        deliveries.set(endpoint.name, delivery);
      }
      try {
        for (const delivery of deliveries.values()) await delivery.start();
        isReady = true;
      } catch (thrown) {
        await stop(deliveries);
        throw thrown;
      }
      return { addresses: [], stop: () => stop(deliveries) };
    },
  };
}

/** What is going to fail at each attempt is told of before the first. @throws Fault */
function refuseClosed({ name, url }: Endpoint, addresses: Addresses): void {
  const literal = literalOf(url);
  const open = literal && openOf(url, [literal], addresses);
  if (typeof open !== "string") return;
  throw new Fault("invalid_argument", `the webhook endpoint ${name}: ${open}`, {
    hint: `give https and an address of the internet, or allow this one: --webhooks-allow ${literal!.address}`,
  });
}

async function stop(deliveries: ReadonlyMap<string, Delivery>): Promise<void> {
  await Promise.all([...deliveries.values()].map((delivery) => delivery.stop()));
}

/** At most so many entries are kept for an endpoint that is disabled or behind. */
const OUTBOX_EVENTS = 1_000_000;
const TRIM_EVERY = 16;

/** Removes what all endpoints have read from the outbox. */
function trimmer(store: Store, deliveries: ReadonlyMap<string, Delivery>): () => void {
  let moves = 0;
  return () => {
    if (++moves % TRIM_EVERY !== 1) return;
    const places = [...deliveries.values()].flatMap(({ outboxPlace }) => outboxPlace ?? []);
    const least = places.reduce((a, b) => (decodeCursor(a).seq < decodeCursor(b).seq ? a : b));
    const most = places.reduce((a, b) => (decodeCursor(a).seq < decodeCursor(b).seq ? b : a));
    const isBehind = decodeCursor(most).seq - decodeCursor(least).seq > OUTBOX_EVENTS;
    // Trimmed later, if not now.
    store.trim(OUTBOX, isBehind ? most : least).catch(() => {});
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, Math.min(ms, MOST_TIMER_MS)));
    signal.addEventListener("abort", done, { once: true });
  });
}
