/** What a server chose in a QUIC handshake, read from its Initial packets, which anybody on the way can (RFC 9001 §5.2). */
import { QUIC_VERSION, readQuic } from "../../src/wire/packet/quic.ts";
import { type QuicFrame, readFrames } from "../../src/wire/packet/quic-frames.ts";
import { readHandshake } from "../../src/wire/packet/tls.ts";
import { initialKeys, openPacket } from "../capture/keys.ts";
import { type Choice, choiceOf } from "./tls-seen.ts";

export interface QuicChoice extends Choice {
  /** 1 or 2. */
  readonly quic: number;
  /** The server wanted the client's address to be shown first: one more round trip (RFC 9000 §8.1.2). */
  readonly hasRetry: boolean;
}

interface Seen {
  readonly isOurs: boolean;
  readonly bytes: Buffer;
}

/** Undefined when there is none, or it cannot be read. */
export function quicChoice(datagrams: readonly Seen[]): QuicChoice | undefined {
  let hasRetry = false;
  let quic = 1;
  // The id that the client made up; after a Retry the one that the server gave (RFC 9001 §5.2).
  let id: Uint8Array | undefined;
  const frames: QuicFrame[] = [];
  for (const { isOurs, bytes } of datagrams) {
    for (const packet of readQuic(bytes)) {
      if (isOurs && packet.type === "Initial") id ??= packet.destinationId;
      if (isOurs || !id) continue;
      if (packet.type === "Retry") {
        hasRetry = true;
        id = packet.sourceId;
      }
      if (packet.type !== "Initial") continue;
      quic = packet.version === QUIC_VERSION[2] ? 2 : 1;
      const keys = initialKeys(packet.version!, id, "server");
      const opened = keys && openPacket(bytes, packet, keys);
      frames.push(...((opened && readFrames(opened.payload)) ?? []));
    }
  }
  const choice = choiceOf(readHandshake(assemble(frames)).filter(({ isWhole }) => isWhole));
  return choice && { ...choice, quic, hasRetry };
}

/** The bytes of the CRYPTO frames, as far as there is no hole. */
function assemble(frames: readonly QuicFrame[]): Buffer {
  let whole = Buffer.alloc(0);
  const parts = frames.filter(({ name }) => name === "CRYPTO").toSorted((a, b) => a.offset! - b.offset!);
  for (const { offset, data } of parts) {
    if (offset! <= whole.length) whole = Buffer.concat([whole, data!.subarray(whole.length - offset!)]);
  }
  return whole;
}
