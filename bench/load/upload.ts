/**
 * A client that uploads as fast as the server takes it, in a process of its own. Takes orders as lines of JSON:
 * one is one upload of so many bytes, in one of the ways, which is checked by the hash or the size that the
 * server answers.
 */
import { type Answer, type Asked, HttpLine } from "./line.ts";

export type UploadWay = "raw" | "form" | "tus" | "draft" | "sink";

export interface UploadOrder {
  readonly way: UploadWay;
  readonly port: number;
  /** Of the upload: a multiple of `CHUNK`. */
  readonly bytes: number;
  /** Of the method that it is for; without it the server is one that knows no methods. */
  readonly method?: string;
}

export interface Uploaded {
  /** From the first byte of the first request to the last byte of the last answer. */
  readonly ms: number;
  /** Where it is, when it has to be removed. */
  readonly location?: string;
}

/** Of each request of tus. */
export const CHUNK = 8 * 2 ** 20;
/** What is handed to the kernel at once. */
const PIECE = 2 ** 20;

const bytes = crypto.getRandomValues(new Uint8Array(65_536));
const piece = new Uint8Array(PIECE);
for (let at = 0; at < PIECE; at += bytes.length)
  piece.set(
    bytes.map((byte) => byte ^ (at >> 16)),
    at,
  );

const hashes = new Map<number, string>();

function piecesOf(length: number): Uint8Array[] {
  return Array.from({ length: length / PIECE }, () => piece);
}

function hashOf(length: number): string {
  let known = hashes.get(length);
  if (known === undefined) {
    const hash = new Bun.CryptoHasher("sha256");
    for (const each of piecesOf(length)) hash.update(each);
    known = hash.digest("hex");
    hashes.set(length, known);
  }
  return known;
}

async function upload(order: UploadOrder): Promise<Uploaded> {
  const expected = hashOf(order.bytes);
  const line = await HttpLine.open(order.port);
  const ask = async (asked: Asked): Promise<Answer> => {
    const answer = await line.ask(asked);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw new Error(`${asked.method} ${asked.path} was answered ${answer.status}: ${answer.body.slice(0, 200)}`);
  };
  try {
    const began = performance.now();
    const { last, location } = await WAYS[order.way](order, ask);
    const ms = performance.now() - began;
    check(order, last, expected);
    return { ms, ...(order.method === undefined && location !== undefined && { location }) };
  } finally {
    line.close();
  }
}

/** A benchmark of failures says nothing. */
function check({ way, bytes: length, method }: UploadOrder, { body, headers }: Answer, expected: string): void {
  if (way === "tus" && method === undefined) {
    if (headers.get("upload-offset") !== String(length)) throw new Error("not all bytes have arrived");
    return;
  }
  const { size, sha256 = expected } = JSON.parse(body) as { size: number; sha256?: string };
  if (size !== length || sha256 !== expected) throw new Error(`other bytes have arrived: ${body}`);
}

type Ask = (asked: Asked) => Promise<Answer>;
type Way = (order: UploadOrder, ask: Ask) => Promise<{ readonly last: Answer; readonly location?: string }>;

const BINARY = { "content-type": "application/octet-stream" };

const WAYS: Readonly<Record<UploadWay, Way>> = {
  raw: async ({ bytes: length, method }, ask) => ({
    last: await ask({ method: "POST", path: `/${method}`, headers: BINARY, body: piecesOf(length) }),
  }),
  sink: async ({ bytes: length }, ask) => ({
    last: await ask({ method: "POST", path: "/", headers: BINARY, body: piecesOf(length) }),
  }),
  async form({ bytes: length, method }, ask) {
    const boundary = `----${crypto.randomUUID()}`;
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const text = (part: string) => new TextEncoder().encode(part);
    const body = [text(head), ...piecesOf(length), text(`\r\n--${boundary}--\r\n`)];
    const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
    return { last: await ask({ method: "POST", path: `/${method}`, headers, body }) };
  },
  async tus({ bytes: length, method }, ask) {
    const version = { "tus-resumable": "1.0.0" };
    const metadata = method === undefined ? {} : { "upload-metadata": `method ${btoa(method)}` };
    const creation = { ...version, "upload-length": String(length), ...metadata };
    const location = pathOf(await ask({ method: "POST", path: "/uploads", headers: creation }));
    const type = { "content-type": "application/offset+octet-stream" };
    for (let offset = 0; ; offset += CHUNK) {
      const headers = { ...version, ...type, "upload-offset": String(offset) };
      const last = await ask({ method: "PATCH", path: location, headers, body: piecesOf(CHUNK) });
      if (offset + CHUNK >= length) return { last, location };
    }
  },
  /** As the draft means it: made first, so that its address is known, and then all bytes in one append. */
  async draft({ bytes: length, method }, ask) {
    const version = { "upload-draft-interop-version": "8" };
    const creation = { ...version, ...BINARY, "upload-complete": "?0", "upload-length": String(length) };
    const location = pathOf(await ask({ method: "POST", path: `/${method}`, headers: creation }));
    const headers = {
      ...version,
      "content-type": "application/partial-upload",
      "upload-offset": "0",
      "upload-complete": "?1",
    };
    return { last: await ask({ method: "PATCH", path: location, headers, body: piecesOf(length) }), location };
  },
};

function pathOf({ headers }: Answer): string {
  return new URL(headers.get("location")!, "http://localhost").pathname;
}

if (import.meta.main) {
  for await (const line of console) {
    try {
      console.log(JSON.stringify(await upload(JSON.parse(line) as UploadOrder)));
    } catch (thrown) {
      console.log(JSON.stringify({ error: (thrown as Error).message }));
    }
  }
}
