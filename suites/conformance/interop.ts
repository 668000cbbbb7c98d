/** gRPC's test service, as its interop-test-descriptions.md has it, on our listener. */
import type { DescService } from "@bufbuild/protobuf";
import {
  type Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import { LIMITS } from "../../src/contract/index.ts";
import type { Certificate } from "../../src/net/certificate.ts";
import { type GrpcListener, grpcListener } from "../../src/transports/rpc/host/listener.ts";
import { routerOptions } from "../../src/transports/rpc/host/router.ts";
import { loadProtos } from "./protos.ts";

interface Wanted {
  readonly payload?: { readonly body: Uint8Array };
  readonly responseStatus?: { readonly code: Code; readonly message: string };
}
type SimpleRequest = Wanted & { readonly responseSize: number; readonly fillServerId: boolean };
type StreamRequest = Wanted & { readonly responseParameters: readonly { size: number; intervalUs: number }[] };

export function interopListener(tls?: Certificate): Promise<GrpcListener> {
  const router = createConnectRouter(routerOptions(LIMITS));
  const registry = loadProtos("interop.proto", import.meta.dirname);
  interopRoutes(router, registry.getService("grpc.testing.TestService")!);
  return grpcListener({ hostname: "127.0.0.1", port: 0, tls, handlers: router, limits: LIMITS });
}

function interopRoutes(router: ConnectRouter, service: DescService): void {
  const implementation = {
    emptyCall: () => ({}),
    unaryCall(request: SimpleRequest, context: HandlerContext) {
      echo(context);
      check(request);
      const payload = { body: new Uint8Array(request.responseSize) };
      return { payload, ...(request.fillServerId && { serverId: "one" }) };
    },
    streamingOutputCall: output,
    async streamingInputCall(requests: AsyncIterable<Wanted>) {
      let size = 0;
      for await (const { payload } of requests) size += payload?.body.length ?? 0;
      return { aggregatedPayloadSize: size };
    },
    async *fullDuplexCall(requests: AsyncIterable<StreamRequest>, context: HandlerContext) {
      echo(context);
      for await (const request of requests) {
        check(request);
        yield* output(request);
      }
    },
  };
  router.service(service, implementation as unknown as Parameters<typeof router.service>[1]);
}

async function* output(request: StreamRequest) {
  for (const { size, intervalUs } of request.responseParameters) {
    if (intervalUs > 0) await Bun.sleep(intervalUs / 1000);
    yield { payload: { body: new Uint8Array(size) } };
  }
}

/** custom_metadata */
function echo({ requestHeader, responseHeader, responseTrailer }: HandlerContext): void {
  const initial = requestHeader.get("x-grpc-test-echo-initial");
  if (initial !== null) responseHeader.set("x-grpc-test-echo-initial", initial);
  const trailing = requestHeader.get("x-grpc-test-echo-trailing-bin");
  if (trailing !== null) responseTrailer.set("x-grpc-test-echo-trailing-bin", trailing);
}

/** status_code_and_message, special_status_message */
function check({ responseStatus }: Wanted): void {
  if (responseStatus && responseStatus.code !== (0 as Code))
    throw new ConnectError(responseStatus.message, responseStatus.code);
}
