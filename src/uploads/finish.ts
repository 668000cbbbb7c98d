/** A complete upload: the call that it is for is made, and its answer is the answer. */

import { uploadIssue } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import type { HttpServer } from "../net/mount.ts";
import { type Ask, type Fields, locationOf, type Serving } from "./ask.ts";
import type { Entry } from "./entry.ts";
import { optionsOf } from "./target.ts";

export interface Finished {
  readonly response: Response;
  /** The call was made, or never will be. */
  readonly isFinal: boolean;
}

/** All bytes are there. @throws Fault when they are not what they should be: then they are removed */
export async function complete(serving: Serving, ask: Ask, entry: Entry): Promise<void> {
  const options = optionsOf(serving, entry.record.target);
  await unhurried(ask, () =>
    serving.uploads.complete(entry, (found) => (options ? uploadIssue(options, found) : undefined)),
  );
}

/** To read gigabytes again takes longer than a quiet connection is left open. */
export async function unhurried<T>({ request, server }: Ask, work: () => Promise<T>): Promise<T> {
  server.timeout(request, 0);
  try {
    return await work();
  } finally {
    server.timeout(request, IDLE_SECONDS);
  }
}

/** The listener's own default. */
const IDLE_SECONDS = 60;

/** The answer to what has completed an upload, however often it is asked for: there is one call. */
export async function finish(serving: Serving, ask: Ask, entry: Entry, status: 200 | 201 = 200): Promise<Finished> {
  const { target, id } = entry.record;
  if (!target) return { response: described(entry, status), isFinal: true };
  const name = `uploads/${id}`;
  const input = target.member === "" ? name : { ...(target.input as object | undefined), [target.member]: name };
  entry.finishing++;
  let response: Response;
  let isFinal: boolean;
  try {
    response = await forward(ask, target.method, input, target.key);
    isFinal = await settle(serving, entry, response);
  } finally {
    entry.finishing--;
  }
  const { call } = entry.record;
  if (call !== undefined) response.headers.set("content-location", `/calls/${call}`);
  return { response, isFinal };
}

/** An upload that can be named in an input. */
function described(entry: Entry, status: 200 | 201): Response {
  const { id, type, sha256 } = entry.record;
  const body = JSON.stringify({ upload: `uploads/${id}`, size: entry.size, type, sha256 });
  return new Response(body, {
    status,
    headers: { "content-type": "application/json", location: locationOf(id), "cache-control": "no-store" },
  });
}

/** Whether this is the last word. What was refused for good, before there was a call, is of no use to anybody. */
export async function settle({ uploads }: Serving, entry: Entry, response: Response): Promise<boolean> {
  const { status, headers } = response;
  if (status < 400 || headers.has("location")) return true;
  const mayComeAgain = status >= 500 || AGAIN.has(status);
  if (mayComeAgain && !entry.record.isOneShot) return false;
  await uploads.remove(entry);
  return !mayComeAgain;
}

/** Other credentials, more time, fewer calls: then it may go well. */
const AGAIN = new Set([401, 408, 425, 429, 499]);

/** As if the caller had sent this input as JSON. */
export async function forward(ask: Ask, method: string, input: unknown, key: string | undefined): Promise<Response> {
  const { request, server, own } = ask;
  const body = JSON.stringify(input);
  const headers = new Headers({
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    ...(key !== undefined && { "idempotency-key": JSON.stringify(key) }),
  });
  for (const name of KEPT) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const url = new URL(`/${method}`, request.url);
  const made = new Request(url, { method: "POST", headers, body, signal: request.signal });
  const connection: HttpServer = {
    requestIP: () => server.requestIP(request),
    timeout: (_, seconds) => server.timeout(request, seconds),
  };
  return await own.fetch(made, connection);
}

const KEPT = ["accept", "authorization", "prefer", "request-timeout", "traceparent", "tracestate", "x-api-key"];

/** Fields about the life of an upload. */
export function limitFields({ host, uploads }: Serving, entry: Entry | undefined, maxBytes?: number): Fields {
  const { uploadBytes, uploadMs } = host.limits;
  const most = Math.min(uploadBytes, maxBytes ?? uploadBytes);
  const lifeMs = entry ? uploads.lifeMs(entry) : uploadMs;
  return { "upload-limit": `max-size=${most}, max-age=${Math.floor(lifeMs / 1000)}` };
}

export function expiresField(entry: Entry): Fields {
  return { "upload-expires": new Date(entry.record.expiresAt).toUTCString() };
}

/** @throws Fault `failed_precondition` while a call uses it */
export async function terminate({ uploads }: Serving, entry: Entry): Promise<void> {
  const [call] = entry.record.calls ?? [];
  if (entry.readers > 0 || call !== undefined) {
    throw new Fault("failed_precondition", "a call that runs uses this upload", {
      hint: call === undefined ? "wait for its end" : `cancel it: DELETE /calls/${call}`,
    });
  }
  entry.interrupt();
  const claim = await entry.claim();
  try {
    await uploads.remove(entry);
  } finally {
    claim.release();
  }
}
