/** The addresses of uploads: which protocol a request speaks, who asks, and what answers. */
import type { Principal } from "../contract/index.ts";
import { mediaType } from "../contract/media.ts";
import { Fault, toFault } from "../log/index.ts";
import { callerOf } from "../net/caller.ts";
import type { HttpServer, Mount, Own } from "../net/mount.ts";
import { type Ask, BASE, type Fields, type Serving } from "./ask.ts";
import * as draft from "./draft.ts";
import type { Entry } from "./entry.ts";
import { going, noSuchUpload } from "./faults.ts";
import { known } from "./known.ts";
import * as plain from "./plain.ts";
import { problemOf } from "./problems.ts";
import * as tus from "./tus.ts";

const JSON_TYPES = new Set(["application/json", "application/x-ndjson", "application/x-www-form-urlencoded"]);
const METHODS = "POST, HEAD, GET, PATCH, DELETE, OPTIONS";

export function uploadMount(serving: Serving): Mount {
  return {
    matches: (path) => path === BASE || path.startsWith(`${BASE}/`),
    first: { paths: new Set([...serving.takers.keys()].map((name) => `/${name}`)), takes },
    fetch: (request, server, own) => answer(serving, request, server, own),
    cors: {
      methods: METHODS,
      accepts:
        "content-digest, content-disposition, repr-digest, tus-resumable, upload-checksum, upload-complete, upload-concat, " +
        "upload-defer-length, upload-draft-interop-version, upload-length, upload-metadata, upload-offset, x-http-method-override",
      exposes:
        "content-location, tus-checksum-algorithm, tus-extension, tus-max-size, tus-resumable, tus-version, upload-complete, " +
        "upload-concat, upload-defer-length, upload-expires, upload-length, upload-limit, upload-metadata, upload-offset",
    },
  };
}

/** Whether a request to a method's own address is one of ours: JSON goes on as ever. */
function takes({ method, headers }: Request): boolean {
  if (method === "OPTIONS") return headers.get("origin") === null;
  if (method !== "POST") return false;
  if (headers.has("tus-resumable") || draft.isDraft(headers)) return true;
  const type = mediaType(headers.get("content-type"));
  return type !== undefined && !JSON_TYPES.has(type);
}

async function answer(serving: Serving, request: Request, server: HttpServer, own: Own): Promise<Response> {
  const { headers } = request;
  const isTus = headers.has("tus-resumable");
  const version: Fields = isTus ? { "tus-resumable": tus.VERSION } : {};
  try {
    const { pathname, searchParams } = new URL(request.url);
    const overrides = isTus && request.method === "POST" ? headers.get("x-http-method-override") : null;
    const method = overrides?.toUpperCase() ?? request.method;
    if (method === "OPTIONS") return optionsOf(serving, pathname);
    if (isTus && headers.get("tus-resumable") !== tus.VERSION) return otherVersion(own);
    const { host, uploads } = serving;
    await uploads.ready();
    const caller = await callerOf(host, request, server, "http");
    const writes = method === "POST" || method === "PATCH";
    if (writes && host.draining.aborted) throw going(host.random() * host.timing.spreadMs);
    if (writes) plain.refuseEncoding(headers);
    const ask: Ask = { request, server, own, method, path: pathname, query: searchParams, ...caller };
    const response = await route(serving, ask, isTus);
    if (isTus) response.headers.set("tus-resumable", tus.VERSION);
    return response;
  } catch (thrown) {
    const fault = toFault(thrown);
    if (fault.code === "internal") serving.onError(fault.cause ?? fault);
    const isDraft = !isTus && (draft.isDraft(headers) || request.method === "PATCH");
    return await problemOf({ own, request }, thrown, { ...version, ...(isDraft && { "upload-complete": "?0" }) });
  }
}

async function route(serving: Serving, ask: Ask, isTus: boolean): Promise<Response> {
  const { path, method } = ask;
  const id = path.startsWith(`${BASE}/`) ? path.slice(BASE.length + 1) : undefined;
  if (id === undefined) {
    if (method !== "POST") return notAllowed(ask, "POST, OPTIONS");
    const to = path === BASE ? undefined : path.slice(1);
    if (isTus) return await tus.post(serving, ask, to);
    return await (draft.isDraft(ask.request.headers) ? draft : plain).post(serving, ask, to);
  }
  const speaks = isTus ? tus : draft;
  const handle = { HEAD: speaks.head, GET: draft.head, PATCH: speaks.patch, DELETE: speaks.remove }[method];
  if (!handle) return notAllowed(ask, "HEAD, GET, PATCH, DELETE, OPTIONS");
  return await handle(serving, ask, await entryOf(serving, id, ask.principal));
}

async function entryOf(serving: Serving, id: string, principal: Principal): Promise<Entry> {
  const entry = await known(serving, id, principal);
  if (!entry) throw noSuchUpload();
  return entry;
}

function optionsOf(serving: Serving, path: string): Response {
  const taker = serving.takers.get(path.slice(1));
  const sizes = Object.values(taker?.uploads ?? {}).map(({ maxBytes }) => maxBytes ?? Number.POSITIVE_INFINITY);
  const isUpload = path.startsWith(`${BASE}/`);
  return tus.options(serving, isUpload ? METHODS : "POST, OPTIONS", taker && Math.max(...sizes));
}

/** tus: "the Server MUST respond with the 412 status, and MUST include the Tus-Version header". */
function otherVersion(own: Own): Response {
  const fault = new Fault("failed_precondition", `tus ${tus.VERSION} is spoken here`);
  return own.problem(fault, { "tus-resumable": tus.VERSION, "tus-version": tus.VERSION }, 412);
}

/** RFC 9110 §15.5.6 */
function notAllowed({ own, method }: Ask, allow: string): Response {
  const fault = new Fault("unimplemented", `${method} is not possible here`, {
    hint: `use ${allow.replace(/, OPTIONS$/, "")}`,
  });
  return own.problem(fault, { allow }, 405);
}
