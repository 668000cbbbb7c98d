/** The listeners of TCP, with TLS and without, and of a Unix socket (PROTOCOL.md §5). */
import type { Address, Part, StartedPart } from "../../src/part.ts";
import { TCP_PORT, TLS_PORT } from "../../src/transports/tcp/properties.ts";
import { type TcpListener, tcpListener } from "../../src/transports/tcp/server.ts";
import { UsageError } from "../exit.ts";
import type { PartContext, PartSpec } from "./index.ts";
import { openAt, portOf, portOption } from "./ports.ts";

const PORTS = ["tcp-port", "tcp-tls-port"];

export const sockets: PartSpec = {
  group: "other transports",
  options: {
    "tcp-port": portOption("of TCP", TCP_PORT),
    "tcp-tls-port": portOption("of TCP with TLS", TLS_PORT),
    "no-tcp": { what: "no TCP" },
    unix: { value: "PATH", what: "a Unix socket too, for this user alone (default: none)" },
  },
  of(context) {
    const { args } = context;
    const given = PORTS.find((name) => args.has(name));
    if (args.has("no-tcp") && given) throw new UsageError(`--no-tcp and --${given} cannot be used together`);
    if (args.has("tcp-tls-port") && !context.certificate) {
      throw new UsageError("--no-tls and --tcp-tls-port cannot be used together");
    }
    if (args.has("no-tcp") && !args.has("unix")) return undefined;
    return part(context);
  },
};

function part({ args, hostname, certificate, screen }: PartContext): Part {
  const unix = args.text("unix");
  return {
    async start(core, { listeners }) {
      const httpAt = listeners.map(({ url }) => url);
      const open: (readonly [Address["via"], TcpListener])[] = [];
      const listen = (name: string, otherwise: number, tls?: PartContext["certificate"]) =>
        openAt(name, portOf(args, name, otherwise, PORTS), screen, (port) =>
          tcpListener(core, { hostname, port, tls, httpAt, option: `--${name}` }),
        );
      try {
        if (!args.has("no-tcp")) {
          open.push(["tcp", await listen("tcp-port", TCP_PORT)]);
          if (certificate) open.push(["tcp", await listen("tcp-tls-port", TLS_PORT, certificate)]);
        }
        if (unix !== undefined) open.push(["unix", await tcpListener(core, { unix, httpAt })]);
      } catch (thrown) {
        await stop(open, 0);
        throw thrown;
      }
      const started: StartedPart = {
        addresses: open.map(([via, { url }]) => ({ via, url })),
        stop: () => stop(open, 1000),
      };
      return started;
    },
  };
}

async function stop(open: readonly (readonly [string, TcpListener])[], graceMs: number): Promise<void> {
  await Promise.all(open.map(([, listener]) => listener.stop(graceMs)));
}
