/** Files in one request, resumable by nothing: a raw body, or a form (RFC 7578). What breaks off is forgotten. */
import { mediaType } from "../contract/media.ts";
import { Fault } from "../log/index.ts";
import { bodyReader } from "../net/body.ts";
import type { Ask, Serving } from "./ask.ts";
import { free, nameOf, receive } from "./create.ts";
import { parseDigest } from "./digest.ts";
import type { Entry } from "./entry.ts";
import { badField, parseFilename, parseIdempotencyKey, parseInteger } from "./fields.ts";
import { finish, forward, settle } from "./finish.ts";
import { readForm } from "./form.ts";
import { memberOf, permit, takerOf, targetOf } from "./target.ts";

/** What `curl --data-binary` says of any body. */
const CURL_TYPE = "application/x-www-form-urlencoded";

/** `POST /uploads`, and a body of no JSON to a method's address. */
export async function post(serving: Serving, ask: Ask, method: string | undefined): Promise<Response> {
  const { headers } = ask.request;
  const type = mediaType(headers.get("content-type"));
  if (type === "multipart/form-data") {
    if (method !== undefined) return await postForm(serving, ask, method);
    throw badField("Content-Type", "must be that of the file: forms go to the address of a method");
  }
  const to = method ?? ask.query.get("method") ?? undefined;
  const given = parseIdempotencyKey(headers.get("idempotency-key"), serving.host.limits.keyChars);
  const key = given ?? crypto.randomUUID();
  const asked = {
    method: to!,
    member: ask.query.get("member") ?? undefined,
    input: ask.query.get("input") ?? undefined,
  };
  const target = to === undefined ? await free(serving, ask) : await targetOf(serving, ask.principal, asked, key);
  const length = parseInteger(headers.get("content-length"));
  const name = parseFilename(headers.get("content-disposition"));
  const digest = parseDigest("Repr-Digest", headers.get("repr-digest"));
  const draft = {
    ...(length !== undefined && { length }),
    ...(type !== undefined && type !== CURL_TYPE && { type }),
    ...(name !== undefined && { name }),
    ...(digest && { digest }),
    ...(target && { target }),
  };
  const id = nameOf(ask, target, true, key);
  const entry = await receive(serving, ask, bodyReader(ask.request), draft, id, given !== undefined);
  if (!target) {
    entry.record.isOneShot = false;
    await serving.uploads.save(entry);
  }
  const { response } = await finish(serving, ask, entry, 201);
  return response;
}

async function postForm(serving: Serving, ask: Ask, method: string): Promise<Response> {
  const taker = takerOf(serving, method);
  await permit(serving, ask.principal, [taker.name]);
  const { headers } = ask.request;
  const given = parseIdempotencyKey(headers.get("idempotency-key"), serving.host.limits.keyChars);
  const key = given ?? crypto.randomUUID();
  const isOnly = Object.keys(taker.uploads).length === 1;
  const entries = new Map<string, Entry>();
  try {
    const fields = await readForm(ask.request, taker, serving.host.limits, async (part) => {
      const member = memberOf(taker, part.member);
      if (entries.has(member)) throw badField(member, "must be one file");
      const target = { method: taker.name, member, key };
      const { type, name } = part;
      const draft = { target, ...(type !== undefined && { type }), ...(name !== undefined && { name }) };
      const id = nameOf(ask, target, isOnly, key);
      entries.set(member, await receive(serving, ask, part.source, draft, id, given !== undefined));
    });
    const names = [...entries].map(([member, { record }]) => [member, `uploads/${record.id}`] as const);
    const whole = names.find(([member]) => member === "");
    const input = whole ? whole[1] : { ...fields, ...Object.fromEntries(names) };
    const response = await forward(ask, taker.name, input, entries.size === 0 ? given : key);
    let call: string | undefined;
    for (const entry of entries.values()) {
      await settle(serving, entry, response);
      call ??= entry.record.call;
    }
    if (call !== undefined) response.headers.set("content-location", `/calls/${call}`);
    return response;
  } catch (thrown) {
    for (const entry of entries.values()) if (entry.record.call === undefined) await serving.uploads.remove(entry);
    throw thrown;
  }
}

export function refuseEncoding(headers: Headers): void {
  const encoding = headers.get("content-encoding");
  if (encoding === null || encoding.toLowerCase() === "identity") return;
  throw new Fault("invalid_argument", `a body with Content-Encoding ${encoding.slice(0, 64)} is not taken`, {
    fields: [{ path: "Content-Encoding", message: "must not be there: send the bytes as they are" }],
  });
}
