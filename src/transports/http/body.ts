/** Bodies: how they are read, and refused. */
import type { Limits } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import type { BodyReader } from "../../net/body.ts";
import { isTooDeep } from "../../wire/json.ts";
import type { Ask } from "./ask.ts";
import { HttpFault, unsupportedType } from "./fault.ts";

export const JSON_TYPE = "application/json";
export const NDJSON_TYPE = "application/x-ndjson";
export const SSE_TYPE = "text/event-stream";
/**
 * What `curl -d` says of any body. It is read as if nothing was said: plain curl has to be enough. A form of a
 * foreign page, which could say the same without a preflight, is refused by its `Origin` before.
 */
export const CURL_TYPE = "application/x-www-form-urlencoded";

/**
 * The kind of the body; JSON when nothing is said.
 * @throws HttpFault 415 for another type, and for a body that is compressed: its size would not be known
 */
export function bodyType<T extends string>(ask: Ask, types: readonly T[]): T {
  const encoding = ask.header("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity") {
    throw new HttpFault(
      415,
      "invalid_argument",
      `a body with Content-Encoding ${encoding.slice(0, 64)} is not taken`,
      { hint: "send the body as it is" },
      // RFC 9110 §12.5.3
      { "accept-encoding": "identity" },
    );
  }
  const header = ask.header("content-type");
  if (header === null || header === types[0] || header === CURL_TYPE) return types[0]!;
  const type = header.split(";", 1)[0]!.trim().toLowerCase();
  const known = types.find((each) => each === type);
  if (known !== undefined) return known;
  throw unsupportedType(`a body of ${type.slice(0, 64) || "no type"}`, types);
}

/** The whole body as text. Rejects with a Fault when it is too large, or with an AbortError when it breaks off. */
export function readText(request: Request, maxBytes: number): Promise<string> {
  const length = request.headers.get("content-length");
  if (length !== null) {
    // The platform reads as many bytes as were announced, and no more.
    if (Number(length) > maxBytes) return Promise.reject(tooLarge(maxBytes));
    return request.text();
  }
  return request.body === null ? Promise.resolve("") : readUnannounced(request.body, maxBytes);
}

/**
 * The body as the input of a call; an absent one is `{}`. A short body cannot nest too deep, and is left to
 * the platform's own parser, which needs no text in between.
 */
export function readInput(request: Request, { bodyBytes, jsonDepth }: Limits): Promise<unknown> {
  const length = Number(request.headers.get("content-length"));
  if (length > 0 && length <= 2 * jsonDepth + 1) return request.json();
  return readText(request, bodyBytes).then((text) => inputOf(text, jsonDepth));
}

/** An absent body is the input `{}`. */
export function inputOf(text: string, maxDepth: number): unknown {
  return text === "" ? {} : parseJson(text, maxDepth, "input");
}

/**
 * Reads what is left of a short body and throws it away, before a request is refused: over HTTP/2 Bun resets
 * the stream of an answer that comes before the end of its request, and clients then lose the answer (seen
 * with curl 7.88). A long body, or one without an announced end, is not worth the wait.
 */
export async function discardBody(request: Request, reader?: BodyReader): Promise<void> {
  const length = Number(request.headers.get("content-length"));
  if (!(length > 0 && length <= DISCARDED) || (!reader && request.bodyUsed)) return;
  try {
    if (!reader) await request.bytes();
    else while (!(await reader.read()).done);
  } catch {
    // It broke off: there is nobody to answer.
  }
}

const DISCARDED = 256 * 1024;

async function readUnannounced(body: ReadableStream<Uint8Array>, maxBytes: number): Promise<string> {
  const utf8 = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    text += utf8.decode(chunk, { stream: true });
  }
  return text + utf8.decode();
}

/** @throws Fault `invalid_argument` for what is not JSON or nests too deep */
export function parseJson(text: string, maxDepth: number, what: string): unknown {
  if (isTooDeep(text, maxDepth)) {
    throw new Fault("invalid_argument", `the ${what} nests deeper than ${maxDepth} levels`, { limit: "jsonDepth" });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notJson(error, what);
  }
}

/** Makes a fault of a parser's error; any other is given back. */
export function notJson(error: unknown, what = "input"): unknown {
  if (!(error instanceof SyntaxError)) return error;
  const file = "; a file, to a method that takes one, with its own Content-Type or as a form (curl -F)";
  return new Fault("invalid_argument", `the ${what} is not JSON: ${error.message}`, {
    hint: `send JSON (RFC 8259) in UTF-8${what === "input" ? file : ""}`,
  });
}

export function tooLarge(maxBytes: number): Fault {
  return new Fault("resource_exhausted", `the body has more than ${maxBytes} bytes`, {
    limit: "bodyBytes",
    retryable: false,
    hint: "send less, or raise the limit bodyBytes of the server",
  });
}
