/**
 * Unary methods on a short way: one message in binary that is not packed, a handler, one message or a fault. The
 * handlers of the protocols take each through a dozen async generators, which cost several times what HTTP/2 and the
 * call do. Whatever is not so plain - JSON, packed input, GET, two messages, what cannot be read - goes on to them,
 * with what was read of its body. Timeouts, packing, statuses and errors are read and written by their functions.
 */
import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, type HandlerContext } from "@connectrpc/connect";
import {
  type Compression,
  compressionNegotiate,
  createDeadlineSignal,
  createLinkedAbortController,
  encodeEnvelopes,
  envelopeCompress,
  mergeNonProtocolHeaders,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import * as connect from "@connectrpc/connect/protocol-connect";
import * as grpc from "@connectrpc/connect/protocol-grpc";
import * as web from "@connectrpc/connect/protocol-grpc-web";
import { RECURSION_LIMIT } from "../../../describe/proto/index.ts";
import { PREFIX_BYTES } from "../shared.ts";
import { PACKED_FROM_BYTES } from "./router.ts";
import { Whole } from "./whole.ts";

/** What it throws is a `ConnectError`, or a defect. */
export type Unary = (input: Message, context: HandlerContext) => Promise<Message>;

export interface UnaryOptions {
  readonly run: Unary;
  /** Most bytes of a message. */
  readonly most: number;
  readonly packings: Compression[];
  readonly method: DescMethod;
  /** Takes what is not plain. */
  readonly otherwise: (request: UniversalServerRequest) => Promise<UniversalServerResponse>;
}

export type UnaryRequest = UniversalServerRequest & { readonly contextValues: ContextValues };

/** @param request without a timeout that no timer can hold */
export async function answerUnary(request: UnaryRequest, options: UnaryOptions): Promise<UniversalServerResponse> {
  const { method, most, otherwise, packings, run } = options;
  const form = formOf(request);
  if (!form) return otherwise(request);
  const { header } = request;
  const { timeoutMs, error: badTimeout } = form.parseTimeout(header.get(form.timeout), Number.MAX_SAFE_INTEGER);
  const { response: packing, ...asked } = compressionNegotiate(
    packings,
    header.get(form.packed),
    header.get(form.accepted),
    form.accepted,
  );
  if (badTimeout || asked.request || asked.error) return otherwise(request);
  const read = await readOne(request.body as AsyncIterable<Uint8Array>, form.isEnveloped, most);
  const input = read.message && parsed(method, read.message);
  if (!input) return otherwise({ ...request, body: read.again() });

  const context = new UnaryContext(request, method, form.name, timeoutMs);
  const { responseHeader } = context;
  responseHeader.set("content-type", form.type);
  // The header may go out before the message is there to look at.
  if (form.isEnveloped && packing) responseHeader.set(form.packed, packing.name);
  let data = new Uint8Array(0);
  let error: ConnectError | undefined;
  try {
    data = toBinary(method.output, await run(input, context));
  } catch (thrown) {
    error =
      thrown instanceof ConnectError
        ? thrown
        : new ConnectError("internal error", Code.Internal, undefined, undefined, thrown);
  } finally {
    context.end();
  }
  return form.answer({ context, data, error, packing });
}

interface Outcome {
  readonly context: UnaryContext;
  /** The message, if there is no error. */
  readonly data: Uint8Array<ArrayBuffer>;
  readonly error: ConnectError | undefined;
  readonly packing: Compression | null;
}

/** One of the protocols. `packed`, `accepted` and `timeout` are names of header fields. */
interface Form {
  readonly name: "grpc" | "grpc-web" | "connect";
  readonly type: string;
  readonly isEnveloped: boolean;
  readonly packed: string;
  readonly accepted: string;
  readonly timeout: string;
  readonly parseTimeout: typeof grpc.parseTimeout;
  answer(outcome: Outcome): Promise<UniversalServerResponse>;
}

const GRPC: Form = {
  name: "grpc",
  type: grpc.contentTypeProto,
  isEnveloped: true,
  packed: grpc.headerEncoding,
  accepted: grpc.headerAcceptEncoding,
  timeout: grpc.headerTimeout,
  parseTimeout: grpc.parseTimeout,
  async answer({ context: { responseHeader, responseTrailer }, data, error, packing }) {
    grpc.setTrailerStatus(responseTrailer, error);
    const bytes = error
      ? data
      : encodeEnvelopes(await envelopeCompress({ flags: 0, data }, packing, PACKED_FROM_BYTES));
    return { status: 200, header: responseHeader, trailer: responseTrailer, body: new Whole(bytes) };
  },
};

const WEB: Form = {
  ...GRPC,
  name: "grpc-web",
  type: web.contentTypeProto,
  async answer({ context: { responseHeader, responseTrailer }, data, error, packing }) {
    grpc.setTrailerStatus(responseTrailer, error);
    const end = { flags: web.trailerFlag, data: web.trailerSerialize(responseTrailer) };
    const message = error ? [] : [await envelopeCompress({ flags: 0, data }, packing, PACKED_FROM_BYTES)];
    return { status: 200, header: responseHeader, body: new Whole(encodeEnvelopes(...message, end)) };
  },
};

const CONNECT: Form = {
  name: "connect",
  type: connect.contentTypeUnaryProto,
  isEnveloped: false,
  packed: connect.headerUnaryEncoding,
  accepted: connect.headerUnaryAcceptEncoding,
  timeout: connect.headerTimeout,
  parseTimeout: connect.parseTimeout,
  async answer({ context: { responseHeader, responseTrailer }, data, error, packing }) {
    let bytes = data;
    if (error) {
      responseHeader.set("content-type", connect.contentTypeUnaryJson);
      mergeNonProtocolHeaders(responseHeader, error.metadata);
      bytes = connect.errorToJsonBytes(error, undefined) as Uint8Array<ArrayBuffer>;
    }
    if (packing && bytes.length >= PACKED_FROM_BYTES) {
      bytes = (await packing.compress(bytes)) as Uint8Array<ArrayBuffer>;
      responseHeader.set(connect.headerUnaryEncoding, packing.name);
    }
    const header = connect.trailerMux(responseHeader, responseTrailer);
    header.set("content-length", String(bytes.length));
    return { status: error ? connect.codeToHttpStatus(error.code) : 200, header, body: new Whole(bytes) };
  },
};

const FORMS: ReadonlyMap<string, Form> = new Map([
  ["application/grpc", GRPC],
  ["application/grpc+proto", GRPC],
  ["application/grpc-web", WEB],
  ["application/grpc-web+proto", WEB],
  ["application/proto", CONNECT],
]);

function formOf({ method, header }: UniversalServerRequest): Form | undefined {
  return method === "POST" ? FORMS.get(header.get("content-type") ?? "") : undefined;
}

interface Read {
  /** If there was one and no more. */
  readonly message?: Uint8Array;
  /** The body as it was before it was read. */
  again(): AsyncIterable<Uint8Array>;
}

/** Gives the message without its prefix. */
async function readOne(body: AsyncIterable<Uint8Array>, isEnveloped: boolean, most: number): Promise<Read> {
  const source = body[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let failed: { readonly thrown: unknown } | undefined;
  const again = async function* () {
    yield* chunks;
    if (failed) throw failed.thrown;
    yield* { [Symbol.asyncIterator]: () => source };
  };
  let length = 0;
  try {
    for (let next = await source.next(); !next.done; next = await source.next()) {
      chunks.push(next.value);
      length += next.value.length;
      // A message that has a prefix comes in one chunk (body.ts).
      if (length > most + (isEnveloped ? PREFIX_BYTES : 0) || (isEnveloped && !isOne(chunks))) return { again };
    }
  } catch (thrown) {
    failed = { thrown };
    return { again };
  }
  if (!isEnveloped) return { message: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), again };
  return chunks.length === 0 ? { again } : { message: chunks[0]!.subarray(PREFIX_BYTES), again };
}

/** Whether it is a message that is not packed, and nothing else. */
function isOne([first, ...more]: readonly Uint8Array[]): boolean {
  if (!first || more.length > 0 || first.length < PREFIX_BYTES || first[0] !== 0) return false;
  return new DataView(first.buffer, first.byteOffset).getUint32(1) === first.length - PREFIX_BYTES;
}

function parsed({ input }: DescMethod, bytes: Uint8Array): Message | undefined {
  try {
    return fromBinary(input, bytes, { recursionLimit: RECURSION_LIMIT });
  } catch {
    return undefined;
  }
}

/** What a handler is told of its request, as `createHandlerContext` makes it, without signals that nobody asks for. */
class UnaryContext implements HandlerContext {
  readonly service: HandlerContext["service"];
  readonly method: DescMethod;
  readonly protocolName: string;
  readonly requestMethod: string;
  readonly url: string;
  readonly requestHeader: Headers;
  readonly responseHeader = new Headers();
  readonly responseTrailer = new Headers();
  readonly values: ContextValues;
  readonly timeoutMs: () => number | undefined;
  readonly #requestSignal: AbortSignal;
  #controller: AbortController | undefined;
  #deadline: ReturnType<typeof createDeadlineSignal> | undefined;

  constructor(request: UnaryRequest, method: DescMethod, protocol: string, timeoutMs: number | undefined) {
    const until = timeoutMs === undefined ? undefined : Math.trunc(Date.now() + timeoutMs);
    this.timeoutMs = () => (until === undefined ? undefined : until - Date.now());
    this.service = method.parent;
    this.method = method;
    this.protocolName = protocol;
    this.requestMethod = request.method;
    this.url = request.url;
    this.requestHeader = request.header;
    this.values = request.contextValues;
    this.#requestSignal = request.signal!;
  }

  /** Aborts at the deadline, and when the caller has gone. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#deadline = createDeadlineSignal(this.timeoutMs());
      this.#controller = createLinkedAbortController(this.#deadline.signal, this.#requestSignal);
    }
    return this.#controller.signal;
  }

  end(): void {
    this.#deadline?.cleanup();
    this.#controller?.abort();
  }
}
