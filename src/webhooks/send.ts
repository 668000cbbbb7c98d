/**
 * One attempt: the name is resolved, its addresses are checked, and the connection goes to one of those that were
 * checked: a name that resolves to something else a moment later (DNS rebinding) changes nothing. The TLS name and
 * `Host` are those of the URL. Redirects are failures, as Standard Webhooks has it.
 */
import { lookup as systemLookup } from "node:dns/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Duplex } from "node:stream";
import { type Addresses, isOpenPort } from "./address.ts";

export interface Resolved {
  readonly address: string;
  readonly family: number;
}

/** All addresses of a name. Rejects when there are none. */
export type Resolve = (name: string) => Promise<readonly Resolved[]>;

export const resolveBySystem: Resolve = (name) => systemLookup(name, { all: true, verbatim: true });

export interface SendOptions {
  readonly addresses: Addresses;
  readonly resolve: Resolve;
  /** For the whole attempt, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** PEM of further authorities, for tests and for receivers with a private one. */
  readonly ca?: string;
  readonly now: () => number;
}

export type Outcome =
  | { readonly kind: "delivered"; readonly status: number }
  | {
      readonly kind: "failed";
      /** Without a status there was no answer. */
      readonly status?: number;
      readonly why: string;
      /** The receiver has asked for so much time. */
      readonly retryAfterMs?: number;
    };

/** How much of an answer is read, and for how long: nobody looks at it, but a short one lets the connection end in order. */
const READ_BYTES = 16 * 1024;
const READ_MS = 1000;

/** Never rejects. */
export async function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
  options: SendOptions,
): Promise<Outcome> {
  const abort = new AbortController();
  const { signal } = abort;
  const stop = () => abort.abort();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, options.timeoutMs);
  if (options.signal?.aborted) stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    const found = await checked(url, options, signal);
    if (typeof found === "string") return { kind: "failed", why: found };
    // Whatever the platform makes of an answer, the attempt ends in time.
    return await within(post(url, found, headers, body, options, signal), signal);
  } catch (thrown) {
    if (isLate) return { kind: "failed", why: `no answer within ${options.timeoutMs} ms` };
    const { code, message } = thrown as { code?: string; message?: string };
    return { kind: "failed", why: (code ?? message ?? "the connection failed").slice(0, 200) };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", stop);
  }
}

/** The addresses that may be sent to, or why there are none. */
async function checked(url: URL, options: SendOptions, signal: AbortSignal): Promise<readonly Resolved[] | string> {
  const literal = literalOf(url);
  const found = literal ? [literal] : await within(options.resolve(url.hostname), signal);
  return openOf(url, found, options.addresses);
}

/** The address that stands in the URL itself. */
export function literalOf(url: URL): Resolved | undefined {
  const name = url.hostname.replace(/^\[|\]$/g, "");
  const family = isIP(name);
  return family === 0 ? undefined : { address: name, family };
}

/** Those of the addresses that may be sent to, or why there are none. */
export function openOf(url: URL, found: readonly Resolved[], addresses: Addresses): readonly Resolved[] | string {
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const open = found.filter(({ address }) => addresses.isOpen(address));
  if (open.length === 0) return "the address is not of the internet, and is not allowed (--webhooks-allow)";
  const isAllowed = open.every(({ address }) => addresses.isAllowed(address));
  if (isAllowed) return open;
  if (url.protocol !== "https:") return "only https is sent to the internet";
  return isOpenPort(port) ? open : `port ${port} is not for webhooks`;
}

function post(
  url: URL,
  found: readonly Resolved[],
  headers: Readonly<Record<string, string>>,
  body: string,
  { ca, now }: SendOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const isTls = url.protocol === "https:";
    const name = url.hostname.replace(/^\[|\]$/g, "");
    const request = (isTls ? httpsRequest : httpRequest)({
      host: name,
      port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      method: "POST",
      // A connection of its own: none is kept that was checked for something else.
      agent: false,
      lookup: pinned(found) as LookupFunction,
      signal,
      ...(isTls && isIP(name) === 0 && { servername: name }),
      ...(ca !== undefined && { ca }),
      headers: { ...headers, host: url.host, "content-length": String(Buffer.byteLength(body)), connection: "close" },
    });
    request.on("error", reject);
    request.on("upgrade", ({ statusCode = 101 }: IncomingMessage, socket: Duplex) => {
      socket.destroy();
      resolve(outcomeOf(statusCode, undefined, now()));
    });
    request.on("response", (response: IncomingMessage) => {
      const status = response.statusCode ?? 0;
      let bytes = 0;
      const done = () => {
        clearTimeout(late);
        resolve(outcomeOf(status, response.headers["retry-after"], now()));
      };
      const enough = () => {
        done();
        response.destroy();
      };
      const late = setTimeout(enough, READ_MS);
      response.on("data", (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes > READ_BYTES) enough();
      });
      response.on("end", done);
      // The status counts, however the rest of the answer ends.
      response.on("error", done);
      response.on("close", done);
    });
    request.end(body);
  });
}

type LookupDone = (error: Error | null, address: string | readonly Resolved[], family?: number) => void;

/** Answers every question with what was checked. */
function pinned(found: readonly Resolved[]) {
  return (_name: string, options: { readonly all?: boolean }, done: LookupDone) => {
    if (options.all) done(null, found);
    else done(null, found[0]!.address, found[0]!.family);
  };
}

function outcomeOf(status: number, retryAfter: string | undefined, now: number): Outcome {
  if (status >= 200 && status < 300) return { kind: "delivered", status };
  const retryAfterMs = retryAfter === undefined ? undefined : retryAfterOf(retryAfter, now);
  return { kind: "failed", status, why: `status ${status}`, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfterOf(text: string, now: number): number | undefined {
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
