/** The two streams of bytes of a TCP connection, put together again, and what they are made of. */
import { Reassembly } from "../../src/wire/packet/reassembly.ts";
import type { Seen } from "../wire/index.ts";
import { KeyLog } from "./keys.ts";
import { type Part, plainParts, type Sides } from "./parts.ts";
import { type Connection, connectionsOf, type Segment } from "./segments.ts";
import { type TlsConversation, tlsConversation } from "./tls-parts.ts";

export interface Conversation {
  readonly connection: Connection;
  /** What was sent by the side that opened, and by the other, up to the first gap. */
  readonly bytes: Sides<Uint8Array>;
  readonly parts: Sides<readonly Part[]>;
  /** When it is TLS. */
  readonly tls: TlsConversation | undefined;
  /** As applications see it: what TLS carries where its keys are known, else what TCP carries. */
  readonly plain: Sides<Uint8Array>;
}

/** The TCP connections of a capture whose opening was captured. */
export function conversationsOf(seen: readonly Seen[], keyLog = ""): Conversation[] {
  const keys = new KeyLog(keyLog);
  // A capture is in the order in which packets left; who sent what is told by the order in which they came.
  return connectionsOf(seen.toSorted((a, b) => a.at - b.at)).map((connection) => {
    const sides = { client: new Stream(), server: new Stream() };
    for (const segment of connection.segments) sides[segment.isOpener ? "client" : "server"].add(segment);
    const [client, server] = [sides.client.bytes, sides.server.bytes];
    const tls = tlsConversation(client, server, keys, (side, offset) => sides[side].timeOf(offset));
    return {
      connection,
      bytes: { client, server },
      parts: tls?.parts ?? plainParts(client, server),
      tls,
      plain: tls?.plain ?? { client, server },
    };
  });
}

/** Where the data of a segment begins in the stream of its side. */
export function offsetOf({ sequence, tcp }: Segment): number {
  // The SYN has a number of its own; what comes with it (RFC 7413) follows.
  return tcp.flags.syn ? 0 : sequence - 1;
}

/** The bytes of one side up to the first gap, and when each was first there. */
export class Stream {
  readonly #whole = new Reassembly();
  /** Each ends behind the one before. */
  readonly #pieces: Piece[] = [];
  /** Those that came after what follows them. */
  readonly #late: Piece[] = [];

  get bytes(): Uint8Array {
    return this.#whole.bytes;
  }

  /** In the order of time. `at`: when it was there. */
  add(segment: Segment, at = segment.seen.at): void {
    const { payload } = segment.tcp;
    const from = offsetOf(segment);
    // Keep-alives are a byte before the stream; so large an offset is one of them, or no stream of a laboratory.
    if (payload.length === 0 || from < 0 || from > 2 ** 31) return;
    this.#whole.add(from, payload);
    const to = from + payload.length;
    const isAhead = to > (this.#pieces.at(-1)?.to ?? 0);
    (isAhead ? this.#pieces : this.#late).push({ from, to, at });
  }

  /** When the byte there was first there. */
  timeOf(offset: number): number {
    let [low, high] = [0, this.#pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#pieces[middle]!.to <= offset) low = middle + 1;
      else high = middle;
    }
    const piece = this.#pieces[low];
    // Where it lies before the piece, that one left a gap.
    const isIn = (each: Piece | undefined) => each !== undefined && each.from <= offset && offset < each.to;
    return (isIn(piece) ? piece : this.#late.find(isIn))?.at ?? Number.POSITIVE_INFINITY;
  }
}

interface Piece {
  readonly from: number;
  readonly to: number;
  readonly at: number;
}
