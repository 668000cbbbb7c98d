/**
 * Answers over `fetch`, with an end of our own. The transports of Connect for ECMAScript read a unary answer until it
 * ends, and make room for a message as soon as its length was announced: up to 4 GiB for five bytes.
 */
import { Fault } from "../../log/fault.ts";
import { MOST_BYTES, TooLong } from "../../wire/bounded.ts";
import { PREFIX_BYTES } from "./shared.ts";

/** The same answer; it breaks off with a Fault where a message, or all of what has no messages, has more than `most` bytes. */
export function bounded(response: Response, most: number = MOST_BYTES): Response {
  if (response.body === null) return response;
  const isEnveloped = /^application\/(grpc-web|connect\+)/.test(response.headers.get("content-type") ?? "");
  const fits = isEnveloped ? messagesFit(most) : allFits(most);
  const body = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (!fits(chunk)) throw tooLong(most);
        controller.enqueue(chunk);
      },
    }),
  );
  return new Response(body, response);
}

/** Trying again cannot help: it would come again. */
export function tooLong(most: number): Fault {
  return new Fault("data_loss", new TooLong(most).message);
}

type Fits = (chunk: Uint8Array) => boolean;

function allFits(most: number): Fits {
  let bytes = 0;
  return (chunk) => {
    bytes += chunk.length;
    return bytes <= most;
  };
}

function messagesFit(most: number): Fits {
  /** Of the message under way: bytes that are still to come, and how much of the prefix of the next one is here. */
  let left = 0;
  let prefix = 0;
  let length = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const part = Math.min(left, chunk.length - at);
        left -= part;
        at += part;
        continue;
      }
      if (prefix > 0) length = length * 256 + chunk[at]!;
      at++;
      if (++prefix < PREFIX_BYTES) continue;
      if (length > most) return false;
      left = length;
      prefix = length = 0;
    }
    return true;
  };
}
