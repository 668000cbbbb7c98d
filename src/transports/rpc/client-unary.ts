/**
 * Unary calls of gRPC, straight on a stream of `node:http2`. The transport of Connect for ECMAScript puts a dozen
 * async generators between a message and its frame, which for one message each way cost ten times what HTTP/2 does.
 * What an answer must be is still its business: its functions read status, trailers and faults.
 */
import http2, { type ClientHttp2Stream } from "node:http2";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { requestHeader, validateResponse, validateTrailer } from "@connectrpc/connect/protocol-grpc";
import type { Http2SessionManager } from "@connectrpc/connect-node";
import { MOST_TIMER_MS } from "../../contract/timer.ts";
import { MOST_BYTES } from "../../wire/bounded.ts";
import { tooLong } from "./client-bounds.ts";
import { headersOf, PREFIX_BYTES } from "./shared.ts";

const { constants } = http2;

/** How long a server may take to say that it speaks HTTP/2, in milliseconds; as long as ours waits for its clients. */
const GREETING_MS = 10_000;

/** For messages in binary that are not packed, either way. */
export function grpcUnary(
  sessions: Http2SessionManager,
  prefix: string,
  greetingMs: number = GREETING_MS,
): Transport["unary"] {
  const unary: Transport["unary"] = async (method, signal, timeoutMs, init, input) => {
    const { parent, name } = method;
    // 0 is none, as of the other transports of Connect.
    const withinMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
    const fields: Record<string, string> = {};
    requestHeader(true, withinMs, init).forEach((value, field) => {
      fields[field] = value;
    });
    const body = enveloped(toBinary(method.input, input as never));
    const request = { path: `${prefix}/${parent.typeName}/${name}`, fields, body, greetingMs };
    const answer = await asked(sessions, request, signal, withinMs);
    const message = messageOf(answer, method.output) as never;
    return { stream: false, service: parent, method, header: answer.header, message, trailer: answer.trailer };
  };
  return unary;
}

const OPEN: ReadonlySet<string> = new Set(["open", "idle", "verifying"]);

interface Request {
  readonly path: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly greetingMs: number;
}

interface Answer {
  readonly status: number;
  readonly header: Headers;
  readonly body: Uint8Array;
  readonly trailer: Headers;
}

function asked(
  sessions: Http2SessionManager,
  { path, fields, body, greetingMs }: Request,
  signal: AbortSignal | undefined,
  withinMs: number | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let stream: ClientHttp2Stream | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let greeting: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const over = (): void => {
      isOver = true;
      clearTimeout(timer);
      clearTimeout(greeting);
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (thrown: unknown, code = Code.Unavailable): void => {
      if (isOver) return;
      over();
      reject(ConnectError.from(thrown, code));
      if (stream && !stream.closed) stream.close(constants.NGHTTP2_CANCEL);
    };
    const onAbort = (): void => fail(signal!.reason, Code.Canceled);
    const onLate = (): void => fail("the operation timed out", Code.DeadlineExceeded);

    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    if (withinMs !== undefined) timer = setTimeout(onLate, Math.min(withinMs, MOST_TIMER_MS));
    const isNew = !OPEN.has(sessions.state());
    if (isNew) {
      greeting = setTimeout(() => {
        fail(`nothing came for ${greetingMs} ms`);
        sessions.abort(new ConnectError("the server did not greet", Code.Unavailable));
      }, greetingMs);
    }
    sessions
      .request("POST", path, { ...fields }, {})
      .then((opened) => {
        if (isOver) return opened.close(constants.NGHTTP2_CANCEL);
        stream = opened;
        // Its answer is the first that a server must give, whatever becomes of the call.
        if (isNew) opened.session?.ping(() => clearTimeout(greeting));
        read(
          opened,
          (answer) => {
            if (isOver) return;
            sessions.notifyResponseByteRead(opened);
            over();
            resolve(answer);
          },
          fail,
        );
        opened.end(body);
      })
      .catch(fail);
  });
}

/** Gives the answer when all of it is there, or why there is none. */
function read(stream: ClientHttp2Stream, done: (answer: Answer) => void, fail: (thrown: unknown) => void): void {
  let status = 0;
  let header: Headers | undefined;
  let trailer: Headers | undefined;
  const chunks: Uint8Array[] = [];
  const finish = (): boolean => {
    if (!header || !(trailer || header.has("grpc-status"))) return false;
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    done({ status, header, body, trailer: trailer ?? new Headers() });
    return true;
  };
  stream.on("response", (fields) => {
    status = fields[":status"] ?? 0;
    header = headersOf(fields);
    if (status === 200) return;
    // What is no answer of gRPC is not read: it need not have an end.
    done({ status, header, body: new Uint8Array(0), trailer: new Headers() });
    stream.close(constants.NGHTTP2_CANCEL);
  });
  let bytes = 0;
  stream.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes <= PREFIX_BYTES + MOST_BYTES) chunks.push(chunk);
    else fail(tooLong(MOST_BYTES));
  });
  stream.on("trailers", (fields) => {
    trailer = headersOf(fields);
  });
  stream.on("end", finish);
  // A server that has answered may break off what is still being sent.
  stream.on("error", (thrown) => finish() || fail(thrown));
  stream.on("close", () => finish() || fail(resetError(stream.rstCode)));
}

/** @throws ConnectError of the server, or one that says what is wrong with its answer */
function messageOf({ status, header, body, trailer }: Answer, desc: DescMessage): Message {
  const { headerError } = validateResponse(status, header);
  validateTrailer(trailer, header);
  if (headerError) throw headerError;
  if (body.length === 0) throw broken("missing output message for unary method", Code.Unimplemented);
  const view = new DataView(body.buffer, body.byteOffset);
  if (body.length < PREFIX_BYTES || body[0] !== 0) throw broken("a message that is packed or cut", Code.Internal);
  const end = PREFIX_BYTES + view.getUint32(1);
  if (body.length < end) throw broken("the message is cut", Code.InvalidArgument);
  if (body.length > end) throw broken("received extra output message for unary method", Code.Unimplemented);
  try {
    return fromBinary(desc, body.subarray(PREFIX_BYTES));
  } catch (thrown) {
    throw ConnectError.from(thrown, Code.InvalidArgument);
  }
}

function enveloped(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, PREFIX_BYTES);
  return bytes;
}

function broken(message: string, code: Code): ConnectError {
  return new ConnectError(`protocol error: ${message}`, code);
}

/** The mapping of gRPC over HTTP/2, "Errors". */
function resetError(code: number | undefined): ConnectError {
  switch (code) {
    case undefined:
    case constants.NGHTTP2_NO_ERROR:
    case constants.NGHTTP2_REFUSED_STREAM:
      return new ConnectError("the stream ended before its answer", Code.Unavailable);
    case constants.NGHTTP2_CANCEL:
      return new ConnectError("the server has cancelled the stream", Code.Canceled);
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return new ConnectError("the server has asked for calm", Code.ResourceExhausted);
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return new ConnectError("the server wants a more secure connection", Code.PermissionDenied);
    default:
      return new ConnectError(`the stream was reset with error ${code} of HTTP/2`, Code.Internal);
  }
}
