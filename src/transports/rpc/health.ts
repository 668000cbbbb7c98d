/** grpc.health.v1: whether calls are accepted, for load balancers and `grpc_health_probe` (github.com/grpc/grpc, doc/health-checking.md). */
import { create, type DescFile } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { Host } from "../../contract/index.ts";
import { readProto, registryOf } from "./proto-text.ts";

const FILE = "grpc/health/v1/health.proto";
const PROTO = `syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
message HealthListRequest {}
message HealthListResponse { map<string, HealthCheckResponse> statuses = 1; }
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc List(HealthListRequest) returns (HealthListResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}
`;

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;
/** How often a watched status is looked at; a drain is told at once. */
const LOOK_MS = 1000;

interface CheckRequest {
  readonly service: string;
}

export function healthFile(): DescFile {
  return registryOf([readProto(FILE, PROTO)]).getFile(FILE)!;
}

/** @param services names of all services, with their packages */
export function addHealth(router: ConnectRouter, host: Host, file: DescFile, services: readonly string[]): void {
  const { check, list, watch } = file.services[0]!.method;
  const known = new Set(["", ...services]);
  const statusOf = (service: string): number => {
    if (!known.has(service)) return SERVICE_UNKNOWN;
    return host.unready().length === 0 ? SERVING : NOT_SERVING;
  };
  const response = (status: number) => create(check!.output, { status } as never);

  router.rpc(check!, (({ service }: CheckRequest) => {
    const status = statusOf(service);
    if (status !== SERVICE_UNKNOWN) return response(status);
    throw new ConnectError(`there is no service ${service.slice(0, 128)}`, Code.NotFound);
  }) as never);
  router.rpc(list!, (() => {
    const statuses = Object.fromEntries([...known].map((service) => [service, response(statusOf(service))]));
    return create(list!.output, { statuses } as never);
  }) as never);
  router.rpc(watch!, async function* ({ service }: CheckRequest, { signal }: HandlerContext) {
    let last: number | undefined;
    while (!signal.aborted) {
      const status = statusOf(service);
      if (status !== last) yield response(status);
      last = status;
      // What watched has been told, and can look for another server.
      if (host.draining.aborted) throw new ConnectError("the server is going", Code.Unavailable);
      await pause(LOOK_MS, [signal, host.draining]);
    }
  } as never);
}

/** Ends early when one of them aborts. */
function pause(ms: number, signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref?.();
    for (const signal of signals) signal.addEventListener("abort", end);
    if (signals.some(({ aborted }) => aborted)) end();
  });
}
