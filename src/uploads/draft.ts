/** draft-ietf-httpbis-resumable-upload, interop version 8: without interim responses, which the platform cannot send. */
import { mediaType } from "../contract/media.ts";
import { Fault } from "../log/index.ts";
import { bodyReader } from "../net/body.ts";
import { type Ask, type Fields, locationOf, type Serving } from "./ask.ts";
import { create, existing, free, nameOf } from "./create.ts";
import { parseDigest } from "./digest.ts";
import type { Claim, Entry } from "./entry.ts";
import { noSuchUpload, wrongLength, wrongOffset } from "./faults.ts";
import { badField, parseBoolean, parseFilename, parseIdempotencyKey, parseInteger } from "./fields.ts";
import { complete, finish, limitFields, terminate } from "./finish.ts";
import { known } from "./known.ts";
import { optionsOf, targetOf } from "./target.ts";

const PARTIAL = "application/partial-upload";
export const INTEROP_VERSION = "8";

/** Whether a request that carries a body asks to be resumable, in the version that is spoken here. */
export function isDraft(headers: Headers): boolean {
  const version = headers.get("upload-draft-interop-version")?.trim();
  if (version !== undefined && version !== INTEROP_VERSION) return false;
  return parseBoolean(headers.get("upload-complete")) !== undefined;
}

/** @param method of the address that it came to, where that is a method's */
export async function post(serving: Serving, ask: Ask, method: string | undefined): Promise<Response> {
  const { request, query } = ask;
  const header = (name: string) => request.headers.get(name);
  const isWhole = parseBoolean(header("upload-complete")) === true;
  const length = lengthOf(ask, 0, isWhole);
  const given = parseIdempotencyKey(header("idempotency-key"), serving.host.limits.keyChars);
  const key = given ?? crypto.randomUUID();
  const to = method ?? query.get("method") ?? undefined;
  const asked = { method: to!, member: query.get("member") ?? undefined, input: query.get("input") ?? undefined };
  const target = to === undefined ? await free(serving, ask) : await targetOf(serving, ask.principal, asked, key);
  const id = given === undefined && !target ? undefined : nameOf(ask, target, true, key);
  const type = mediaType(header("content-type"));
  const name = parseFilename(header("content-disposition"));
  const digest = parseDigest("Repr-Digest", header("repr-digest"));
  const draft = {
    ...(length !== undefined && { length }),
    ...(type !== undefined && { type }),
    ...(name !== undefined && { name }),
    ...(digest && { digest }),
    ...(target && { target }),
  };
  if (given !== undefined) await known(serving, id!, ask.principal);
  const before = given === undefined ? undefined : existing(serving, ask, id!, draft);
  if (before) return await again(serving, ask, before);
  const entry = await create(serving, ask, draft, id);
  const claim = await entry.claim();
  try {
    await appendBody(serving, ask, entry, claim);
    if (isWhole) await finishBytes(serving, ask, entry);
  } catch (thrown) {
    // Its address was never told: nobody could go on with it.
    if (given === undefined) await serving.uploads.remove(entry);
    throw thrown;
  } finally {
    claim.release();
  }
  return isWhole ? await answered(serving, ask, entry, 201) : created(serving, entry);
}

/** `HEAD` and `GET`; the latter says the same as JSON too. */
export async function head(serving: Serving, ask: Ask, entry: Entry): Promise<Response> {
  const claim = await entry.claim();
  claim.release();
  if (entry.isRemoved) throw noSuchUpload();
  const { id, length, type, sha256, target, call, expiresAt } = entry.record;
  // Complete is what has its answer: without a call the bytes are that.
  const isFinal = entry.isComplete && (target === undefined || call !== undefined);
  const headers: Fields = {
    ...fieldsOf(entry, isFinal),
    ...(length !== undefined && { "upload-length": String(length) }),
    ...limitFields(serving, entry, optionsOf(serving, target)?.maxBytes),
    ...(call !== undefined && { "content-location": `/calls/${call}` }),
  };
  if (ask.method === "HEAD") return new Response(null, { status: 204, headers });
  const state = { upload: `uploads/${id}`, offset: entry.size, length, complete: entry.isComplete, type, sha256, call };
  return Response.json({ ...state, expiresAt }, { headers });
}

export async function patch(serving: Serving, ask: Ask, entry: Entry): Promise<Response> {
  const { headers, body } = ask.request;
  if (mediaType(headers.get("content-type")) !== PARTIAL) throw badField("Content-Type", `must be ${PARTIAL}`);
  const version = headers.get("upload-draft-interop-version")?.trim();
  if (version !== undefined && version !== INTEROP_VERSION) {
    throw badField("Upload-Draft-Interop-Version", `must be ${INTEROP_VERSION}`);
  }
  const offset = parseInteger(headers.get("upload-offset"));
  if (offset === undefined) throw badField("Upload-Offset", "must be there, a whole number of bytes");
  const isLast = parseBoolean(headers.get("upload-complete"));
  if (isLast === undefined) throw badField("Upload-Complete", "must be there, ?1 or ?0");
  const claim = await entry.claim();
  try {
    if (entry.isRemoved) throw noSuchUpload();
    if (entry.isComplete) {
      // The last answer was lost on its way: it is given again.
      const isAgain = isLast && offset === entry.size && (body === null || headers.get("content-length") === "0");
      if (!isAgain)
        throw new Fault("failed_precondition", "the upload is complete", { detail: { upload: "complete" } });
    } else {
      if (offset !== entry.offset) throw wrongOffset(entry.offset, offset);
      const length = lengthOf(ask, offset, isLast);
      if (length !== undefined) await serving.uploads.announce(entry, length);
      await appendBody(serving, ask, entry, claim);
      if (isLast) await finishBytes(serving, ask, entry);
    }
  } finally {
    claim.release();
  }
  if (isLast) return await answered(serving, ask, entry, 200);
  return new Response(null, { status: 204, headers: fieldsOf(entry, false) });
}

export async function remove(serving: Serving, _: Ask, entry: Entry): Promise<Response> {
  await terminate(serving, entry);
  return new Response(null, { status: 204 });
}

/** The same creation again: where it is and how far, or the answer that it had. */
async function again(serving: Serving, ask: Ask, entry: Entry): Promise<Response> {
  const claim = await entry.claim();
  claim.release();
  if (entry.isRemoved) throw noSuchUpload();
  if (entry.isComplete) return await answered(serving, ask, entry, 200);
  const hasBody = ask.request.body !== null && ask.request.headers.get("content-length") !== "0";
  if (hasBody) throw wrongOffset(entry.offset, 0);
  return created(serving, entry);
}

async function appendBody(serving: Serving, ask: Ask, entry: Entry, claim: Claim): Promise<void> {
  const { request } = ask;
  const digest = parseDigest("Content-Digest", request.headers.get("content-digest"));
  const maxBytes = optionsOf(serving, entry.record.target)?.maxBytes;
  const check = digest && { digest, field: "Content-Digest" };
  await serving.uploads.append(entry, bodyReader(request), { claim, maxBytes, check });
}

async function finishBytes(serving: Serving, ask: Ask, entry: Entry): Promise<void> {
  const { length } = entry.record;
  if (length !== undefined && entry.offset !== length) {
    throw wrongLength(`was ${length}, and the upload was completed with ${entry.offset} bytes`);
  }
  await complete(serving, ask, entry);
}

async function answered(serving: Serving, ask: Ask, entry: Entry, status: 200 | 201): Promise<Response> {
  const { response, isFinal } = await finish(serving, ask, entry, status);
  for (const [name, value] of Object.entries(fieldsOf(entry, isFinal))) {
    // The answer of the call says itself how long it may be kept.
    if (name !== "cache-control" || !response.headers.has(name)) response.headers.set(name, value);
  }
  return response;
}

function created(serving: Serving, entry: Entry): Response {
  const { id, target } = entry.record;
  const headers = {
    location: locationOf(id),
    ...fieldsOf(entry, false),
    ...limitFields(serving, entry, optionsOf(serving, target)?.maxBytes),
  };
  return new Response(null, { status: 201, headers });
}

function fieldsOf(entry: Entry, isFinal: boolean): Fields {
  return {
    "upload-offset": String(entry.size),
    "upload-complete": isFinal ? "?1" : "?0",
    "cache-control": "no-store",
  };
}

/** What the request says of the whole, in one or two ways. @throws Fault when they differ */
function lengthOf(ask: Ask, offset: number, isLast: boolean): number | undefined {
  const { headers } = ask.request;
  const told = parseInteger(headers.get("upload-length"));
  const rest = isLast ? parseInteger(headers.get("content-length")) : undefined;
  const length = rest === undefined ? undefined : offset + rest;
  if (told !== undefined && length !== undefined && told !== length) {
    throw wrongLength(`is ${told}, and the content ends at ${length}`);
  }
  return told ?? length;
}
