/** The service that connectconformance's reference client calls, as its testing_servers.md describes it. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  type Message,
} from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { Unary } from "../../src/transports/rpc/host/unary.ts";

export const PACKAGE = "connectrpc.conformance.v1";

interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

interface WantedError {
  readonly code: Code;
  readonly message?: string;
  readonly details: readonly Any[];
}

interface Definition {
  readonly responseHeaders: readonly Header[];
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}

interface UnaryDefinition extends Definition {
  readonly response:
    | { readonly case: "responseData"; readonly value: Uint8Array }
    | { readonly case: "error"; readonly value: WantedError }
    | { readonly case: undefined };
}

interface StreamDefinition extends Definition {
  readonly responseData: readonly Uint8Array[];
  readonly error?: WantedError;
}

type UnaryRequest = Message & { readonly responseDefinition?: UnaryDefinition };
type StreamRequest = Message & { readonly responseDefinition?: StreamDefinition; readonly fullDuplex?: boolean };

/** Gives the unary ones of the methods besides. */
export function conformanceRoutes(router: ConnectRouter, registry: FileRegistry): ReadonlyMap<DescMethod, Unary> {
  const service = registry.getService(`${PACKAGE}.ConformanceService`)!;
  const requestInfo = registry.getMessage(`${PACKAGE}.ConformancePayload.RequestInfo`)!;

  const infoOf = (requests: readonly Message[], context: HandlerContext): Record<string, unknown> => {
    const timeoutMs = context.timeoutMs();
    const get = context.requestMethod === "GET" ? { queryParams: queryOf(context.url) } : undefined;
    return {
      requestHeaders: [...context.requestHeader].map(([name, value]) => ({ name, value: [value] })),
      ...(timeoutMs !== undefined && { timeoutMs: BigInt(timeoutMs) }),
      requests: requests.map((request) => anyPack(registry.getMessage(request.$typeName)!, request)),
      ...(get && { connectGetInfo: get }),
    };
  };

  const errorOf = (wanted: WantedError, info?: ReturnType<typeof infoOf>): ConnectError => {
    const error = new ConnectError(
      wanted.message ?? "",
      wanted.code,
      undefined,
      info && [{ desc: requestInfo as DescMessage, value: info }],
    );
    const details = wanted.details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
    error.details.unshift(...details);
    return error;
  };

  const one = async (requests: readonly UnaryRequest[], context: HandlerContext) => {
    const definition = requests[0]?.responseDefinition;
    const info = infoOf(requests, context);
    if (definition) {
      setHeaders(definition, context);
      await Bun.sleep(definition.responseDelayMs);
      if (definition.response.case === "error") throw errorOf(definition.response.value, info);
    }
    const data = definition?.response.case === "responseData" ? definition.response.value : new Uint8Array(0);
    return { payload: { data, requestInfo: info } };
  };

  const many = async function* (requests: readonly StreamRequest[], context: HandlerContext) {
    const definition = requests[0]?.responseDefinition;
    if (!definition) return;
    const info = infoOf(requests, context);
    let isFirst = true;
    for (const data of definition.responseData) {
      await Bun.sleep(definition.responseDelayMs);
      yield { payload: { data, ...(isFirst && { requestInfo: info }) } };
      isFirst = false;
    }
    if (definition.error) throw errorOf(definition.error, isFirst ? info : undefined);
  };

  const both = async function* (requests: AsyncIterable<StreamRequest>, context: HandlerContext) {
    const read: StreamRequest[] = [];
    let definition: StreamDefinition | undefined;
    let sent = 0;
    for await (const request of requests) {
      if (read.push(request) === 1) {
        definition = request.responseDefinition;
        if (definition) setHeaders(definition, context);
      }
      if (!read[0]?.fullDuplex) continue;
      if (!definition || sent >= definition.responseData.length) break;
      const info = sent === 0 ? infoOf([request], context) : { requests: infoOf([request], context)["requests"] };
      await Bun.sleep(definition.responseDelayMs);
      yield { payload: { data: definition.responseData[sent], requestInfo: info } };
      sent += 1;
    }
    if (!read[0]?.fullDuplex) yield* many(read, context);
    else if (definition) {
      for (; sent < definition.responseData.length; sent++) {
        await Bun.sleep(definition.responseDelayMs);
        yield { payload: { data: definition.responseData[sent] } };
      }
      if (definition.error) throw errorOf(definition.error, sent === 0 ? infoOf(read, context) : undefined);
    }
  };

  const implementation = {
    unary: (request: UnaryRequest, context: HandlerContext) => one([request], context),
    idempotentUnary: (request: UnaryRequest, context: HandlerContext) => one([request], context),
    async clientStream(requests: AsyncIterable<UnaryRequest>, context: HandlerContext) {
      return one(await Array.fromAsync(requests), context);
    },
    async *serverStream(request: StreamRequest, context: HandlerContext) {
      if (request.responseDefinition) setHeaders(request.responseDefinition, context);
      yield* many([request], context);
    },
    bidiStream: both,
  };
  // The types of a service that is read at run time are those of any service.
  router.service(service as DescService, implementation as unknown as Parameters<typeof router.service>[1]);
  const names = ["unary", "idempotentUnary"] as const;
  return new Map(
    names.map((name) => {
      const desc = service.method[name]!;
      const run: Unary = async (request, context) =>
        create(desc.output, (await implementation[name](request as UnaryRequest, context)) as never);
      return [desc, run];
    }),
  );
}

function setHeaders(definition: Definition, context: HandlerContext): void {
  for (const { name, value } of definition.responseHeaders)
    for (const each of value) context.responseHeader.append(name, each);
  for (const { name, value } of definition.responseTrailers)
    for (const each of value) context.responseTrailer.append(name, each);
}

function queryOf(url: string): Header[] {
  const { searchParams } = new URL(url);
  return [...new Set(searchParams.keys())].map((name) => ({ name, value: searchParams.getAll(name) }));
}
