/** gRPC on listeners of its own, Connect and gRPC-Web on those of HTTP (PROTOCOL.md §4). */
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { Core } from "../../src/core/core.ts";
import { describeProto } from "../../src/describe/proto/index.ts";
import type { Address, Part } from "../../src/part.ts";
import { type GrpcListener, grpcListener, rpcHandlers, rpcMount } from "../../src/transports/rpc/server.ts";
import { UsageError } from "../exit.ts";
import { readPins, serviceNames } from "../pins.ts";
import type { PartContext, PartSpec } from "./index.ts";
import { openAt, portOf, portOption } from "./ports.ts";

const PORT = 4450;
const TLS_PORT = 4451;
const PORTS = ["grpc-port", "grpc-tls-port"];

export const grpc: PartSpec = {
  group: "other transports",
  options: {
    "grpc-port": portOption("of gRPC", PORT),
    "grpc-tls-port": portOption("of gRPC with TLS", TLS_PORT),
    "no-grpc": { what: "no gRPC, gRPC-Web and Connect" },
  },
  of(context) {
    const { args } = context;
    const given = PORTS.find((name) => args.has(name));
    if (args.has("no-grpc") && given) throw new UsageError(`--no-grpc and --${given} cannot be used together`);
    if (args.has("grpc-tls-port") && !context.certificate) {
      throw new UsageError("--no-tls and --grpc-tls-port cannot be used together");
    }
    return args.has("no-grpc") ? undefined : part(context);
  },
};

function part({ args, file, hostname, certificate, screen }: PartContext): Part {
  let made: readonly UniversalHandler[] | undefined;
  const handlersOf = (core: Core) => {
    made ??= rpcHandlers(core, describeProto(core.contract, readPins(file, serviceNames(core.contract))));
    return made;
  };
  const defect = (thrown: unknown, path: string) => screen.note(`${path}: ${String(thrown)}`);
  let grpcUrl: string | undefined;
  return {
    mounts: (core) => [rpcMount(handlersOf(core), { limits: core.limits, grpcUrl: () => grpcUrl, onDefect: defect })],
    async start(core, { listeners, access }) {
      const open: GrpcListener[] = [];
      const handlers = handlersOf(core);
      const { limits, timing, metrics } = core;
      const onConnection = (by: 1 | -1) => metrics.add("backtalk_connections", 'transport="grpc"', by);
      const listen = (name: string, otherwise: number, tls?: PartContext["certificate"]) =>
        openAt(name, portOf(args, name, otherwise, PORTS), screen, (port) =>
          grpcListener({ hostname, port, tls, handlers, limits, access, timing, onConnection, onDefect: defect }),
        );
      try {
        open.push(await listen("grpc-port", PORT));
        if (certificate) open.push(await listen("grpc-tls-port", TLS_PORT, certificate));
      } catch (thrown) {
        await stop(open, 0);
        throw thrown;
      }
      grpcUrl = open[0]!.url.replace(/^http/, "grpc");
      const web = (via: string): Address[] => listeners.map(({ url }) => ({ via, url }));
      return {
        addresses: [
          ...open.map(({ url }) => ({ via: "grpc", url: url.replace(/^http/, "grpc") })),
          ...web("grpc-web"),
          ...web("connect"),
        ],
        stop: () => stop(open, 1000),
      };
    },
  };
}

async function stop(open: readonly GrpcListener[], graceMs: number): Promise<void> {
  await Promise.all(open.map((listener) => listener.stop(graceMs)));
}
