/** Durable Streams as a part of a server. */
import type { Host } from "../contract/index.ts";
import { type DurableStreams, type DurableStreamsOptions, durableStreams } from "./server.ts";

type Counting = Host & { readonly count: NonNullable<DurableStreamsOptions["count"]> };

const SWEEP_MS = 60_000;

/** For `parts` of `startServer`. */
export function durableStreamsPart(options: Omit<DurableStreamsOptions, "count">) {
  let streams: DurableStreams | undefined;
  return {
    mounts: (core: Counting) => {
      streams = durableStreams(core, { ...options, count: (caller) => core.count(caller) });
      return [streams];
    },
    async start() {
      let sweeping: Promise<void> | undefined;
      const timer = setInterval(() => {
        // What cannot be removed now is in a minute.
        sweeping ??= streams!
          .sweep()
          .catch(() => {})
          .finally(() => {
            sweeping = undefined;
          });
      }, SWEEP_MS);
      timer.unref?.();
      return {
        addresses: [],
        async stop() {
          clearInterval(timer);
          await sweeping;
        },
      };
    },
  };
}
