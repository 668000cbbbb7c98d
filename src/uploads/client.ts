/**
 * `backtalk/upload`: sends files of any size, and goes on after a break where the server has got to. For browsers,
 * Node, Deno and Bun; it is apart from `backtalk/client`, so that who sends no files does not load it.
 */
import type { Call, Layer } from "../contract/peer.ts";
import { Fault, type FaultJson, faultFromJson } from "../log/fault.ts";
import { TooLong, textOf } from "../wire/bounded.ts";
import { redirectOf } from "../wire/redirect.ts";

export interface FileOptions {
  readonly token?: string | (() => string | Promise<string>);
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: of a `File` its own. */
  readonly name?: string;
  readonly type?: string;
  /**
   * Names this upload for its caller: to send the same file with the same key again, also from another process or
   * after a reload, goes on where it was (default: a new one, which lives as long as this call).
   */
  readonly key?: string;
  /** Bytes of one request (default 8 MiB): how often progress is told. */
  readonly chunkBytes?: number;
  /** How long it is tried without any progress, in milliseconds (default 5 minutes). */
  readonly patienceMs?: number;
  readonly onProgress?: (progress: { readonly sent: number; readonly of: number }) => void;
  /** Told before each wait for another try. */
  readonly onRetry?: (retry: { readonly fault: Fault; readonly delayMs: number }) => void;
  readonly signal?: AbortSignal | undefined;
  readonly fetch?: typeof fetch;
}

/**
 * Sends a file to the server at `url`.
 * @returns its name, `uploads/ID`, which is what an input takes, on any transport
 * @throws Fault, when the server refuses it, or nothing went on for `patienceMs`
 */
export async function sendFile(url: string, file: Blob, options: FileOptions = {}): Promise<string> {
  return await new Sending(url.replace(/\/+$/, ""), file, options).run();
}

/**
 * For `createClient(url, { layers: [fileLayer(url)] })`: a `File` or `Blob` in the input of a call is sent first,
 * and the call gets its name. A call that is tried again does not send it again.
 */
export function fileLayer(url: string, options: Omit<FileOptions, "name" | "type" | "key" | "signal"> = {}): Layer {
  const sent = new WeakMap<Blob, Promise<string>>();
  const send = (file: Blob, signal: AbortSignal | undefined): Promise<string> => {
    const known = sent.get(file);
    if (known) return known;
    const sending = sendFile(url, file, { ...options, signal });
    sent.set(file, sending);
    sending.catch(() => sent.delete(file));
    return sending;
  };
  return (next) => (call) => {
    const { input, signal } = call;
    if (input instanceof Blob) return send(input, signal).then((name) => next({ ...call, input: name }));
    if (typeof input !== "object" || input === null) return next(call);
    const files = Object.entries(input).filter((each): each is [string, Blob] => each[1] instanceof Blob);
    if (files.length === 0) return next(call);
    return withNames(call, files, send).then(next);
  };
}

async function withNames(
  call: Call,
  files: readonly (readonly [string, Blob])[],
  send: (file: Blob, signal: AbortSignal | undefined) => Promise<string>,
): Promise<Call> {
  const input: Record<string, unknown> = { ...(call.input as object) };
  for (const [member, file] of files) input[member] = await send(file, call.signal);
  return { ...call, input };
}

/** One file on its way, by draft-ietf-httpbis-resumable-upload: made first, then appended to. */
class Sending {
  readonly #url: string;
  readonly #file: Blob;
  readonly #options: FileOptions;
  readonly #key: string;
  readonly #chunkBytes: number;
  /** Where it is, once that is known. */
  #address: string | undefined;
  #offset = 0;
  #isOffsetKnown = false;

  constructor(url: string, file: Blob, options: FileOptions) {
    this.#url = url;
    this.#file = file;
    this.#options = options;
    this.#key = options.key ?? randomKey();
    this.#chunkBytes = options.chunkBytes ?? 8 * 1024 * 1024;
  }

  async run(): Promise<string> {
    const { patienceMs = 300_000, signal, onRetry, onProgress } = this.#options;
    let tries = 0;
    let until = Date.now() + patienceMs;
    for (;;) {
      const before = this.#offset;
      try {
        const name = await this.#step();
        if (this.#isOffsetKnown) onProgress?.({ sent: this.#offset, of: this.#file.size });
        if (name !== undefined) return name;
        tries = 0;
        until = Date.now() + patienceMs;
      } catch (thrown) {
        signal?.throwIfAborted();
        const fault = thrown instanceof Fault ? thrown : broken(thrown);
        if (!fault.retryable || fault.limit === "uploadBytes") throw fault;
        if (this.#offset > before) tries = 0;
        const delayMs = Math.max(fault.retryAfterMs ?? 0, Math.random() * Math.min(10_000, 200 * 2 ** tries++));
        if (Date.now() + delayMs > until) throw fault;
        this.#isOffsetKnown = false;
        onRetry?.({ fault, delayMs });
        await pause(delayMs, signal);
      }
    }
  }

  /** One request. @returns the upload's name when that was the last one */
  async #step(): Promise<string | undefined> {
    if (this.#address === undefined) return await this.#create();
    if (!this.#isOffsetKnown) return await this.#locate(this.#address);
    const end = Math.min(this.#file.size, this.#offset + this.#chunkBytes);
    const isLast = end === this.#file.size;
    const response = await this.#ask(this.#address, "PATCH", {
      body: this.#file.slice(this.#offset, end),
      headers: {
        "content-type": "application/partial-upload",
        "upload-offset": String(this.#offset),
        "upload-complete": isLast ? "?1" : "?0",
      },
    });
    this.#offset = end;
    return isLast ? await nameIn(response) : undefined;
  }

  async #create(): Promise<string | undefined> {
    const { name = (this.#file as Partial<File>).name, type = this.#file.type } = this.#options;
    const response = await this.#ask(`${this.#url}/uploads`, "POST", {
      headers: {
        "upload-complete": "?0",
        "upload-length": String(this.#file.size),
        "idempotency-key": JSON.stringify(this.#key),
        ...(type !== "" && { "content-type": type }),
        ...(name && { "content-disposition": `inline; filename*=UTF-8''${encodeURIComponent(name)}` }),
      },
    });
    // Under this key it was sent before, to its end.
    if (response.headers.get("upload-complete") === "?1") {
      this.#setOffset(this.#file.size);
      return await nameIn(response);
    }
    const location = response.headers.get("location");
    if (location === null) throw new Fault("unimplemented", "the server takes no uploads");
    const address = new URL(location, `${this.#url}/`);
    if (address.origin !== new URL(this.#url).origin) {
      throw new Fault("failed_precondition", `the server wants the file sent to ${address.origin}`, {
        hint: "credentials are not sent to another server than the one that was given",
      });
    }
    this.#address = address.href;
    this.#setOffset(offsetIn(response));
    return undefined;
  }

  async #locate(address: string): Promise<string | undefined> {
    // GET, not HEAD: its answer has the upload's name, and a refusal its reason.
    const response = await this.#ask(address, "GET", {});
    this.#setOffset(offsetIn(response));
    return response.headers.get("upload-complete") === "?1" ? await nameIn(response) : undefined;
  }

  #setOffset(offset: number): void {
    this.#offset = offset;
    this.#isOffsetKnown = true;
  }

  async #ask(url: string, method: string, init: RequestInit): Promise<Response> {
    const { token, headers, signal, fetch = globalThis.fetch } = this.#options;
    const shown = typeof token === "function" ? await token() : token;
    const response = await fetch(url, {
      ...init,
      method,
      // Credentials would go with a redirect to any other server.
      redirect: "manual",
      headers: {
        "upload-draft-interop-version": "8",
        ...(shown !== undefined && { authorization: `Bearer ${shown}` }),
        ...headers,
        ...(init.headers as Record<string, string> | undefined),
      },
      ...(signal && { signal }),
    });
    if (response.ok) return response;
    const redirect = redirectOf(response);
    if (redirect) throw new Fault("failed_precondition", redirect.what, { hint: redirect.hint });
    throw await faultOf(response);
  }
}

/** Most bytes of an answer: they name an upload, or tell a fault. */
const ANSWER_BYTES = 1024 * 1024;

function offsetIn(response: Response): number {
  const offset = Number(response.headers.get("upload-offset") ?? Number.NaN);
  if (Number.isSafeInteger(offset)) return offset;
  throw new Fault("unimplemented", "the server speaks another version of resumable uploads");
}

async function nameIn(response: Response): Promise<string> {
  const { upload } = JSON.parse(await textOf(response, ANSWER_BYTES)) as { upload?: unknown };
  if (typeof upload === "string") return upload;
  throw new Fault("unknown", "the server did not say the name of the upload");
}

async function faultOf(response: Response): Promise<Fault> {
  try {
    const problem = JSON.parse(await textOf(response, ANSWER_BYTES)) as { detail?: string; info?: FaultJson["detail"] };
    const { detail, info, ...rest } = problem;
    return faultFromJson({ ...rest, message: detail, detail: info });
  } catch {
    const isLater = response.status >= 500 || response.status === 429;
    return new Fault(isLater ? "unavailable" : "unknown", `the server answered ${response.status}`);
  }
}

function broken(cause: unknown): Fault {
  // It would come again.
  if (cause instanceof TooLong) return new Fault("data_loss", cause.message);
  return new Fault("unavailable", "the server cannot be reached", { cause });
}

function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
