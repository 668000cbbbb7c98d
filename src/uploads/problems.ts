/** What a fault looks like for those who speak tus or the draft: status codes and problem types of their own. */
import { toFault } from "../log/index.ts";
import type { Ask, Fields } from "./ask.ts";

const IANA = "https://iana.org/assignments/http-problem-types#";

export async function problemOf(ask: Pick<Ask, "own" | "request">, thrown: unknown, more: Fields): Promise<Response> {
  const fault = toFault(thrown);
  const { detail, fields } = fault;
  const headers = { ...more };
  const expected = detail?.["expected"];
  const field = fields?.[0]?.path;
  // Nobody reads the rest of the body, and the platform takes it in as long as the connection is open.
  if (!(await discard(ask.request))) headers["connection"] = "close";
  if (expected !== undefined) headers["upload-offset"] = String(expected);
  if (field === "Upload-Checksum" && detail?.["digest"] === "wrong") return ask.own.problem(fault, headers, 460);
  // RFC 9110 §15.5.16
  if (field === "Content-Type" || field === "Content-Encoding") return ask.own.problem(fault, headers, 415);
  const response = ask.own.problem(fault, headers);
  if (headers["tus-resumable"] !== undefined) return response;
  if (expected !== undefined) {
    const members = { "expected-offset": expected, "provided-offset": detail!["provided"] };
    return await changed(response, 409, { type: `${IANA}mismatching-upload-offset`, ...members });
  }
  if (field === "Upload-Length") return await changed(response, 400, { type: `${IANA}inconsistent-upload-length` });
  if (detail?.["upload"] === "complete") return await changed(response, 400, { type: `${IANA}completed-upload` });
  return response;
}

async function changed(response: Response, status: number, members: Readonly<Record<string, unknown>>) {
  const body = JSON.stringify({ ...((await response.json()) as object), status, ...members });
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  return new Response(body, { status, headers });
}

/**
 * Reads what is left of a short body, before a request is refused: over HTTP/2 the platform resets the stream of
 * an answer that comes before the end of its request, and clients then lose the answer.
 * @returns whether nothing is left
 */
async function discard(request: Request): Promise<boolean> {
  if (request.body === null) return true;
  const length = request.headers.get("content-length");
  if (request.bodyUsed || length === null || Number(length) > DISCARDED) return false;
  await request.bytes().catch(() => {});
  return true;
}

const DISCARDED = 256 * 1024;
