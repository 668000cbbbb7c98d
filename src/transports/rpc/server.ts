/**
 * The server half of gRPC, gRPC-Web and Connect (PROTOCOL.md §4): a host and the description of its contract become
 * handlers for `host/mount.ts` and `host/listener.ts`. The protocols themselves are those of Connect for ECMAScript.
 */
import type { DescFile } from "@bufbuild/protobuf";
import { Code, ConnectError, createConnectRouter, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type {
  Compression,
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import type { Host, Limits } from "../../contract/index.ts";
import { MOST_TIMER_MS } from "../../contract/timer.ts";
import { type ProtoDescription, RECURSION_LIMIT } from "../../describe/proto/index.ts";
import { Fault } from "../../log/index.ts";
import { addBacktalk } from "./backtalk.ts";
import { detailFiles } from "./details.ts";
import { toStatus } from "./faults.ts";
import { addHealth, healthFile } from "./health.ts";
import { like, routerOptions } from "./host/router.ts";
import { answerUnary, type UnaryOptions } from "./host/unary.ts";
import { addReflection, reflectionFiles } from "./reflection.ts";
import { Rpc, requestKey } from "./rpc.ts";
import { addTyped } from "./typed.ts";

export { type GrpcListener, type GrpcListenerOptions, grpcListener } from "./host/listener.ts";
export { type RpcMountOptions, rpcMount } from "./host/mount.ts";

/** One for each method, for all three protocols. */
export function rpcHandlers(host: Host, description: ProtoDescription): readonly UniversalHandler[] {
  const options = routerOptions(host.limits);
  const acceptCompression = options.acceptCompression.map((each) => bounded(each, host.limits));
  const router = createConnectRouter({
    ...options,
    acceptCompression,
    binaryOptions: { recursionLimit: RECURSION_LIMIT },
  });
  const rpc = new Rpc(host);
  addTyped(router, rpc, description);
  addBacktalk(router, rpc, description.registry);
  const health = healthFile();
  const reflection = reflectionFiles();
  const files: DescFile[] = [...description.registry.files, ...detailFiles, health, ...reflection];
  const services = files.flatMap((file) => file.services.map(({ typeName }) => typeName));
  addHealth(router, host, health, services);
  addReflection(router, reflection, files);
  return router.handlers.map((otherwise) => {
    const run = rpc.unary.get(otherwise.method);
    return eager(otherwise, host.limits, run && { run, packings: acceptCompression });
  });
}

/**
 * Sends the header when a method says that it is complete: by itself it would wait for the first message, and a
 * client of a quiet stream would not learn the id of its call. The trick is within the protocols' rules: status and
 * type of a stream do not depend on what comes.
 */
function eager(
  handler: UniversalHandler,
  limits: Limits,
  short: Pick<UnaryOptions, "run" | "packings"> | undefined,
): UniversalHandler {
  const { method } = handler;
  /** Through the handler of the protocols. */
  const long = ({ body, ...request }: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const isEnveloped = method.methodKind !== "unary" || isGrpc(request.header);
    return handler({ ...request, body: isStream(body) ? within(body, limits.bodyBytes, isEnveloped) : body });
  };
  const options = short && { ...short, most: limits.bodyBytes, method, otherwise: long };
  const answer = (request: UniversalServerRequest): Promise<UniversalServerResponse> =>
    new Promise((resolve, reject) => {
      const values = request.contextValues ?? createContextValues();
      const opened = ({ protocolName, responseHeader, responseTrailer }: HandlerContext): void => {
        // There the status of HTTP is the outcome.
        if (protocolName === "connect" && method.methodKind === "unary") return;
        resolve({ status: 200, header: responseHeader, trailer: responseTrailer, body: later(answered) });
      };
      const contextValues = values.set(requestKey, { signal: request.signal, opened });
      const asked = { ...request, header: sane(request.header, limits), contextValues };
      const answered = options ? answerUnary(asked, options) : long(asked);
      answered.then(resolve, reject);
    });
  return like(handler, answer);
}

async function* later(answered: Promise<UniversalServerResponse>): AsyncGenerator<Uint8Array> {
  // No bytes: the header goes out with them.
  yield new Uint8Array(0);
  const { body } = await answered;
  if (body) yield* body;
}

/** Refuses what is too large by a fault that says so. Chunks begin with a message (host/body.ts). */
async function* within(
  body: AsyncIterable<Uint8Array>,
  most: number,
  isEnveloped: boolean,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const chunk of body) {
    if (!isEnveloped) {
      total += chunk.length;
      if (total > most) throw toStatus(tooLarge(most), true);
    } else {
      for (let at = 0; at + 5 <= chunk.length; ) {
        const length = new DataView(chunk.buffer, chunk.byteOffset + at + 1, 4).getUint32(0);
        if (length > most) throw toStatus(tooLarge(most), true);
        at += 5 + length;
      }
    }
    yield chunk;
  }
}

/** Says of what unpacks to too much what is said of what is too large. */
function bounded({ name, compress, decompress }: Compression, { bodyBytes }: Limits): Compression {
  return {
    name,
    compress,
    async decompress(bytes, most) {
      try {
        return await decompress(bytes, most);
      } catch (thrown) {
        if (!(thrown instanceof ConnectError))
          throw new ConnectError(`the ${name} cannot be unpacked`, Code.InvalidArgument);
        throw thrown.code === Code.ResourceExhausted ? toStatus(tooLarge(bodyBytes), true) : thrown;
      }
    },
  };
}

/**
 * Without what the protocols' handlers would take wrong: a length that is too large, which they refuse before the body
 * is asked for and in other words than ours; and a timeout beyond what a timer can hold, which they would end at once.
 */
function sane(header: Headers, { bodyBytes }: Limits): Headers {
  const left: string[] = [];
  if (Number(header.get("content-length")) > bodyBytes) left.push("content-length");
  const [, count, unit] = /^(\d{1,8})([HMS])$/.exec(header.get("grpc-timeout") ?? "") ?? [];
  const seconds = { H: 3600, M: 60, S: 1 }[unit ?? ""] ?? 0;
  if (Number(count) * seconds * 1000 > MOST_TIMER_MS) left.push("grpc-timeout");
  if (
    /^\d{1,10}$/.test(header.get("connect-timeout-ms") ?? "") &&
    Number(header.get("connect-timeout-ms")) > MOST_TIMER_MS
  )
    left.push("connect-timeout-ms");
  if (left.length === 0) return header;
  const rest = new Headers(header);
  for (const name of left) rest.delete(name);
  return rest;
}

function tooLarge(most: number): Fault {
  return new Fault("resource_exhausted", `the message has more than ${most} bytes`, {
    limit: "bodyBytes",
    retryable: false,
    hint: "send less, or raise the limit bodyBytes of the server",
  });
}

function isGrpc(header: Headers): boolean {
  return header.get("content-type")?.toLowerCase().startsWith("application/grpc") === true;
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
