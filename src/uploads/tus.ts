/** tus 1.0 (https://tus.io/protocols/resumable-upload): core, and all its extensions but trailers and unfinished parts. */
import { mediaType } from "../contract/media.ts";
import { Fault } from "../log/index.ts";
import { bodyReader } from "../net/body.ts";
import type { Source } from "./append.ts";
import { type Ask, BASE, type Fields, locationOf, type Serving } from "./ask.ts";
import { create, existing, free, nameOf as idOf } from "./create.ts";
import { parseChecksum, TUS_ALGORITHMS } from "./digest.ts";
import type { Entry } from "./entry.ts";
import { noSuchUpload, wrongOffset } from "./faults.ts";
import { badField, nameOf, parseBytes, parseIdempotencyKey, parseMetadata } from "./fields.ts";
import { complete, expiresField, finish, limitFields, terminate, unhurried } from "./finish.ts";
import { known } from "./known.ts";
import { optionsOf, targetOf } from "./target.ts";

export const VERSION = "1.0.0";
const TYPE = "application/offset+octet-stream";
const OWN: Fields = { "tus-resumable": VERSION, "cache-control": "no-store" };

/** What is spoken here: for both protocols. */
export function options(serving: Serving, allow: string, maxBytes: number | undefined): Response {
  const headers = {
    allow,
    ...OWN,
    "tus-version": VERSION,
    "tus-max-size": String(Math.min(serving.host.limits.uploadBytes, maxBytes ?? Number.POSITIVE_INFINITY)),
    "tus-extension":
      "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,concatenation",
    "tus-checksum-algorithm": TUS_ALGORITHMS.join(","),
    ...limitFields(serving, undefined, maxBytes),
  };
  return new Response(null, { status: 204, headers });
}

/** @param method of the address that it came to, where that is a method's */
export async function post(serving: Serving, ask: Ask, method: string | undefined): Promise<Response> {
  const { request } = ask;
  const header = (name: string) => request.headers.get(name);
  const metadata = header("upload-metadata");
  const values = parseMetadata(metadata);
  const concat = header("upload-concat")?.trim();
  const parts = concat?.startsWith("final;") ? await partsOf(serving, ask, concat) : undefined;
  if (concat !== undefined && concat !== "partial" && !parts) {
    throw badField("Upload-Concat", 'must be "partial" or "final;" and addresses');
  }
  const length = parts ? parts.reduce((sum, { offset }) => sum + offset, 0) : lengthOf(ask);
  const given = parseIdempotencyKey(header("idempotency-key"), serving.host.limits.keyChars);
  const key = given ?? crypto.randomUUID();
  const to = concat === "partial" ? undefined : (method ?? values.get("method"));
  const asked = { method: to!, member: values.get("member"), input: values.get("input") };
  const target = to === undefined ? await free(serving, ask) : await targetOf(serving, ask.principal, asked, key);
  const id = given === undefined && !target ? undefined : idOf(ask, target, true, key);
  const type = mediaType(values.get("filetype"));
  const name = nameOf(values.get("filename"));
  const draft = {
    ...(length !== undefined && { length }),
    ...(type !== undefined && { type }),
    ...(name !== undefined && { name }),
    ...(metadata !== null && { metadata }),
    ...(concat !== undefined && { concat }),
    ...(target && { target }),
    isTus: true,
  };
  if (given !== undefined) await known(serving, id!, ask.principal);
  const before = given === undefined ? undefined : existing(serving, ask, id!, draft);
  const entry = before ?? (await create(serving, ask, draft, id));
  const location = { location: locationOf(entry.record.id) };
  if (before) {
    await (await entry.claim()).release();
    return created(entry, location);
  }
  const claim = await entry.claim();
  try {
    if (parts) {
      for (const part of parts) {
        const partClaim = await part.claim();
        try {
          const reader = Bun.file(serving.uploads.path(part)).stream().getReader();
          await unhurried(ask, () => serving.uploads.append(entry, reader as Source, { claim }));
        } finally {
          partClaim.release();
        }
      }
    } else if (mediaType(header("content-type")) === TYPE) {
      await appendBody(serving, ask, entry, claim);
    }
    await completeWhenFull(serving, ask, entry);
  } catch (thrown) {
    // Its address was never told: nobody could go on with it.
    if (given === undefined) await serving.uploads.remove(entry);
    throw thrown;
  } finally {
    claim.release();
  }
  // Their bytes are in the whole.
  for (const part of parts ?? []) await serving.uploads.remove(part);
  if (!entry.isComplete || concat === "partial") return created(entry, location);
  const { response } = await finish(serving, ask, entry, 201);
  // Clients look for 201 and the upload's own address; an answer that failed or is for later keeps its status.
  const status = response.status === 200 ? 201 : response.status;
  return withFields(new Response(response.body, { status, headers: response.headers }), {
    ...fieldsOf(entry),
    ...location,
  });
}

export async function head(_: Serving, __: Ask, entry: Entry): Promise<Response> {
  const claim = await entry.claim();
  claim.release();
  if (entry.isRemoved) throw noSuchUpload();
  const { record } = entry;
  const { length, metadata, concat, call } = record;
  const headers: Fields = {
    ...fieldsOf(entry),
    ...(length === undefined ? { "upload-defer-length": "1" } : { "upload-length": String(length) }),
    ...(metadata !== undefined && { "upload-metadata": metadata }),
    ...(concat !== undefined && { "upload-concat": concat }),
    ...(call !== undefined && { "content-location": `/calls/${call}` }),
  };
  return new Response(null, { status: 200, headers });
}

export async function patch(serving: Serving, ask: Ask, entry: Entry): Promise<Response> {
  const { headers } = ask.request;
  if (mediaType(headers.get("content-type")) !== TYPE) throw badField("Content-Type", `must be ${TYPE}`);
  const offset = parseBytes("Upload-Offset", headers.get("upload-offset"));
  if (offset === undefined) throw badField("Upload-Offset", "must be there");
  if (entry.record.concat?.startsWith("final")) {
    throw new Fault("permission_denied", "a concatenated upload is complete: nothing can be appended");
  }
  const claim = await entry.claim();
  try {
    if (entry.isRemoved) throw noSuchUpload();
    if (offset !== entry.size) throw wrongOffset(entry.size, offset);
    const length = headers.has("upload-length") ? lengthOf(ask) : undefined;
    if (length !== undefined) await serving.uploads.announce(entry, length);
    if (!entry.isComplete) await appendBody(serving, ask, entry, claim);
    await completeWhenFull(serving, ask, entry);
  } finally {
    claim.release();
  }
  if (!entry.isComplete) return new Response(null, { status: 204, headers: fieldsOf(entry) });
  const { response } = await finish(serving, ask, entry);
  return withFields(response, fieldsOf(entry));
}

export async function remove(serving: Serving, _: Ask, entry: Entry): Promise<Response> {
  await terminate(serving, entry);
  return new Response(null, { status: 204, headers: OWN });
}

async function appendBody(
  serving: Serving,
  ask: Ask,
  entry: Entry,
  claim: Awaited<ReturnType<Entry["claim"]>>,
): Promise<void> {
  const { request } = ask;
  const digest = parseChecksum(request.headers.get("upload-checksum"));
  const maxBytes = optionsOf(serving, entry.record.target)?.maxBytes;
  const check = digest && { digest, field: "Upload-Checksum" };
  try {
    await serving.uploads.append(entry, bodyReader(request), { claim, maxBytes, check });
  } catch (thrown) {
    // All bytes came, and then something else: who asks for the offset now takes the upload for complete.
    if (entry.isRemoved || !entry.isFull) throw thrown;
  }
}

/** A part of a whole is never complete by itself. */
async function completeWhenFull(serving: Serving, ask: Ask, entry: Entry): Promise<void> {
  if (entry.isFull) await complete(serving, ask, entry);
}

/** @throws Fault for parts that are not there, or not full */
async function partsOf(serving: Serving, ask: Ask, concat: string): Promise<Entry[]> {
  const parts: Entry[] = [];
  for (const address of concat.slice("final;".length).trim().split(/\s+/)) {
    const id = address.slice(address.lastIndexOf("/") + 1);
    const part = address.includes(`${BASE}/`) ? serving.uploads.get(id, ask.principal.id) : undefined;
    if (part?.record.concat !== "partial" || parts.includes(part)) {
      throw badField("Upload-Concat", `must name partial uploads, each once: ${address.slice(0, 128)} is none`);
    }
    if (part.offset !== part.record.length) {
      throw new Fault("failed_precondition", "a part of the upload is not full", {
        hint: `finish ${locationOf(id)} first`,
      });
    }
    parts.push(part);
  }
  return parts;
}

function lengthOf(ask: Ask): number | undefined {
  const { headers } = ask.request;
  const length = parseBytes("Upload-Length", headers.get("upload-length"));
  const isDeferred = headers.get("upload-defer-length");
  if (isDeferred !== null && isDeferred !== "1") throw badField("Upload-Defer-Length", "must be 1");
  if ((length === undefined) === (isDeferred === null)) {
    throw badField("Upload-Length", "must be there, or Upload-Defer-Length, and not both");
  }
  return length;
}

function created(entry: Entry, location: Fields): Response {
  return new Response(null, { status: 201, headers: { ...fieldsOf(entry), ...location } });
}

function fieldsOf(entry: Entry): Fields {
  return { ...OWN, "upload-offset": String(entry.size), ...expiresField(entry) };
}

function withFields(response: Response, fields: Fields): Response {
  for (const [name, value] of Object.entries(fields)) response.headers.set(name, value);
  return response;
}
