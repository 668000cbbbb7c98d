/**
 * One HTTP/2 stream of `node:http2` as a request of the protocol handlers, and their answer on it. The adapter of
 * @connectrpc/connect-node does the same over Node's compatibility classes; on Bun 1.4.5 it does not see the end of
 * its answer, and so it neither ends the iteration of the handler nor resets a request that nobody reads any more.
 */
import http2, { type ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { Whole } from "./whole.ts";

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR } = http2.constants;

/** Aborts when the stream was reset, or its connection has gone, before the answer was complete. */
export function signalOf(stream: ServerHttp2Stream): AbortSignal {
  const abort = new AbortController();
  stream.once("close", () => {
    if (stream.aborted || !stream.writableFinished) abort.abort(new ConnectError("the caller has gone", Code.Canceled));
  });
  return abort.signal;
}

/** The chunks of the body. The end of the iteration leaves the stream as it is: the answer is still to be sent. */
export function chunksOf(stream: ServerHttp2Stream): AsyncIterableIterator<Uint8Array> {
  let wake = (): void => {};
  let isWatched = false;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      // What is never asked for is never read. The iterator of the stream would cost as much as a small call.
      if (!isWatched) for (const event of ["readable", "end", "close", "error"]) stream.on(event, () => wake());
      isWatched = true;
      for (;;) {
        const value = stream.read() as Uint8Array | null;
        if (value !== null) return { done: false, value };
        if (stream.readableEnded) return { done: true, value: undefined };
        if (stream.destroyed) throw gone();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** Sends an answer, one chunk after the other as the caller takes them. Rejects when the stream breaks off. */
export async function send(answer: UniversalServerResponse, stream: ServerHttp2Stream): Promise<void> {
  const chunks = answer.body?.[Symbol.asyncIterator]();
  try {
    if (answer.body instanceof Whole) {
      if (stream.destroyed) throw gone();
      respond(answer, stream);
      return await finish(stream, answer.body.bytes);
    }
    // The handler may add header fields until its first item, and trailers until its last.
    let chunk = await chunks?.next();
    if (stream.destroyed) throw gone();
    respond(answer, stream);
    for (let bytes = 0; chunk && !chunk.done; chunk = await chunks!.next()) {
      if (stream.destroyed) throw gone();
      bytes += chunk.value.length;
      if (!stream.write(chunk.value)) await writable(stream);
      else if (bytes >= TURN_BYTES) await turn();
      else continue;
      bytes = 0;
    }
    if (!stream.destroyed) await finish(stream);
  } catch (thrown) {
    await chunks?.throw?.(thrown).catch(() => {});
    throw thrown;
  }
}

/**
 * After so many bytes that were taken at once others have their turn. The platform resets a stream by itself, where the
 * connection holds more than 10 MB, and tells of it a turn later: until then it takes, and drops, whatever is written.
 */
const TURN_BYTES = 64 * 1024;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** For a defect after which no answer can be trusted. */
export function fail(stream: ServerHttp2Stream): void {
  if (!stream.destroyed) stream.close(NGHTTP2_INTERNAL_ERROR);
}

function respond(answer: UniversalServerResponse, stream: ServerHttp2Stream): void {
  const { trailer } = answer;
  // gRPC's "Trailers-Only" is one frame: with an empty DATA after it, clients miss the trailers.
  const endStream = trailer === undefined && answer.body === undefined;
  if (trailer) stream.once("wantTrailers", () => sendTrailers(trailer, stream));
  stream.respond(
    { ":status": answer.status, ...fieldsOf(answer.header) },
    { waitForTrailers: trailer !== undefined, endStream },
  );
}

/** Called by an event: what it throws would end the process. */
function sendTrailers(trailer: Headers, stream: ServerHttp2Stream): void {
  try {
    stream.sendTrailers(fieldsOf(trailer));
  } catch {
    // A handler has set what HTTP/2 has no place for, such as Connection (RFC 9113 §8.2.2).
    fail(stream);
  }
}

function fieldsOf(headers: Headers | undefined): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {};
  headers?.forEach((value, name) => {
    const before = fields[name];
    // Only those of Set-Cookie come one by one (Fetch §5.1).
    fields[name] = before === undefined ? value : [before, value].flat();
  });
  return fields;
}

function writable(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (settled: () => void) => {
      stream.off("drain", onDrain);
      stream.off("close", onClose);
      settled();
    };
    const onDrain = () => settle(resolve);
    const onClose = () => settle(() => reject(gone()));
    stream.once("drain", onDrain);
    stream.once("close", onClose);
  });
}

function finish(stream: ServerHttp2Stream, last?: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once("close", () => (stream.writableFinished ? resolve() : reject(gone())));
    stream.end(last, () => {
      // RFC 9113 §8.1: an answer before the end of the request asks for no more of it.
      if (!stream.readableEnded) stream.close(NGHTTP2_NO_ERROR);
      resolve();
    });
  });
}

function gone(): ConnectError {
  return new ConnectError("the caller has gone", Code.Canceled);
}
