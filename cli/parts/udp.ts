/** The listener of UDP (PROTOCOL.md §6). */
import type { Part } from "../../src/part.ts";
import { UDP_PORT } from "../../src/transports/udp/properties.ts";
import { udpListener } from "../../src/transports/udp/server.ts";
import { UsageError } from "../exit.ts";
import type { PartContext, PartSpec } from "./index.ts";
import { openAt, portOf, portOption } from "./ports.ts";

export const udp: PartSpec = {
  group: "other transports",
  options: {
    "udp-port": portOption("of UDP, for unary calls", UDP_PORT),
    "no-udp": { what: "no UDP" },
    "udp-credentials": { what: "take tokens and keys over UDP from other machines, readable for all on the way" },
  },
  of({ args, hostname, screen }: PartContext): Part | undefined {
    if (args.has("no-udp")) {
      for (const name of ["udp-port", "udp-credentials"]) {
        if (args.has(name)) throw new UsageError(`--no-udp and --${name} cannot be used together`);
      }
      return undefined;
    }
    const wanted = portOf(args, "udp-port", UDP_PORT);
    const credentials = args.has("udp-credentials");
    return {
      async start(core) {
        if (credentials) screen.explain(["--udp-credentials: tokens and keys over UDP can be read by all on the way."]);
        const listener = await openAt("udp-port", wanted, screen, (port) =>
          udpListener(core, { hostname, port, credentials }),
        );
        return { addresses: [{ via: "udp", url: listener.url }], stop: () => listener.stop() };
      },
    };
  },
};
