/** What a `PUT` asks for, and whether a stream is that. */
import { encodeOffset, type Offset } from "./offset.ts";
import { bad } from "./refusal.ts";
import { type Expiry, type ForkWanted, mediaType } from "./request.ts";
import type { Stream } from "./stream.ts";

export interface Create extends Expiry {
  /** Undefined when nothing is said: of a fork that of its source, else bytes. */
  readonly contentType: string | undefined;
  readonly body: Uint8Array;
  readonly close: boolean;
  readonly fork: (ForkWanted & { readonly name: string }) | undefined;
}

/** The content type when nothing is said. */
export const BYTES = "application/octet-stream";

/** Of a source: an offset that it does not have is a mistake of the request, whatever the reason. */
export function forkPlace(stream: Stream, offset: string): Offset {
  try {
    return stream.placeOf(offset);
  } catch (thrown) {
    throw bad(`Stream-Fork-Offset: ${(thrown as Error).message}`);
  }
}

/** Whether a stream is what a `PUT` asks for (§5.1, §4.2). */
export function isSame(stream: Stream, wanted: Create): boolean {
  const { record } = stream;
  const { fork } = wanted;
  if (fork?.name !== record.fork?.from) return false;
  const type = wanted.contentType ?? (fork ? record.type : BYTES);
  if (mediaType(type) !== mediaType(record.type)) return false;
  if (wanted.close !== stream.isClosed) return false;
  const saysNothing = wanted.ttl === undefined && wanted.expiresAt === undefined;
  const isInherited = record.fork?.inherits === true && saysNothing;
  if (!isInherited && (wanted.ttl !== record.ttl || wanted.expiresAt !== record.expiresAt)) return false;
  if (!fork || !record.fork) return true;
  if (fork.sub !== record.fork.sub) return false;
  return fork.offset === undefined || isPlace(stream, fork.offset, record.fork.offset);
}

/** Of a fork: it knows the places of its source that it shares. */
function isPlace(stream: Stream, offset: string, place: string): boolean {
  try {
    return encodeOffset(stream.placeOf(offset)) === place;
  } catch {
    return false;
  }
}
