/** Durable Streams as a part of a server. */
import type { Host } from "../contract/index.ts";
import { type DurableStreams, type DurableStreamsOptions, durableStreams } from "./server.ts";

const SWEEP_MS = 60_000;

/** For `parts` of `startServer`. */
export function durableStreamsPart(options: DurableStreamsOptions) {
  let streams: DurableStreams | undefined;
  return {
    mounts: (host: Host) => {
      streams = durableStreams(host, options);
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
